"""What the driver makes of its trials' news: every report and end is written, every failure judged by its kind.

- A lost worker or node: the trial goes on from its last checkpoint ahead of all others, as often as it takes, unless
  its worker dies again and again at the same place while the node lives.
- A node with other versions, backbone or data than the driver's: the experiment ends and says so.
- A configuration that cannot be run (InputError): infeasible, not tried again.
- Any other error, in code or data: tried once more, then crashed; the next start of the experiment tries it again.
- The first trials all die of the same error: the experiment ends and says it once.
"""

import time
from collections.abc import Callable
from pathlib import Path

import ray
from ray import cloudpickle, tune
from ray.exceptions import ActorUnavailableError, RayActorError, RayTaskError
from ray.tune.experiment import Trial

from sweep.cluster.versions import NodeMismatch
from sweep.driver.entries import add_configurations, describe_report, describe_run, end_unrun
from sweep.driver.killed_workers import LOW_ON_MEMORY
from sweep.driver.messages import DONE, METRIC, TrialReport, Wire
from sweep.driver.searcher import LedgerSearcher
from sweep.driver.stopping import Stopped, Stopping
from sweep.records.adapters import keep_adapters
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.ledger import TrialRecord, Usage
from sweep.records.states import RUN_ENDS, State
from xpe_core.errors import InputError

MAX_ERRORS = 2
"""Errors of a trial's code or data after which it counts as crashed."""
MAX_DEATHS = 3
"""Deaths of a trial's worker at the same step after which they count as an error."""
SAME_ERRORS = 3
"""First trials that must die of the same error for the experiment to end."""
POLL_SECONDS = 2.0
"""Between looks at budget and requests."""
SAVE_SECONDS = 60.0
"""How long a worker's checkpoint is waited for."""

SECONDS = "time_this_iter_s"
"""What Tune says in a result of the time since the last one."""
KEPT = {METRIC, DONE, "trial_id", "node_ip", "pid", "training_iteration"}
"""What Tune and the scheduler still read of a result."""

Listener = Callable[[TrialRecord, TrialReport | None], None]
"""Is told of every trial's start (without a report) and of every report, after it has been written."""


