"""Optuna behind Tune's interface: what it proposes, what it is told, and that a rebuilt study goes on alike."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from sweep.driver import proposals
from sweep.driver.messages import TrialOrder, Wire
from sweep.driver.searcher import LedgerSearcher
from sweep.driver.sources import SearchSource
from sweep.experiment.config import make_sweep
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.ledger import TrialRecord, read_ledger
from sweep.records.runs import make_runs
from sweep.records.states import State
from xpe_core.seeds import stream_seed

SPACE = {
    "encoder_ratio": {"uniform": [0.1, 0.9], "step": 0.1},
    "learning_rate": {"log_uniform": [1e-4, 1e-2]},
    "num_virtual_tokens": {"choice": [5, 10, 20]},
}


Build = Callable[..., LedgerSearcher]


@pytest.fixture
def build_searcher() -> Iterator[Build]:
    with ExitStack() as folders:

        def build(path: Path, **values: Any) -> LedgerSearcher:
            of_search = {} if "kind" in values else {"space": SPACE, "num_samples": 20}
            sweep = make_sweep(**{"base": {"max_steps": 100}, **of_search, **values})
            folder = folders.enter_context(closing(ExperimentFolder(path, sweep, {})))
            return LedgerSearcher(sweep, folder, read_ledger(path))

        yield build


def trials_of(searcher: LedgerSearcher) -> list[FrozenTrial]:
    assert isinstance(searcher._source, SearchSource)
    return searcher._source._sampler._study.trials


def value_of(config: dict[str, Any]) -> float:
    """Return a made accuracy that is best at ratio 0.7 and 20 tokens."""
    return 0.9 - (config["encoder_ratio"] - 0.7) ** 2 - 0.2 * (config["num_virtual_tokens"] != 20)


def end(searcher: LedgerSearcher, tune_id: str, state: str, reports: dict[int, float]) -> None:
    """Do what the driver does when a trial ends: write to the ledger, then let Tune tell the searcher."""
    record = searcher.trials[tune_id]
    for step, value in reports.items():
        searcher.folder.append(
            {"event": "report", "trial_id": record.trial_id, "step": step, "selection_accuracy": value}
        )
        record.reports[step] = value
    searcher.folder.end(record, State(state), None, [], [])
    searcher.on_trial_complete(tune_id)


def orders_of(suggestions: Sequence[Wire | str | None]) -> list[TrialOrder]:
    return [TrialOrder.from_wire(suggestion) for suggestion in suggestions if isinstance(suggestion, dict)]


def configs_of(suggestions: Sequence[Wire | str | None]) -> list[Mapping[str, Any]]:
    return [order.config for order in orders_of(suggestions)]


def run(searcher: LedgerSearcher, count: int) -> list[dict[str, Any]]:
    """Let the searcher propose and finish `count` trials, every third searched one pruned."""
    configs = []
    for _ in range(count):
        number = len(searcher.records)
        suggestion = searcher.suggest(f"tune{number}")
        assert isinstance(suggestion, dict)
        config = dict(TrialOrder.from_wire(suggestion).config)
        configs.append(config)
        value = value_of(config)
        pruned = number % 3 == 2
        end(searcher, f"tune{number}", "pruned" if pruned else "complete", {10: value / 2} if pruned else {10: value})
    return configs


def test_spt_and_xpe_are_proposed_first_at_the_centre_of_the_space(tmp_path: Path, build_searcher: Build) -> None:
    configs = run(build_searcher(tmp_path), 3)
    assert [config["encoder_ratio"] for config in configs[:2]] == [0.0, 1.0]
    assert {config["num_virtual_tokens"] for config in configs[:2]} == {10}
    assert 0.1 <= configs[2]["encoder_ratio"] <= 0.9


def test_without_a_searched_ratio_there_is_nothing_to_compare_with(tmp_path: Path, build_searcher: Build) -> None:
    searcher = build_searcher(tmp_path, space={"learning_rate": SPACE["learning_rate"]})
    assert {config["encoder_ratio"] for config in run(searcher, 4)} == {0.3}


def test_the_same_search_seed_proposes_the_same_and_another_does_not(tmp_path: Path, build_searcher: Build) -> None:
    first = run(build_searcher(tmp_path / "a", search_seed=1), 12)
    assert run(build_searcher(tmp_path / "b", search_seed=1), 12) == first
    assert run(build_searcher(tmp_path / "c", search_seed=2), 12) != first


def test_a_searcher_rebuilt_from_the_ledger_proposes_what_the_old_one_would_have(
    tmp_path: Path, build_searcher: Build
) -> None:
    whole = run(build_searcher(tmp_path / "a"), 12)
    old = build_searcher(tmp_path / "b")
    before = run(old, 7)
    old.folder.close()
    rebuilt = build_searcher(tmp_path / "b")
    assert before + run(rebuilt, 5) == whole


def test_a_trial_that_was_running_is_proposed_again_first(tmp_path: Path, build_searcher: Build) -> None:
    searcher = build_searcher(tmp_path)
    run(searcher, 3)
    lost = searcher.suggest("lost")
    searcher.folder.close()
    assert build_searcher(tmp_path).suggest("again") == lost
    assert len(read_ledger(tmp_path)) == 4


def test_optuna_hears_pruned_with_the_intermediate_values(tmp_path: Path, build_searcher: Build) -> None:
    old = build_searcher(tmp_path / "a")
    run(old, 3)
    old.folder.close()
    live = build_searcher(tmp_path / "b")
    run(live, 3)
    for searcher in (live, build_searcher(tmp_path / "a")):  # the second is rebuilt from the ledger
        (trial,) = trials_of(searcher)  # SPT and XPE lie outside the space and are not told
        assert trial.state == TrialState.PRUNED
        record: TrialRecord = list(searcher.records.values())[2]
        assert trial.intermediate_values == record.reports
        assert trial.params == pytest.approx(record.params)


def test_spt_and_xpe_are_told_where_the_space_holds_them(tmp_path: Path, build_searcher: Build) -> None:
    space = {"encoder_ratio": {"uniform": [0.0, 1.0]}}
    searcher = build_searcher(tmp_path, space=space)
    run(searcher, 2)
    assert [trial.params["encoder_ratio"] for trial in trials_of(searcher)] == [0.0, 1.0]


def test_xpe_beyond_the_last_whole_step_is_not_told(tmp_path: Path, build_searcher: Build) -> None:
    searcher = build_searcher(tmp_path, space={"encoder_ratio": {"uniform": [0.0, 1.0], "step": 0.3}})
    configs = run(searcher, 3)  # Optuna's range ends at 0.9
    told = [trial for trial in trials_of(searcher) if trial.state != TrialState.FAIL]
    assert [trial.params["encoder_ratio"] for trial in told] == [0.0, configs[2]["encoder_ratio"]]


def test_tpe_finds_the_better_part_of_the_space(tmp_path: Path, build_searcher: Build) -> None:
    configs = run(build_searcher(tmp_path, num_samples=60), 60)
    late = [value_of(config) for config in configs[-20:]]
    early = [value_of(config) for config in configs[2:12]]
    assert sum(late) / len(late) > sum(early) / len(early) + 0.05


def test_tpe_proposes_what_a_plain_study_does_five_at_random_first(tmp_path: Path, build_searcher: Build) -> None:
    searcher = build_searcher(tmp_path, space={"learning_rate": SPACE["learning_rate"]}, search_seed=3)
    plain = optuna.create_study(direction="maximize")
    for number in range(8):
        seed = stream_seed(3, f"proposal/{number}/0") % 2**32
        tpe = optuna.samplers.TPESampler(seed=seed, n_startup_trials=5, constant_liar=True)
        plain.sampler = tpe if number >= 5 else optuna.samplers.RandomSampler(seed)
        expected = plain.ask({"learning_rate": FloatDistribution(1e-4, 1e-2, log=True)})
        (config,) = configs_of([searcher.suggest(f"tune{number}")])
        assert config["learning_rate"] == pytest.approx(expected.params["learning_rate"], rel=1e-9), number
        plain.tell(expected, 0.9 - config["learning_rate"])
        end(searcher, f"tune{number}", "complete", {10: 0.9 - config["learning_rate"]})


def test_what_is_proposed_while_other_trials_run_is_not_near_them(tmp_path: Path, build_searcher: Build) -> None:
    searcher = build_searcher(tmp_path, space={"encoder_dropout": {"uniform": [0.0, 0.8]}}, num_samples=40)
    for number in range(12):
        suggestion = searcher.suggest(f"done{number}")
        assert isinstance(suggestion, dict)
        dropout = TrialOrder.from_wire(suggestion).config["encoder_dropout"]
        assert isinstance(dropout, float)
        end(searcher, f"done{number}", "complete", {10: 0.9 - (dropout - 0.4) ** 2})
    suggestions = [searcher.suggest(f"runs{number}") for number in range(12)]
    rates = [config["encoder_dropout"] for config in configs_of(suggestions)]
    # running trials that TPE does not hear of would all be proposed within a tenth of the range
    assert max(rates) - min(rates) > 0.4


def test_no_configuration_is_proposed_twice_and_an_exhausted_space_ends_the_search(
    tmp_path: Path, build_searcher: Build
) -> None:
    space = {"num_virtual_tokens": {"choice": [5, 10, 20]}, "encoder_num_layers": {"choice": [1, 2]}}
    searcher = build_searcher(tmp_path, space=space)
    configs = run(searcher, 6)
    assert len({(config["num_virtual_tokens"], config["encoder_num_layers"]) for config in configs}) == 6
    assert searcher.suggest("more") == Searcher.FINISHED
    assert not searcher.has_work
    searcher.folder.close()
    assert not build_searcher(tmp_path, space=space).has_work  # known before anything is drawn


def test_the_search_ends_at_its_number_of_samples(tmp_path: Path, build_searcher: Build) -> None:
    searcher = build_searcher(tmp_path, num_samples=3)
    run(searcher, 3)
    assert searcher.suggest("more") == Searcher.FINISHED


@pytest.mark.parametrize("sampler", ["random", "quasi_random"])
def test_samplers_without_memory_propose_the_same_whatever_ends_when(
    tmp_path: Path, build_searcher: Build, sampler: str
) -> None:
    one_by_one = run(build_searcher(tmp_path / "a", sampler=sampler), 12)
    all_at_once = build_searcher(tmp_path / "b", sampler=sampler)
    suggestions = [all_at_once.suggest(f"tune{number}") for number in range(12)]
    assert configs_of(suggestions) == one_by_one
    rates = [config["learning_rate"] for config in one_by_one[2:]]
    assert len(set(rates)) == 10 and all(1e-4 <= rate <= 1e-2 for rate in rates)


def test_a_quasi_random_search_goes_on_past_all_that_it_has_proposed(
    tmp_path: Path, build_searcher: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals, "MAX_DUPLICATES", 10)
    values = {"space": {"encoder_dropout": {"uniform": [0.0, 0.8]}}, "sampler": "quasi_random", "num_samples": 40}
    searcher = build_searcher(tmp_path, **values)
    before = run(searcher, 20)
    searcher.folder.close()
    (following,) = run(build_searcher(tmp_path, **values), 1)
    assert following not in before


def test_quasi_random_points_cover_a_range_evenly(tmp_path: Path, build_searcher: Build) -> None:
    space = {"encoder_dropout": {"uniform": [0.0, 0.8]}}
    configs = run(build_searcher(tmp_path, space=space, sampler="quasi_random", num_samples=16), 16)
    cells = sorted(int(config["encoder_dropout"] / 0.05) for config in configs)
    assert cells == list(range(16))  # one in each sixteenth


@pytest.mark.parametrize("sampler", ["tpe", "random", "quasi_random"])
def test_a_conditional_field_is_drawn_only_where_it_is_searched_and_no_twins_are_run(
    tmp_path: Path, build_searcher: Build, sampler: str
) -> None:
    space = {
        "encoder_ratio": {"choice": [0.0, 1.0]},
        "encoder_hidden_size": {"choice": [32, 64, 128], "when": {"encoder_ratio": "> 0"}},
    }
    searcher = build_searcher(tmp_path, space=space, sampler=sampler)
    configs = run(searcher, 4)
    assert sorted((config["encoder_ratio"], config["encoder_hidden_size"]) for config in configs) == [
        (0.0, 256),
        (1.0, 32),
        (1.0, 64),
        (1.0, 128),
    ]
    assert searcher.suggest("more") == Searcher.FINISHED
    searcher.folder.close()
    assert build_searcher(tmp_path, space=space, sampler=sampler).suggest("again") == Searcher.FINISHED


def test_a_conditional_range_is_drawn_within_its_bounds_and_told_by_its_name(
    tmp_path: Path, build_searcher: Build
) -> None:
    when = {"encoder_ratio": "> 0"}
    space = {
        "encoder_ratio": {"choice": [0.0, 1.0]},
        "encoder_dropout": {"uniform": [0.2, 0.4], "when": when},
        "learning_rate": {"log_uniform": [1e-4, 1e-2], "when": when},
        "num_virtual_tokens": {"integers": [5, 20], "step": 5, "when": when},
    }
    searcher = build_searcher(tmp_path, space=space, sampler="tpe")
    configs = [config for config in run(searcher, 12) if config["encoder_ratio"] == 1.0]
    told = [trial.params for trial in trials_of(searcher) if trial.params["encoder_ratio"] == 1.0]
    for params in told:
        assert set(params) == set(space)
        assert 0.2 <= params["encoder_dropout"] <= 0.4 and 1e-4 <= params["learning_rate"] <= 1e-2
        assert params["num_virtual_tokens"] in (5, 10, 15, 20)
    drawn = {config["encoder_dropout"] for config in configs}
    assert len(told) > 4 and {round(params["encoder_dropout"], 9) for params in told} <= {round(x, 9) for x in drawn}


def test_added_seeds_come_before_new_configurations_and_only_for_what_was_not_pruned(
    tmp_path: Path, build_searcher: Build
) -> None:
    searcher = build_searcher(tmp_path, seeds=[1, 2])
    run(searcher, 4)  # the third is pruned
    searcher.folder.close()
    again = build_searcher(tmp_path, seeds=[1, 2, 3])
    suggestions = [again.suggest(f"more{number}") for number in range(4)]
    assert [order.runs for order in orders_of(suggestions)] == [make_runs([3])] * 3 + [make_runs([1, 2, 3])]
    assert all(record.baseline for record in list(again.records.values())[4:7])


def test_a_longer_search_runs_the_best_first(tmp_path: Path, build_searcher: Build) -> None:
    searcher = build_searcher(tmp_path)
    configs = [config for number, config in enumerate(run(searcher, 5)) if number != 2]  # the third is pruned
    searcher.folder.close()
    longer = build_searcher(tmp_path, base={"max_steps": 200})
    found = [longer.suggest(f"longer{number}") for number in range(4)]
    expected = sorted(configs, key=value_of, reverse=True)
    assert configs_of(found) == [{**one, "max_steps": 200} for one in expected]


def test_a_longer_search_counts_what_it_runs_again_among_its_samples(tmp_path: Path, build_searcher: Build) -> None:
    searcher = build_searcher(tmp_path, num_samples=6)
    run(searcher, 5)  # the third is pruned
    searcher.folder.close()
    longer = build_searcher(tmp_path, num_samples=6, base={"max_steps": 200})
    suggestions = [longer.suggest(f"longer{number}") for number in range(7)]
    assert len(configs_of(suggestions)) == 6


def test_a_search_over_the_number_of_steps_remembers_its_short_trials(tmp_path: Path, build_searcher: Build) -> None:
    values = {"base": {}, "space": {"max_steps": {"choice": [50, 100]}, "learning_rate": SPACE["learning_rate"]}}
    searcher = build_searcher(tmp_path, **values)
    lengths = [config["max_steps"] for config in run(searcher, 8)]
    assert set(lengths) == {50, 100}
    searcher.folder.close()
    again = build_searcher(tmp_path, **values)
    assert [trial.params["max_steps"] for trial in trials_of(again)] == lengths
    assert configs_of([again.suggest("next")])[0]["learning_rate"]


def test_no_more_trials_run_than_there_are_places_and_none_is_begun_once_it_is_closed(
    tmp_path: Path, build_searcher: Build
) -> None:
    searcher = build_searcher(tmp_path, num_samples=3)
    searcher.places = lambda: 2
    suggestions = [searcher.suggest(f"tune{number}") for number in range(3)]
    assert [suggestion is None for suggestion in suggestions] == [False, False, True]
    searcher.closed = True
    end(searcher, "tune0", "complete", {10: 0.5})
    assert searcher.suggest("next") is None  # the other one is still running
    end(searcher, "tune1", "complete", {10: 0.5})
    assert searcher.suggest("next") == Searcher.FINISHED


def test_there_is_work_until_the_last_trial_has_ended(tmp_path: Path, build_searcher: Build) -> None:
    searcher = build_searcher(tmp_path, num_samples=3)
    assert searcher.has_work
    run(searcher, 2)
    assert searcher.has_work
    searcher.suggest("last")
    searcher.folder.close()
    again = build_searcher(tmp_path, num_samples=3)
    assert again.has_work
    assert again.suggest("last") is not None
    end(again, "last", "complete", {10: 0.5})
    assert not again.has_work
    again.folder.close()
    assert build_searcher(tmp_path, num_samples=3, seeds="1-9").has_work  # most seeds of each are missing


def test_a_trial_that_is_run_again_comes_before_all_others(tmp_path: Path, build_searcher: Build) -> None:
    searcher = build_searcher(tmp_path)
    first, second = searcher.suggest("a"), searcher.suggest("b")
    for tune_id in ("a", "b"):
        searcher.on_trial_complete(tune_id, error=True)  # it is the driver's to judge
        searcher.retry(searcher.trials.pop(tune_id))
    assert [searcher.suggest("c"), searcher.suggest("d")] == [second, first]
    assert len(searcher.records) == 2


def test_optuna_hears_that_a_trial_was_given_up(tmp_path: Path, build_searcher: Build) -> None:
    searcher = build_searcher(tmp_path, space={"learning_rate": SPACE["learning_rate"]})
    searcher.suggest("lost")
    record = searcher.trials["lost"]
    record.reports[10] = 0.5
    record.state = State.CRASHED
    searcher.give_up(record)
    (trial,) = trials_of(searcher)
    assert (trial.state, trial.intermediate_values) == (TrialState.FAIL, {10: 0.5})


def test_a_grid_is_cut_into_packs_of_the_seeds_that_are_missing(tmp_path: Path, build_searcher: Build) -> None:
    arms = {"spt": {"encoder_ratio": 0.0}, "xpe": {"encoder_ratio": 1.0}}
    grid = {"kind": "grid", "arms": arms, "seeds": [1, 2, 3, 4, 5], "base": {"max_steps": 100}}
    searcher = build_searcher(tmp_path, **grid, resources={"seeds_per_trial": 2})
    orders = orders_of([searcher.suggest(f"a{number}") for number in range(2)])
    assert [order.runs for order in orders] == [make_runs([1, 2]), make_runs([3, 4])]
    assert [record.arm for record in searcher.records.values()] == ["spt", "spt"]
    searcher.repack(make_sweep(**grid, resources={"seeds_per_trial": 4}))
    assert searcher.sweep.resources.seeds_per_trial == 4
    orders = orders_of([searcher.suggest(f"b{number}") for number in range(4)])
    assert [order.runs for order in orders] == [make_runs([5]), make_runs([1, 2, 3, 4]), make_runs([5])]
    assert [order.config["encoder_ratio"] for order in orders] == [0.0, 1.0, 1.0]
    assert searcher.suggest("more") is None and not searcher.has_work
    assert [record.baseline for record in searcher.records.values()] == [False] * 5
