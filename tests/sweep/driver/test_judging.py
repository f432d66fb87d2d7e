"""What the recorder makes of every piece of news, one at a time and without workers."""

import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ray import cloudpickle
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError
from ray.tune.experiment import Trial

from sweep.analysis import read_evaluations, read_runs
from sweep.cluster.versions import NodeMismatch
from sweep.driver import recorder
from sweep.driver.entries import describe_run
from sweep.driver.messages import METRIC, Provenance, RunResult, RunScores, TrialReport, Wire
from sweep.driver.recorder import Recorder, is_lost_with_its_node
from sweep.driver.searcher import LedgerSearcher
from sweep.driver.stopping import Stopped, Stopping
from sweep.experiment.config import make_sweep
from sweep.records.experiment_folder import ExperimentFolder, request_stop
from sweep.records.ledger import TrialRecord, Usage, read_events, read_ledger
from sweep.records.states import State
from xpe_core.errors import InputError
from xpe_core.tasks.scores import LanguageScore

UNUSED, UNLIMITED = Usage(0, 0), Usage(math.inf, math.inf)


class Driver:
    """A recorder with its folder and searcher, but without Tune and workers."""

    def __init__(self, path: Path, used: Usage = UNUSED, limits: Usage = UNLIMITED, gpus: float = 0.5) -> None:
        self.path = path
        sweep = make_sweep(space={"learning_rate": {"log_uniform": [1e-4, 1e-2]}}, seeds=[1, 2], num_samples=9)
        self.folder = ExperimentFolder(path / "mine", sweep, {})
        self.searcher = LedgerSearcher(sweep, self.folder, read_ledger(self.folder.folder))
        self.stopping = Stopping()
        self.said: list[str] = []
        self.heard: list[tuple[int, int | None]] = []
        parts = (self.folder, self.searcher, self.stopping, self._listen, self.said.append)
        self.recorder = Recorder(*parts, gpus, used, limits)

    def close(self) -> None:
        self.folder.close()

    def _listen(self, record: TrialRecord, report: TrialReport | None) -> None:
        self.heard.append((record.number, report.step if report else None))

    def start(self) -> Trial:
        """Start the next trial as Tune does."""
        trial = Trial("stub", trial_id=f"tune{len(self.searcher.records)}", stub=True)
        assert isinstance(self.searcher.suggest(trial.trial_id), dict)
        trial.set_status(Trial.RUNNING)
        self.recorder.on_trial_start(0, [], trial)
        return trial

    def record_of(self, trial: Trial) -> TrialRecord:
        return self.searcher.trials[trial.trial_id]

    def report(self, trial: Trial, report: TrialReport, seconds: float = 0.0) -> Wire:
        """Report as a worker does, and return what Tune keeps of it."""
        wire = {**report.to_wire(), "time_this_iter_s": seconds}
        self.recorder.on_trial_result(0, [], trial, wire)
        return wire

    def fail(self, trial: Trial, error: Exception, monkeypatch: pytest.MonkeyPatch) -> TrialRecord:
        """Let a trial die as Tune does, and return its record."""
        record = self.record_of(trial)
        (self.path / "error.pkl").write_bytes(cloudpickle.dumps(error))
        (self.path / "error.txt").write_text(f"Failure # 1\n{error}\n")
        monkeypatch.setattr(Trial, "pickled_error_file", str(self.path / "error.pkl"))
        monkeypatch.setattr(Trial, "error_file", str(self.path / "error.txt"))
        self.recorder.on_trial_error(0, [], trial)
        return record

    def events(self, kind: str) -> list[dict[str, Any]]:
        self.folder.flush()
        return [dict(event) for event in read_events(self.folder.folder) if event["event"] == kind]


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with closing(Driver(tmp_path)) as opened:
        yield opened


def make_run(state: str, error: str | None = None) -> RunResult:
    """Return where a run of a pack of two stands."""
    return RunResult(
        run_id="r",
        state=State(state),
        num_runs_in_pack=2,
        error=error,
        num_steps=7,
        train_loss=1.5,
        validation_accuracy=0.25,
        best_validation_accuracy=0.5,
        selection_accuracy=0.75,
    )


def test_every_piece_of_news_is_passed_on_and_little_of_it_is_left_with_tune(driver: Driver) -> None:
    trial = driver.start()
    left = driver.report(trial, TrialReport(step=4, selection_accuracy=0.5))
    assert left == {METRIC: 0.5, "done": False}
    assert driver.heard == [(0, None), (0, 4)]


def test_a_report_is_written_with_the_numbers_of_every_run_and_a_tick_is_not(driver: Driver) -> None:
    trial = driver.start()
    driver.report(trial, TrialReport(step=4, tick=True), seconds=3)
    assert driver.record_of(trial).reports == {}
    runs = (make_run("training"), make_run("failed", "step 3: loss nan"))
    driver.report(trial, TrialReport(step=5, selection_accuracy=0.5, runs=runs), seconds=4.0003)
    (event,) = driver.events("report")
    assert {name: event[name] for name in event if name not in ("trial_id", "time")} == {
        "event": "report",
        "step": 5,
        "seconds": 7.0,
        "selection_accuracy": 0.5,
        "num_steps": [7, 7],
        "validation_accuracies": [0.25, 0.25],
        "selection_accuracies": [0.75, 0.75],
        "train_losses": [1.5, 1.5],
        "gpu_seconds": 3.5,  # of half a GPU, with the tick's seconds, to a thousandth
    }
    assert driver.record_of(trial).reports == {5: 0.5}


