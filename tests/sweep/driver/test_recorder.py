"""What becomes of trials whose worker, code, data or configuration fails, and of an experiment that is ended early."""

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ray import tune

from sweep.analysis import read_evaluations, read_runs
from sweep.driver.messages import TrialOrder, TrialReport, Wire
from sweep.driver.recorder import MAX_DEATHS
from sweep.driver.stopping import Stopped
from sweep.driver.trial import PackTrainable
from sweep.driver.tuner import run_experiment
from sweep.experiment.config import make_sweep
from sweep.planning.plan import Plan, prepare
from sweep.records.experiment_folder import request_stop
from sweep.records.ledger import TrialRecord, Usage, read_events, read_ledger
from sweep.storage import Folder
from tests.conftest import ONE_THREAD
from tests.sweep.test_end_to_end import MEASURED
from xpe_core.errors import InputError

pytestmark = pytest.mark.usefixtures("local_ray")


def make_plan(values: dict[str, Any], num_samples: int, checkpoint_seconds: float = 0.0, **changes: Any) -> Plan:
    """Plan the first trials of the search of `undisturbed`, or of one that differs in some values."""
    resources = {**ONE_THREAD, "checkpoint_seconds": checkpoint_seconds}
    return prepare("mine", make_sweep(**{**values, "num_samples": num_samples, "resources": resources, **changes}))


def assert_same(whole: Folder, first_trials: Folder) -> None:
    """Compare the tables of an experiment's first trials, whatever order they ended in, with those of all."""
    runs = [read_runs(folder).drop(MEASURED).sort("run_id") for folder in (whole, first_trials)]
    last = runs[1]["trial_number"].max()
    assert runs[0].filter(pl.col("trial_number") <= last).equals(runs[1])
    order = ["run_id", "split", "language"]
    evaluations = [read_evaluations(folder).sort(order) for folder in (whole, first_trials)]
    assert evaluations[0].filter(pl.col("run_id").is_in(runs[1]["run_id"].to_list())).equals(evaluations[1])


def test_a_worker_that_is_killed_changes_no_number(values: dict[str, Any], tmp_path: Path, undisturbed: Folder) -> None:
    for checkpoint_seconds, expected in ((0.0, 40), (3600.0, 0)):
        plan = make_plan(values, 2, checkpoint_seconds)
        killed: list[int] = []
        restored: list[int] = []
        disturbed = run_experiment(plan, tmp_path / str(expected), partial(_kill_once, killed, restored))
        assert killed and set(restored) == {expected}
        assert len(read_runs(disturbed)) == 2 * 2
        assert_same(undisturbed, disturbed)
        assert not (disturbed / "checkpoints").names()


def _kill_once(killed: list[int], restored: list[int], record: TrialRecord, report: TrialReport | None) -> None:
    """Kill the second trial's worker at step 40, and note from where the trial goes on."""
    if report and record.number == 1 and report.step == 40 and not killed:
        killed.append(report.pid)
        os.kill(report.pid, signal.SIGKILL)
    elif report and record.number == 1 and killed:
        restored.append(report.restored_step)


