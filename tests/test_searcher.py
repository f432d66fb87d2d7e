"""Optuna behind Tune's interface: what it proposes, what it is told, and that a rebuilt study goes on alike."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from sweep.config import SweepConfig
from sweep.searcher import OptunaSearcher
from sweep.store import ExperimentFolder, TrialRecord, read_ledger

SPACE = {
    "encoder_ratio": {"uniform": [0.1, 0.9], "step": 0.1},
    "learning_rate": {"log_uniform": [1e-4, 1e-2]},
    "num_virtual_tokens": {"choice": [5, 10, 20]},
}


Build = Callable[..., OptunaSearcher]


@pytest.fixture
def build_searcher() -> Iterator[Build]:
    with ExitStack() as folders:

        def build(path: Path, **values: Any) -> OptunaSearcher:
            sweep = SweepConfig(**{"base": {"max_steps": 100}, "space": SPACE, "num_samples": 20, **values})
            folder = folders.enter_context(closing(ExperimentFolder(path, sweep, {})))
            return OptunaSearcher(sweep, folder, read_ledger(path))

        yield build


def value_of(config: dict[str, Any]) -> float:
    """Return a made accuracy that is best at ratio 0.7 and 20 tokens."""
    return 0.9 - (config["encoder_ratio"] - 0.7) ** 2 - 0.2 * (config["num_virtual_tokens"] != 20)


def end(searcher: OptunaSearcher, tune_id: str, state: str, reports: dict[int, float]) -> None:
    """Do what the driver does when a trial ends: write to the ledger, then let Tune tell the searcher."""
    record = searcher.trials[tune_id]
    for step, value in reports.items():
        event = {"event": "report", "trial_id": record.trial_id, "step": step, "selection_accuracy": value}
        searcher.folder.append(event)
        record.reports[step] = value
    searcher.folder.append({"event": "end", "trial_id": record.trial_id, "state": state, "error": None})
    record.state = state
    searcher.on_trial_complete(tune_id)


def run(searcher: OptunaSearcher, count: int) -> list[dict[str, Any]]:
    """Let the searcher propose and finish `count` trials, every third searched one pruned."""
    configs = []
    for _ in range(count):
        number = len(searcher.records)
        suggestion = searcher.suggest(f"tune{number}")
        assert isinstance(suggestion, dict)
        configs.append(suggestion["config"])
        value = value_of(suggestion["config"])
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
        (trial,) = searcher._study.trials  # SPT and XPE lie outside the space and are not told
        assert trial.state == TrialState.PRUNED
        record: TrialRecord = list(searcher.records.values())[2]
        assert trial.intermediate_values == record.reports
        assert trial.params == pytest.approx(record.params)


def test_spt_and_xpe_are_told_where_the_space_holds_them(tmp_path: Path, build_searcher: Build) -> None:
    space = {"encoder_ratio": {"uniform": [0.0, 1.0]}}
    searcher = build_searcher(tmp_path, space=space)
    run(searcher, 2)
    assert [trial.params["encoder_ratio"] for trial in searcher._study.trials] == [0.0, 1.0]


def test_xpe_beyond_the_last_whole_step_is_not_told(tmp_path: Path, build_searcher: Build) -> None:
    searcher = build_searcher(tmp_path, space={"encoder_ratio": {"uniform": [0.0, 1.0], "step": 0.3}})
    run(searcher, 3)  # Optuna's range ends at 0.9
    told = [trial for trial in searcher._study.trials if trial.state != TrialState.FAIL]
    assert [trial.params["encoder_ratio"] for trial in told] == [0.0, searcher.trials["tune2"].config["encoder_ratio"]]


def test_tpe_finds_the_better_part_of_the_space(tmp_path: Path, build_searcher: Build) -> None:
    configs = run(build_searcher(tmp_path, num_samples=60), 60)
    late = [value_of(config) for config in configs[-20:]]
    early = [value_of(config) for config in configs[2:12]]
    assert sum(late) / len(late) > sum(early) / len(early) + 0.05


def test_no_configuration_is_proposed_twice_and_an_exhausted_space_ends_the_search(
    tmp_path: Path, build_searcher: Build
) -> None:
    space = {"num_virtual_tokens": {"choice": [5, 10, 20]}, "encoder_num_layers": {"choice": [1, 2]}}
    searcher = build_searcher(tmp_path, space=space)
    configs = run(searcher, 6)
    assert len({(config["num_virtual_tokens"], config["encoder_num_layers"]) for config in configs}) == 6
    assert searcher.suggest("more") == Searcher.FINISHED


def test_the_search_ends_at_its_number_of_samples(tmp_path: Path, build_searcher: Build) -> None:
    searcher = build_searcher(tmp_path, num_samples=3)
    run(searcher, 3)
    assert searcher.suggest("more") == Searcher.FINISHED