class Recorder(tune.Callback):
    """Tune's callback; the only one who writes to the experiment's folder while it runs."""

    def __init__(
        self,
        folder: ExperimentFolder,
        searcher: LedgerSearcher,
        stopping: Stopping,
        listen: Listener | None,
        say: Callable[[str], None],
        gpus: float,
        used: Usage,
        limits: Usage,
    ) -> None:
        """Take what has been `used` before and the `limits` of the budget; `gpus` is a trial's share.

        What a person should know beside the trials' news goes to `say`.
        """
        self._folder = folder
        self._searcher = searcher
        self._stopping = stopping
        self._listen = listen
        self._say = say
        self._gpus = gpus
        self._limits = limits
        self._started = time.monotonic() - 3600 * used.hours
        self._gpu_hours = used.gpu_hours
        self._unwritten_gpu_seconds = 0.0
        self._saved: set[str] = set()
        self._polled = 0.0
        self._deaths: dict[str, tuple[int, int]] = {}
        reported = any(record.reports for record in searcher.records.values())
        self._first_errors: list[str] | None = None if reported else []

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        """Pass the news on."""
        if self._listen:
            self._listen(self._searcher.trials[trial.trial_id], None)

    def on_trial_result(self, iteration: int, trials: list[Trial], trial: Trial, result: Wire, **info: object) -> None:
        """Write a worker's report; `done` without `finished` means that the scheduler stopped the trial."""
        record, report = self._searcher.trials[trial.trial_id], TrialReport.from_wire(result)
        self._first_errors = None  # something works
        if isinstance(seconds := result.get(SECONDS), int | float):
            self._count_gpus(seconds)
            record.seconds += seconds
        if not report.tick:
            self._write_report(record, report)
        if report.checkpoint is not None and not report.done:
            self._folder.write_checkpoint(record.trial_id, report.checkpoint)
        if report.done:
            self._end(record, report)
        elif self._stopping.cause and trial.trial_id not in self._saved:
            self._save_now(record, trial)
        if self._listen:
            self._listen(record, report)
        for name in [name for name in result if name not in KEPT]:
            del result[name]  # written by now; Tune would keep it, and statistics of it, in memory for every trial

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        """Judge a failure, and let the trial be run again or end it."""
        record = self._searcher.trials.pop(trial.trial_id)
        cause = _read_cause(trial)
        if isinstance(cause, RayActorError) and self._is_lost(record, cause):
            has_lost_node, error = is_lost_with_its_node(cause), str(cause).strip().splitlines()[-1]
            self._folder.append({"event": "lost", "trial_id": record.trial_id, "node": has_lost_node, "error": error})
            what = "node" if has_lost_node else "worker"
            why = f" ({LOW_ON_MEMORY})" if LOW_ON_MEMORY in error else ""
            self._say(f"trial {record.number + 1} lost its {what}{why} and goes on from its last checkpoint")
            self._searcher.retry(record)
        elif isinstance(cause, NodeMismatch):
            self._searcher.retry(record)
            self._stopping.ask(InputError(f"{cause}; then start the same command again, it goes on from here"))
        elif isinstance(cause, InputError):
            self._give_up(record, State.INFEASIBLE, str(cause))
        else:
            # get_error() reads the storage, to which Tune has not copied the file yet
            self._judge(record, Path(trial.error_file).read_text(encoding="utf-8").strip())
        if self._listen:
            self._listen(record, None)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: object) -> None:
        """Write what is due, look at budget and requests, and end where that is asked for and all are saved."""
        self._folder.flush(force=False)
        if time.monotonic() - self._polled >= POLL_SECONDS:
            self._polled = time.monotonic()
            self._poll()
        if self._stopping.cause is None:
            return
        self._searcher.closed = True
        running = {trial.trial_id for trial in trials if trial.status == Trial.RUNNING}
        self._stopping.ready = running <= self._saved or self._stopping.is_due

    def finish(self) -> None:
        """Write what GPUs were used for since the last report."""
        if self._unwritten_gpu_seconds:
            self._folder.append({"event": "stop", "gpu_seconds": self._take_gpus()})

    def _write_report(self, record: TrialRecord, report: TrialReport) -> None:
        record.reports[report.step] = report.selection_accuracy
        event = describe_report(record, report)
        if gpu_seconds := self._take_gpus():
            event["gpu_seconds"] = gpu_seconds
        self._folder.append(event)

    def _end(self, record: TrialRecord, report: TrialReport) -> None:
        """Write a trial's rows and, where they are kept, its adapters."""
        runs = [describe_run(record, report, index) for index in range(len(record.runs))]
        states = {run["state"] for run in runs}
        error = next((run["error"] for run in runs if run["error"]), None)
        state = next(name for name in RUN_ENDS if name in states)
        if report.adapters:
            ended = {one.trial_id: one for one in self._searcher.records.values() if one.state is not None}
            record.state = state
            keep_adapters(self._folder, self._searcher.sweep, ended, record, report.adapters)
        self._folder.end(record, state, error, add_configurations(record, runs), report.rows())

    def _save_now(self, record: TrialRecord, trial: Trial) -> None:
        """Fetch a checkpoint from the trial's worker, which has nothing to do until this driver says so."""
        try:
            checkpoint = ray.get(trial.temporary_state.ray_actor.checkpoint.remote(), timeout=SAVE_SECONDS)
        except (RayActorError, ray.exceptions.GetTimeoutError):
            checkpoint = None  # there is an older one
        if checkpoint is not None:
            self._folder.write_checkpoint(record.trial_id, checkpoint)
        self._saved.add(trial.trial_id)

    def _is_lost(self, record: TrialRecord, error: RayActorError) -> bool:
        """Whether a worker was lost with its node, or died alone not yet MAX_DEATHS times at the same step."""
        if is_lost_with_its_node(error):
            return True
        step = max(record.reports, default=0)
        before, count = self._deaths.get(record.trial_id, (step, 0))
        self._deaths[record.trial_id] = step, count + 1 if before == step else 1
        return self._deaths[record.trial_id][1] < MAX_DEATHS

    def _judge(self, record: TrialRecord, error: str) -> None:
        record.num_errors += 1
        if record.num_errors < MAX_ERRORS:
            self._folder.append(
                {"event": "failure", "trial_id": record.trial_id, "num_errors": record.num_errors, "error": error}
            )
            self._say(f"trial {record.number + 1} is tried once more after an error: {error.splitlines()[-1]}")
            self._searcher.retry(record)
            return
        self._give_up(record, State.CRASHED, error)

    def _give_up(self, record: TrialRecord, state: State, error: str) -> None:
        """Write a trial that has no results as ended, and end the experiment where all die of the same."""
        end_unrun(self._folder, record, state, error)
        self._searcher.give_up(record)
        if self._first_errors is None:
            return
        self._first_errors.append(error.strip().splitlines()[-1])
        if len(self._first_errors) >= SAME_ERRORS and len(set(self._first_errors)) == 1:
            reason = f"the first {len(self._first_errors)} trials all died of the same error: {self._first_errors[0]}"
            self._stopping.ask(InputError(f"{reason}; mend it and start the same command again"))

    def _poll(self) -> None:
        if self._folder.is_asked_to_stop():
            self._stopping.ask(Stopped("stopped on request"))
        hours = (time.monotonic() - self._started) / 3600
        for name, used, limit in (
            ("hours", hours, self._limits.hours),
            ("GPU-hours", self._gpu_hours, self._limits.gpu_hours),
        ):
            if used >= limit:
                option = f"--max-{name.lower()}"
                self._stopping.ask(Stopped(f"the budget of {limit:g} {name} is used up ({option} raises it)"))

    def _count_gpus(self, seconds: float) -> None:
        self._unwritten_gpu_seconds += seconds * self._gpus
        self._gpu_hours += seconds * self._gpus / 3600

    def _take_gpus(self) -> float:
        """Return the GPUs' seconds that are in no event yet."""
        taken, self._unwritten_gpu_seconds = round(self._unwritten_gpu_seconds, 3), 0.0
        return taken


def is_lost_with_its_node(error: RayActorError) -> bool:
    """Whether the node is gone or out of reach, not the worker's process alone.

    Ray says so in three ways: the node was taken away, the connection broke before anything was known, or later in
    words.
    """
    return bool(error.preempted or isinstance(error, ActorUnavailableError) or "its node has died" in str(error))


def _read_cause(trial: Trial) -> Exception | None:
    """Return what a trial died of, out of the file that Tune has written in this driver's scratch folder."""
    if trial.pickled_error_file is None or not (file := Path(trial.pickled_error_file)).is_file():
        return None
    error = cloudpickle.loads(file.read_bytes())
    cause: Exception = error.cause if isinstance(error, RayTaskError) else error
    return cause
