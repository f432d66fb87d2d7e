"""The best configuration, by hand."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sweep.analysis import best_experiment, find_best, read_evaluations, read_runs
from sweep.experiment.config import make_sweep
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.ledger import TrialRecord
from sweep.records.runs import make_runs
from sweep.records.states import State
from tests.making.experiments import load_search
from xpe_core.config import RunConfig
from xpe_core.errors import InputError


def runs_table(*rows: tuple[str, str, int, str, float | None]) -> pl.DataFrame:
    """Build rows of (config_id, method, seed, state, selection_accuracy), trials numbered in order."""
    numbers = {config: number for number, config in enumerate(dict.fromkeys(row[0] for row in rows))}
    return pl.DataFrame(
        [
            {"run_id": f"{config}{seed}", "config_id": config, "method": method, "state": state, "source_set": "joshi5"}
            | {"selection_accuracy": value, "trial_number": numbers[config]}
            for config, method, seed, state, value in rows
        ],
        schema_overrides={"selection_accuracy": pl.Float64},
    )


def test_the_best_is_by_the_mean_over_seeds_among_finished_configurations() -> None:
    runs = runs_table(
        ("lucky", "dual", 1, "complete", 0.9),
        ("lucky", "dual", 2, "complete", 0.1),
        ("steady", "xpe", 1, "complete", 0.6),
        ("steady", "xpe", 2, "complete", 0.6),
        ("pruned", "dual", 1, "pruned", 0.99),
    )
    best = find_best(runs)
    assert best and (best.config_id, best.selection_accuracy, best.num_seeds) == ("steady", 0.6, 2)
    dual = find_best(runs, "dual")
    assert dual and dual.config_id == "lucky"
    assert find_best(runs, "spt") is None


def test_a_failed_seed_counts_as_nothing_learnt() -> None:
    runs = runs_table(
        ("fragile", "dual", 1, "complete", 0.9),
        ("fragile", "dual", 2, "failed", None),
        ("steady", "dual", 1, "complete", 0.5),
        ("steady", "dual", 2, "complete", 0.5),
        ("broken", "spt", 1, "failed", 0.0),
    )
    best = find_best(runs)
    assert best and best.config_id == "steady"
    assert find_best(runs, "spt") is None


def test_the_first_of_equals_is_the_best() -> None:
    runs = runs_table(("z", "dual", 1, "complete", 0.5), ("a", "dual", 1, "complete", 0.5))
    best = find_best(runs)
    assert best and best.config_id == "z"


def test_the_best_configuration_is_an_experiment_that_can_be_run(tmp_path: Path) -> None:
    sweep = make_sweep(base={"max_steps": 100}, space={"encoder_ratio": {"uniform": [0.1, 0.9]}}, seeds=[1, 2])
    path = tmp_path / "x[1]"
    folder = ExperimentFolder(path, sweep, {})
    config = RunConfig(max_steps=100, encoder_ratio=0.4)
    run: dict[str, Any] = {"state": "complete", "selection_accuracy": 0.5, "method": "dual", "trial_number": 3}
    rows = [
        {**config.with_seed(seed).values, **run, "config_id": config.config_id, "run_id": str(seed)} for seed in (1, 2)
    ]
    record = TrialRecord("t", 3, False, {}, config.values, make_runs([1, 2]))
    folder.end(record, State.COMPLETE, None, rows, [])
    folder.flush()
    best = best_experiment(path, sweep)
    assert best
    folder.write_yaml("mine-best.yaml", best)
    folder.close()
    name, loaded = load_search(str(path / "mine-best.yaml"))
    assert (name, loaded.config(), loaded.seeds, loaded.space) == ("mine-best", config, (1, 2), {})


def test_a_folder_without_results_is_said(tmp_path: Path) -> None:
    for read in (read_runs, read_evaluations):
        with pytest.raises(InputError, match="holds no results yet"):
            read(tmp_path)