def test_a_checkpoint_is_kept_until_the_trial_is_done(driver: Driver) -> None:
    trial = driver.start()
    trial_id = driver.record_of(trial).trial_id
    driver.report(trial, TrialReport(step=4, checkpoint=b"four"))
    driver.report(trial, TrialReport(step=5))
    assert driver.folder.read_checkpoint(trial_id) == b"four"
    runs = (make_run("complete"), make_run("complete"))
    driver.report(trial, TrialReport(step=6, checkpoint=b"six", runs=runs, finished=True, done=True))
    driver.folder.flush()
    assert driver.folder.read_checkpoint(trial_id) is None


@pytest.mark.parametrize(
    ("states", "finished", "expected"),
    [
        (("complete", "complete"), True, "complete"),
        (("failed", "complete"), True, "complete"),
        (("failed", "training"), False, "pruned"),
        (("failed", "failed"), True, "failed"),
    ],
)
def test_a_trial_ends_as_the_best_of_its_runs(
    driver: Driver, states: tuple[str, str], finished: bool, expected: str
) -> None:
    trial = driver.start()
    runs = tuple(make_run(state, "step 3: loss nan" if state == "failed" else None) for state in states)
    scores = (LanguageScore("kat_Geor", 4, {"accuracy": 3.0}, 0.5),)
    provenance = Provenance("1", "{}", "b", "host", "cpu", "d", 0)
    tested = (RunScores("r", "test", scores),)
    driver.report(
        trial, TrialReport(9, runs=runs, evaluations=tested, provenance=provenance, finished=finished, done=True)
    )
    (event,) = driver.events("end")
    assert event["state"] == expected
    assert event["error"] == ("step 3: loss nan" if "failed" in states else None)
    rows = read_runs(driver.folder.folder)
    assert rows["validation_accuracy"].to_list() == [0.5, 0.5]  # of the checkpoint that is kept
    assert rows["host"].to_list() == ["host"] * 2 and rows["seed"].to_list() == [1, 2]
    assert len(read_evaluations(driver.folder.folder)) == 1


def test_a_row_without_provenance_says_nothing_of_it(driver: Driver) -> None:
    record = driver.record_of(driver.start())
    row = describe_run(record, TrialReport(9, runs=(make_run("complete"),) * 2, finished=True), 1)
    assert "host" not in row and (row["seed"], row["method"], row["trial_number"]) == (2, "dual", 0)