def test_a_worker_that_dies_again_and_again_at_one_place_is_given_up_until_the_next_start(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.driver.recorder.MAX_ERRORS", 1)
    plan = make_plan(values, 2, checkpoint_seconds=3600.0)
    killed: list[int] = []

    def kill_always(record: TrialRecord, report: TrialReport | None) -> None:
        if report and record.number == 0:
            killed.append(report.pid)
            os.kill(report.pid, signal.SIGKILL)

    folder = run_experiment(plan, tmp_path, kill_always)
    lost = [event for event in read_events(folder) if event["event"] == "lost"]
    assert [event["node"] for event in lost] == [False] * (MAX_DEATHS - 1)
    assert len(killed) == MAX_DEATHS  # then it is judged like an error
    runs = read_runs(folder).sort("trial_number", "seed")
    assert runs["state"].to_list() == ["failed", "failed", "complete", "complete"]
    assert runs["error"][0] and "died" in runs["error"][0].lower()
    assert [record.state for record in read_ledger(folder).values()] == [None, "complete"]
    assert set(read_runs(run_experiment(plan, tmp_path))["state"]) == {"complete"}


def test_an_error_in_the_code_is_tried_once_more(values: dict[str, Any], tmp_path: Path) -> None:
    marker = tmp_path / "failed-once"

    class FailsOnce(PackTrainable):  # in here, so that a worker needs not import all that this module does
        def step(self) -> Wire:
            """Train, and fail in the first trial that has step 40 behind it."""
            result = super().step()
            if TrialReport.from_wire(result).step >= 40 and not marker.exists():
                marker.touch()
                raise RuntimeError("made to fail")
            return result

    folder = run_experiment(make_plan(values, 2), tmp_path, trainable=FailsOnce)
    assert marker.exists()
    assert set(read_runs(folder)["state"]) == {"complete"}
    failures = [event for event in read_events(folder) if event["event"] == "failure"]
    assert len(failures) == 1 and failures[0]["error"].endswith("RuntimeError: made to fail")


def test_a_configuration_that_cannot_be_run_is_marked_and_not_tried_again(
    values: dict[str, Any], tmp_path: Path
) -> None:
    class FailsForOneMethod(PackTrainable):
        def step(self) -> Wire:
            """Train anything but XPE."""
            if TrialOrder.from_wire(self.config).config["encoder_ratio"] == 1.0:
                raise InputError("no XPE here")
            return super().step()

    plan = make_plan(values, 2)
    started: list[int] = []
    for _ in range(2):
        folder = run_experiment(
            plan,
            tmp_path,
            lambda record, report: None if report else started.append(record.number),
            trainable=FailsForOneMethod,
        )
    assert started.count(1) <= 2  # its start, and its end
    assert [record.state for record in read_ledger(folder).values()] == ["complete", "infeasible"]
    assert read_ledger(folder)[list(read_ledger(folder))[1]].error == "no XPE here"


def test_the_same_error_in_all_first_trials_ends_the_experiment_and_is_said_once(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FailsAlways(tune.Trainable):
        def step(self) -> Wire:
            """Train nothing."""
            raise RuntimeError("the disk of this worker is on fire")

    monkeypatch.setattr("sweep.driver.recorder.MAX_ERRORS", 1)
    plan = make_plan(values, 4)
    with pytest.raises(InputError, match="the first 3 trials all died of the same error: .*on fire") as error:
        run_experiment(plan, tmp_path, trainable=FailsAlways)
    assert "\n" not in str(error.value)
    assert len(read_ledger(tmp_path / "mine")) <= 4
    runs = read_runs(run_experiment(plan, tmp_path))  # mended: all are run
    assert len(runs) == 8 and "failed" not in set(runs["state"])


def test_a_request_to_stop_ends_with_a_checkpoint_and_the_rest_is_run_later(
    values: dict[str, Any], tmp_path: Path, undisturbed: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.driver.recorder.POLL_SECONDS", 0.0)
    plan = make_plan(values, 3, checkpoint_seconds=3600.0)
    restored: list[int] = []

    def ask(record: TrialRecord, report: TrialReport | None) -> None:
        if report and record.number == 1 and report.step == 20:
            request_stop(Folder(tmp_path / "mine"))

    with pytest.raises(Stopped, match="stopped on request"):
        run_experiment(plan, tmp_path, ask)
    assert [record.state for record in read_ledger(tmp_path / "mine").values()] == ["complete", None]
    folder = run_experiment(
        plan, tmp_path, lambda record, report: restored.append(report.restored_step) if report else None
    )
    assert restored[0] >= 20  # from the checkpoint that was sent when it was asked for
    assert len(read_runs(folder)) == 3 * 2
    assert_same(undisturbed, folder)


def test_a_budget_counts_over_starts(values: dict[str, Any], tmp_path: Path) -> None:
    plan = make_plan(values, 1)
    with pytest.raises(Stopped, match=r"the budget of 1e-06 hours is used up \(--max-hours raises it\)"):
        run_experiment(plan, tmp_path, limits=Usage(1e-6, float("inf")))
    assert len(read_runs(run_experiment(plan, tmp_path))) == 2


def test_a_search_may_get_more_seeds_and_more_steps(values: dict[str, Any], tmp_path: Path) -> None:
    values["space"] = {"encoder_ratio": {"uniform": [0.1, 0.9], "step": 0.1}}
    first = read_runs(run_experiment(make_plan(values, 2), tmp_path))
    more_seeds = read_runs(run_experiment(make_plan(values, 2, seeds=[1, 2, 3]), tmp_path))
    assert sorted(more_seeds["seed"]) == [1, 1, 2, 2, 3, 3]
    assert more_seeds.filter(pl.col("seed") < 3).drop(MEASURED).equals(first.drop(MEASURED))
    values["base"]["max_steps"] = 80
    longer = read_runs(run_experiment(make_plan(values, 2, seeds=[1, 2, 3]), tmp_path))
    assert longer.filter(pl.col("max_steps") == 60).equals(more_seeds)
    assert longer.filter(pl.col("max_steps") == 80)["num_steps"].to_list() == [80] * 6
