"""A study's trials: methods in turns, the same budget for each, and the winners as soon as a search is over."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweep.analysis.report_data import read_report_data
from sweep.driver.sources import StudySource
from sweep.experiment.study import Study
from sweep.records.ledger import TrialRecord
from sweep.records.stages import Stage
from sweep.records.states import State
from sweep.storage import Folder
from tests.making.experiments import run_study
from tests.sweep.experiment.test_study import METHODS, make_study
from xpe_core.config import RunConfig
from xpe_core.errors import InputError


def score(config: RunConfig, code: str) -> float:
    return 0.5


def select(config: RunConfig) -> float:
    """Return a made validation accuracy: higher rates and fewer virtual tokens are better."""
    tokens = config.values.get("num_virtual_tokens", 0)
    assert isinstance(tokens, int)
    return 0.3 + 20 * config.training.learning_rate - 0.001 * tokens


def run(folder: Path, study: Study, most: int | None = None) -> list[TrialRecord]:
    return run_study(folder, study, score, select, most)


def propose(study: Study, most: int, end: Callable[[TrialRecord], None] = lambda record: None) -> list[TrialRecord]:
    """Return the trials that a study proposes, at most so many; `end` says what becomes of each before the next."""
    records: dict[str, TrialRecord] = {}
    source = StudySource(study, records)
    while len(records) < most and (found := source.propose()):
        record = TrialRecord(
            str(len(records)), len(records), False, found.params, found.config.values, found.runs, found.arm
        )
        record.stage = found.stage
        records[record.trial_id] = record
        end(record)
        if record.state is not None:
            source.tell(record)
    return list(records.values())


def name(record: TrialRecord) -> tuple[str | None, str | None]:
    return record.stage, record.arm


def test_methods_take_turns_and_winners_are_run_again_at_the_end(tmp_path: Path) -> None:
    study = make_study(budget={"trials": 2}, seeds=[1], replication_seeds=[5, 6])
    trials = run(tmp_path, study)
    assert [record.arm for record in trials[:6]] == ["head", "low", "soft"] * 2
    assert {record.stage for record in trials[:6]} == {Stage.SEARCH}
    assert [name(record) for record in trials[6:]] == [
        (Stage.REPLICATION, arm) for arm in ("head", "low", "low default", "soft", "soft default")
    ]
    assert {run.seed for record in trials[:6] for run in record.runs} == {1}
    assert {run.seed for record in trials[6:] for run in record.runs} == {5, 6}


def test_the_winner_of_each_search_is_its_best_by_validation(tmp_path: Path) -> None:
    trials = run(tmp_path, make_study(budget={"trials": 4}, methods={"head": METHODS["head"]}))
    searched = [record for record in trials if record.stage == Stage.SEARCH]
    best = max(searched, key=lambda record: record.run_config.training.learning_rate)
    (again,) = (record for record in trials if record.stage == Stage.REPLICATION)
    assert again.config_id == best.config_id and len(searched) == 4


def test_a_default_setting_that_wins_is_run_once(tmp_path: Path) -> None:
    method = {**METHODS["head"], "default": {"learning_rate": 0.01}}  # the best there is
    trials = run(tmp_path, make_study(budget={"trials": 3}, methods={"head": method}))
    assert trials[0].run_config.training.learning_rate == 0.01
    assert [record.arm for record in trials if record.stage == Stage.REPLICATION] == ["head"]


@pytest.mark.parametrize("stopped_after", [1, 4, 6, 8])
def test_a_study_that_is_taken_up_again_runs_what_it_would_have(tmp_path: Path, stopped_after: int) -> None:
    study = make_study(budget={"trials": 3}, seeds=[1], replication_seeds=[5, 6])
    whole = [record.trial_id for record in run(tmp_path / "whole", study)]
    first = run(tmp_path / "parts", study, stopped_after)
    rest = run(tmp_path / "parts", study)
    assert [record.trial_id for record in (*first, *rest)] == whole
    assert run(tmp_path / "parts", study) == []


def test_a_method_and_seeds_that_are_added_run_nothing_twice(tmp_path: Path) -> None:
    two = {"head": METHODS["head"], "low": METHODS["low"]}
    before = run(tmp_path, make_study(budget={"trials": 2}, methods=two, replication_seeds=[5, 6]))
    after = run(tmp_path, make_study(budget={"trials": 2}, replication_seeds=[5, 6, 7]))
    ran = Counter(run_id for record in (*before, *after) for run_id in record.run_ids)
    assert set(ran.values()) == {1}
    assert [record.arm for record in after if record.stage == Stage.SEARCH] == ["soft", "soft"]
    fresh = {(record.arm, run.seed) for record in after if record.stage == Stage.REPLICATION for run in record.runs}
    assert fresh == {*((arm, 7) for arm in ("head", "low", "low default")), *_each("soft"), *_each("soft default")}


def _each(arm: str) -> set[tuple[str, int]]:
    return {(arm, seed) for seed in (5, 6, 7)}


def test_a_larger_budget_goes_on_with_each_search(tmp_path: Path) -> None:
    run(tmp_path, make_study(budget={"trials": 1}))
    after = run(tmp_path, make_study(budget={"trials": 3}))
    assert Counter(record.arm for record in after if record.stage == Stage.SEARCH) == dict.fromkeys(METHODS, 2)


def test_a_budget_of_steps_gives_shorter_methods_more_trials(tmp_path: Path) -> None:
    quick = {"base": {"tuning": "none", "max_steps": 10}, "space": METHODS["head"]["space"]}
    study = make_study(budget={"steps": 160}, seeds=[1, 2], methods={"head": METHODS["head"], "quick": quick})
    counts = Counter(record.arm for record in run(tmp_path, study) if record.stage == Stage.SEARCH)
    assert counts == {"head": 2, "quick": 8}


def test_more_steps_run_the_searches_again_at_that_length(tmp_path: Path) -> None:
    run(tmp_path, make_study(budget={"trials": 2}))
    longer = make_study(budget={"trials": 2}, base={"max_steps": 80})
    after = run(tmp_path, longer)
    assert {record.run_config.training.max_steps for record in after} == {80}
    searched = [record for record in after if record.stage == Stage.SEARCH]
    assert Counter(record.arm for record in searched) == dict.fromkeys(METHODS, 2)
    again = {record.arm for record in after if record.stage == Stage.REPLICATION}
    assert again >= METHODS.keys()
    methods = read_report_data([Folder(tmp_path)]).study
    assert methods is not None and methods.methods["num_trials"].to_list() == [2, 2, 2]
    assert run(tmp_path, longer) == []


def test_more_seeds_are_run_of_every_configuration_of_a_finished_search(tmp_path: Path) -> None:
    before = run(tmp_path, make_study(budget={"trials": 2}, seeds=[1, 2], replication_seeds=[11, 12]))
    more = make_study(budget={"trials": 2}, seeds=[1, 2, 3], replication_seeds=[11, 12])
    after = run(tmp_path, more)
    searched = {record.config_id for record in before if record.stage == Stage.SEARCH}
    assert [(record.stage, [run.seed for run in record.runs]) for record in after] == [(Stage.SEARCH, [3])] * 6
    assert {record.config_id for record in after} == searched and run(tmp_path, more) == []
    study = read_report_data([Folder(tmp_path)]).study
    assert study is not None and study.budget["num_trials"].to_list() == [1, 2] * 3  # configurations, not trials


def test_many_slots_are_shared_where_nothing_is_known_of_hours() -> None:
    counts = Counter(record.arm for record in propose(make_study(budget={"device_hours": 8}), 12))
    assert counts == dict.fromkeys(METHODS, 4)


@pytest.mark.parametrize("budget", [{"steps": 1_200}, {"device_hours": 0.1}])
def test_a_method_whose_trials_all_fail_comes_to_an_end(budget: dict[str, Any]) -> None:
    study = make_study(budget=budget, seeds=[1], methods={name: METHODS[name] for name in ("head", "low")})

    def end(record: TrialRecord) -> None:
        record.state = State.INFEASIBLE if record.arm == "low" else State.COMPLETE
        if record.arm == "head":
            record.seconds, record.reports[40] = 36.0, 0.5

    trials = propose(study, 200, end)
    counts = Counter(record.arm for record in trials if record.stage == Stage.SEARCH)
    assert 10 <= counts["head"] <= 30 and 10 <= counts["low"] <= 31
    assert [record.arm for record in trials if record.stage == Stage.REPLICATION] == ["head", "low default"]


def test_a_budget_of_hours_counts_what_trials_took(tmp_path: Path) -> None:
    study = make_study(budget={"device_hours": 0.05}, methods={"head": METHODS["head"]})
    trials = run(tmp_path, study)  # of 36 s each
    assert sum(record.stage == Stage.SEARCH for record in trials) == 5


def test_a_space_that_is_exhausted_ends_its_search(tmp_path: Path) -> None:
    trials = run(tmp_path, make_study(budget={"trials": 9}, methods={"head": {"base": {"tuning": "none"}}}))
    assert [name(record) for record in trials] == [(Stage.SEARCH, "head"), (Stage.REPLICATION, "head")]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"methods": {"head": METHODS["head"]}}, "methods.low"),
        ({"methods": {**METHODS, "head": {"base": {"tuning": "none"}}}}, "methods.head.space"),
        ({"replication_seeds": [6]}, "replication_seeds"),
        ({"sampler": "random"}, "sampler"),
    ],
)
def test_a_study_that_differs_in_what_was_run_is_another_one(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    run(tmp_path, make_study(budget={"trials": 1}, replication_seeds=[5, 6]))
    with pytest.raises(InputError, match=f"holds another experiment.*{said}"):
        run(tmp_path, make_study(**{"budget": {"trials": 1}, "replication_seeds": [5, 6], **values}))


def test_a_default_setting_may_be_added(tmp_path: Path) -> None:
    run(tmp_path, make_study(budget={"trials": 1}))
    head = {**METHODS["head"], "default": {"learning_rate": 0.005}}
    after = run(tmp_path, make_study(budget={"trials": 1}, methods={**METHODS, "head": head}))
    assert [name(record) for record in after] == [(Stage.REPLICATION, "head default")]