def test_a_worker_that_dies_three_times_at_one_step_is_judged_like_an_error(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (0, 0, 20, 20):  # it came further after two deaths, so they are counted anew
        trial = driver.start()
        if step:
            driver.report(trial, TrialReport(step=step))
        record = driver.fail(trial, ActorDiedError(), monkeypatch)
        assert record.number == 0 and record.num_errors == 0
    assert [(event["node"], event["trial_id"]) for event in driver.events("lost")] == [(False, record.trial_id)] * 4
    assert driver.said == ["trial 1 lost its worker and goes on from its last checkpoint"] * 4
    assert driver.fail(driver.start(), ActorDiedError(), monkeypatch).num_errors == 1
    assert len(driver.events("lost")) == 4
    assert driver.said[4] == f"trial 1 is tried once more after an error: {str(ActorDiedError()).splitlines()[-1]}"
    assert driver.heard[-2:] == [(0, None)] * 2


def test_a_worker_that_is_lost_with_its_node_goes_on_as_often_as_it_takes(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        record = driver.fail(driver.start(), ActorUnavailableError("gone", None), monkeypatch)
    assert (record.number, record.num_errors) == (0, 0)
    assert [event["node"] for event in driver.events("lost")] == [True] * 4
    assert driver.events("lost")[0]["error"].endswith("may not have been executed on the actor.")
    assert driver.said[-1] == "trial 1 lost its node and goes on from its last checkpoint"


def test_a_node_is_gone_in_three_ways_and_a_process_alone_in_none() -> None:
    assert is_lost_with_its_node(RayActorError(preempted=True))
    assert is_lost_with_its_node(ActorUnavailableError("gone", None))
    assert is_lost_with_its_node(RayActorError(error_msg="The actor died because its node has died."))
    assert not is_lost_with_its_node(RayActorError())


def test_an_error_is_tried_once_more_and_then_ends_the_trial_with_failed_runs(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.fail(driver.start(), RuntimeError("first"), monkeypatch)
    (failure,) = driver.events("failure")
    assert failure["num_errors"] == 1 and failure["error"].endswith("\nfirst")
    record = driver.fail(driver.start(), RuntimeError("second"), monkeypatch)
    assert (record.number, record.state) == (0, State.CRASHED)
    assert len(driver.events("failure")) == 1
    rows = read_runs(driver.folder.folder).sort("seed")
    assert rows["state"].to_list() == ["failed", "failed"] and rows["run_id"].to_list() == record.run_ids
    assert rows["error"].str.ends_with("second").all()
    assert driver.record_of(driver.start()).number == 1


def test_a_configuration_that_cannot_be_run_is_not_tried_again(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    record = driver.fail(driver.start(), InputError("no such layer"), monkeypatch)
    assert (record.state, record.error) == (State.INFEASIBLE, "no such layer")
    assert driver.record_of(driver.start()).number == 1
    assert driver.stopping.cause is None


def test_a_node_that_differs_ends_the_experiment_and_its_trial_goes_on_at_the_next_start(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = driver.fail(driver.start(), NodeMismatch("node b has another torch"), monkeypatch)
    assert record.state is None
    assert str(driver.stopping.cause).startswith("node b has another torch; then start the same command again")
    assert driver.record_of(driver.start()) is record


@pytest.mark.parametrize(
    ("errors", "ends"), [(("a", "a"), False), (("a", "a", "b"), False), (("b", "a", "a"), False), (("a",) * 3, True)]
)
def test_the_same_error_of_the_first_three_trials_ends_the_experiment(
    driver: Driver, errors: tuple[str, ...], ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in errors:
        driver.fail(driver.start(), InputError(f"at step 1\n{error}"), monkeypatch)
    assert (driver.stopping.cause is not None) == ends
    if ends:
        assert str(driver.stopping.cause).startswith("the first 3 trials all died of the same error: a;")


def test_errors_after_a_report_end_nothing_also_where_it_came_before_this_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        with closing(Driver(tmp_path)) as driver:
            if not driver.searcher.records:
                driver.report(driver.start(), TrialReport(step=4))
            for _ in range(3):
                driver.fail(driver.start(), InputError("alike"), monkeypatch)
            assert driver.stopping.cause is None


@pytest.mark.parametrize(
    ("used", "limits", "reason"),
    [
        (Usage(2, 0), Usage(2, math.inf), "the budget of 2 hours is used up (--max-hours raises it)"),
        (Usage(0, 3), Usage(math.inf, 3), "the budget of 3 GPU-hours is used up (--max-gpu-hours raises it)"),
        (Usage(2, 3), Usage(2.1, 3.1), "None"),
    ],
)
def test_a_budget_that_is_used_up_ends_the_experiment(tmp_path: Path, used: Usage, limits: Usage, reason: str) -> None:
    with closing(Driver(tmp_path, used, limits)) as driver:
        driver.recorder.on_step_end(0, [])
        assert str(driver.stopping.cause) == reason


def test_the_gpu_hours_of_this_start_are_added_to_those_before(tmp_path: Path) -> None:
    with closing(Driver(tmp_path, Usage(0, 3), Usage(math.inf, 4.5))) as driver:
        trial = driver.start()
        driver.report(trial, TrialReport(step=1, tick=True), seconds=2 * 3600)  # of half a GPU
        driver.recorder._poll()
        assert driver.stopping.cause is None
        driver.report(trial, TrialReport(step=2, tick=True), seconds=3600)
        driver.recorder._poll()
        assert isinstance(driver.stopping.cause, Stopped)
        driver.recorder.finish()
        driver.recorder.finish()
        assert [event["gpu_seconds"] for event in driver.events("stop")] == [5400.0]


def test_budget_and_requests_are_looked_at_every_two_seconds(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "POLL_SECONDS", 60.0)
    driver.recorder.on_step_end(0, [])
    request_stop(driver.folder.folder)
    driver.recorder.on_step_end(0, [])
    assert driver.stopping.cause is None
    monkeypatch.setattr(recorder, "POLL_SECONDS", 0.0)
    driver.recorder.on_step_end(0, [])
    assert str(driver.stopping.cause) == "stopped on request"


def test_tune_may_stop_once_all_running_trials_are_saved_and_none_is_handed_out_any_more(driver: Driver) -> None:
    running, ended = driver.start(), driver.start()
    ended.set_status(Trial.TERMINATED)
    driver.recorder.on_step_end(0, [running, ended])
    assert not driver.searcher.closed and not driver.stopping.ready
    driver.stopping.ask(Stopped("interrupted"))
    driver.recorder.on_step_end(0, [running, ended])
    assert driver.searcher.closed and not driver.stopping.ready
    driver.recorder._saved.add(running.trial_id)
    driver.recorder.on_step_end(0, [running, ended])
    assert driver.stopping.ready


def test_what_tune_writes_out_of_a_report_does_not_grow_with_what_was_trained() -> None:
    """Tune makes a text of every result for its log, and a checkpoint of full fine-tuning has a gigabyte."""
    report = TrialReport(step=4, adapters={"some": bytes(10**7)}, checkpoint=bytes(10**7))
    assert len(repr(report)) < 1000 and len(repr(report.to_wire())) < 1000
