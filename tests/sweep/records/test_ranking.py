"""Which configuration is the best, by hand."""

import math

import pytest

from sweep.experiment.config import make_sweep
from sweep.records.ledger import TrialRecord
from sweep.records.ranking import Candidate, rank_candidates, rank_trials
from sweep.records.runs import make_runs
from sweep.records.states import State
from xpe_core.config import RunConfig


def rank(*candidates: Candidate[str]) -> list[str]:
    return [candidate.subject for candidate in rank_candidates(candidates)]


def test_the_best_has_the_highest_mean_over_seeds() -> None:
    assert rank(Candidate("lucky", (0.9, 0.1)), Candidate("steady", (0.6, 0.6))) == ["steady", "lucky"]


def test_a_failed_seed_counts_as_nothing_learnt() -> None:
    fragile = Candidate("fragile", (0.9,), num_failed=1)
    assert fragile.score == pytest.approx(0.45)
    assert rank(fragile, Candidate("steady", (0.5, 0.5))) == ["steady", "fragile"]


def test_of_equals_the_first_is_the_best_whatever_their_last_digits_are() -> None:
    assert rank(Candidate("z", (0.26875,)), Candidate("a", (0.26875000000000004,))) == ["z", "a"]
    assert rank(Candidate("z", (0.2687,)), Candidate("a", (0.26875,))) == ["a", "z"]


def test_what_has_no_score_is_not_judged() -> None:
    candidates = [Candidate("none", (), 2), Candidate("null", (0.5, None)), Candidate("nan", (math.nan,))]
    assert rank(*candidates, Candidate("known", (0.0,))) == ["known"]


def make_record(number: int, config: RunConfig, state: str, value: float | None, seeds: tuple[int, ...]) -> TrialRecord:
    reports = {} if value is None else {10: value}
    return TrialRecord(
        f"t{number}", number, False, {}, config.values, make_runs(seeds), state=State(state), reports=reports
    )


def test_trials_of_one_configuration_are_judged_together_each_seed_weighing_the_same() -> None:
    first, second = RunConfig(encoder_ratio=0.0), RunConfig(encoder_ratio=1.0)
    records = [
        make_record(0, first, "complete", 0.6, (1, 2, 3)),
        make_record(1, second, "complete", 0.9, (1,)),
        make_record(2, second, "complete", 0.3, (2, 3)),
        make_record(3, second, "pruned", 0.99, (4,)),
    ]
    ranked = rank_trials(make_sweep(seeds=(1, 2, 3)), records)
    assert [one.subject for one in ranked] == [first.config_id, second.config_id]
    assert [one.score for one in ranked] == pytest.approx([0.6, 0.5])


def test_what_an_experiment_does_not_ask_for_any_more_is_not_judged() -> None:
    sweep = make_sweep(kind="grid", base={"max_steps": 100}, arms={"spt": {"encoder_ratio": 0.0}})
    (asked,) = sweep.corners
    dropped = RunConfig(**{**asked.values, "encoder_ratio": 1.0})
    shorter = RunConfig(**{**asked.values, "max_steps": 50})
    records = [make_record(n, one, "complete", 0.5 + n / 10, (1,)) for n, one in enumerate((asked, dropped, shorter))]
    assert [one.subject for one in rank_trials(sweep, records)] == [asked.config_id]


def test_a_failed_trials_seeds_count_as_nothing_learnt_and_a_configuration_of_these_alone_is_not_judged() -> None:
    first, second, third = (RunConfig(encoder_ratio=ratio) for ratio in (0.0, 0.5, 1.0))
    records = [
        make_record(2, first, "complete", 0.9, (1,)),
        make_record(1, second, "complete", 0.3, (1, 2, 3)),
        make_record(0, first, "failed", None, (2, 3)),  # the first that was proposed, though it stands last
        make_record(3, third, "failed", None, (1, 2, 3)),
        make_record(4, third, "infeasible", 0.9, (4,)),
    ]
    ranked = rank_trials(make_sweep(seeds=(1, 2, 3)), records)
    assert [(one.subject, one.scores, one.num_failed) for one in ranked] == [
        (first.config_id, (0.9,), 2),
        (second.config_id, (0.3, 0.3, 0.3), 0),
    ]
