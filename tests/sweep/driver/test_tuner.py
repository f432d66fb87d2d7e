"""The driver: what it makes of reports, of lost workers, and of a machine that is too small."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sweep.analysis import read_evaluations
from sweep.driver.entries import describe_run
from sweep.driver.messages import RunResult, TrialReport
from sweep.driver.tuner import run_experiment
from sweep.experiment.config import make_sweep
from sweep.planning.plan import prepare
from sweep.records.ledger import TrialRecord
from sweep.records.runs import make_runs
from sweep.records.states import State
from sweep.storage import Folder
from xpe_core.config import RunConfig
from xpe_core.errors import InputError


def make_result(state: str, error: str | None = None) -> RunResult:
    return RunResult("r", State(state), num_runs_in_pack=1, error=error, best_validation_accuracy=0.5)


def states_of(*runs: RunResult, finished: bool) -> list[str]:
    config = RunConfig()
    record = TrialRecord("t", 0, False, {}, config.values, make_runs(range(1, len(runs) + 1)))
    report = TrialReport(step=3, runs=runs, finished=finished)
    return [describe_run(record, report, place)["state"] for place in range(len(runs))]


def test_a_run_of_a_stopped_trial_is_pruned_even_where_it_had_ended_by_itself() -> None:
    runs = (make_result("complete"), make_result("training"), make_result("failed", "step 3: loss nan"))
    assert states_of(*runs, finished=False) == ["pruned", "pruned", "failed"]
    assert states_of(make_result("complete"), make_result("failed"), finished=True) == ["complete", "failed"]


def test_a_report_is_the_last_one_where_the_scheduler_says_so() -> None:
    wire = TrialReport(step=20).to_wire()
    assert not TrialReport.from_wire(wire).done
    wire["done"] = True  # as Tune does for a trial that is stopped
    assert TrialReport.from_wire(wire) == TrialReport(step=20, done=True)


@pytest.mark.usefixtures("local_ray")
def test_a_trial_that_fits_no_node_is_said_before_it_starts(values: dict[str, Any], tmp_path: Path) -> None:
    sweep = make_sweep(**{**values, "resources": {"cpus_per_trial": 99}})
    with pytest.raises(InputError, match="no node can give a trial 99 CPUs and 0 GPUs; the largest has 2 CPUs"):
        run_experiment(prepare("mine", sweep), tmp_path)


def test_a_finished_pack_reports_complete_runs_with_their_test_counts(undisturbed: Folder) -> None:
    splits = read_evaluations(undisturbed).group_by("run_id", "split").len().sort("run_id", "split")
    assert dict(splits.group_by("split").agg(pl.col("len").unique()).iter_rows()) == {"test": [3], "validation": [2]}


def test_languages_that_choose_and_are_tested_are_named(values: dict[str, Any]) -> None:
    assert prepare("mine", make_sweep(**values)).panel.chosen_by_targets == ()
    values["selection_languages"] = ["eng_Latn", "kat_Geor"]
    assert prepare("mine", make_sweep(**values)).panel.chosen_by_targets == ("kat_Geor",)
