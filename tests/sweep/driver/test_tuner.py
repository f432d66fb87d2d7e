"""The driver: what it makes of reports, of lost workers, and of a machine that is too small."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sweep.analysis import read_evaluations
from sweep.driver.recorder import describe_run
from sweep.driver.tuner import run_experiment
from sweep.experiment.config import SweepConfig
from sweep.planning.plan import prepare
from sweep.records.ledger import TrialRecord
from sweep.storage import Folder
from xpe_core.config import RunConfig
from xpe_core.errors import InputError


def run_report(**values: Any) -> dict[str, Any]:
    return {"state": "training", "error": None, "best_validation_accuracy": 0.5, **values}


def rows_of(*runs: dict[str, Any], finished: bool) -> list[str]:
    config = RunConfig()
    record = TrialRecord("t", 0, False, {}, config.model_dump(), tuple(range(1, len(runs) + 1)))
    result = {"runs": runs, "finished": finished, "provenance": {}}
    return [describe_run(record, result, place)["state"] for place in range(len(runs))]


def test_a_run_of_a_stopped_trial_is_pruned_even_where_it_had_ended_by_itself() -> None:
    runs = (run_report(state="complete"), run_report(), run_report(state="failed", error="step 3: loss nan"))
    assert rows_of(*runs, finished=False) == ["pruned", "pruned", "failed"]
    assert rows_of(run_report(state="complete"), run_report(state="failed"), finished=True) == ["complete", "failed"]


@pytest.mark.usefixtures("local_ray")
def test_a_trial_that_fits_no_node_is_said_before_it_starts(values: dict[str, Any], tmp_path: Path) -> None:
    sweep = SweepConfig(**{**values, "resources": {"cpus_per_trial": 99}})
    with pytest.raises(InputError, match="no node can give a trial 99 CPUs and 0 GPUs; the largest has 2 CPUs"):
        run_experiment(prepare("mine", sweep), tmp_path)


def test_a_finished_pack_reports_complete_runs_with_their_test_counts(undisturbed: Folder) -> None:
    splits = read_evaluations(undisturbed).group_by("run_id", "split").len().sort("run_id", "split")
    assert dict(splits.group_by("split").agg(pl.col("len").unique()).iter_rows()) == {"test": [3], "validation": [2]}


def test_languages_that_choose_and_are_tested_are_named(values: dict[str, Any]) -> None:
    assert prepare("mine", SweepConfig(**values)).chosen_by_targets == ()
    values["selection_languages"] = ["eng_Latn", "kat_Geor"]
    assert prepare("mine", SweepConfig(**values)).chosen_by_targets == ("kat_Geor",)
