"""What an experiment's runs have to say to a tool: parameters, a point at every report, results at the end.

Built from the ledger and the tables, or from a driver's news while it goes on; both give the same.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sweep.analysis import find_rows
from sweep.analysis.stored_experiment import read_experiment
from sweep.experiment.config import SweepConfig
from sweep.experiment.groups import name_source_set
from sweep.records.events import Reported
from sweep.records.ledger import TrialRecord, read_events
from sweep.records.parquet import read_rows
from sweep.records.specification import FILE
from sweep.records.states import RUN_ENDS, State
from sweep.storage import Folder
from sweep.storage.lock import is_running
from xpe_core.digests import digest
from xpe_core.fields import FieldValues
from xpe_core.language_facts import find_facts
from xpe_core.tasks import DEFAULT_TASK, TASKS

SUMMARY = ("best_step", "train_seconds", "num_trained_parameters")
"""Columns of `runs` that are results as they are."""
Row = Mapping[str, object]
"""Of one of the two tables."""


@dataclass(frozen=True)
class Point:
    """A run at one of its reports."""

    step: int
    time: float
    """When the driver wrote it, in seconds since 1970."""
    metrics: dict[str, float]


@dataclass
class RunHistory:
    """One run so far."""

    run_id: str
    seed: int
    params: FieldValues
    """Its configuration, with method, arm, seed, run_id, config_id and experiment; what is None is left out."""
    state: State = State.RUNNING
    error: str | None = None
    points: dict[int, Point] = field(default_factory=dict)
    """By step, in ascending order."""
    results: dict[str, float] = field(default_factory=dict)
    """At its end: test accuracy by target group and by language, in [0, 1], and what `SUMMARY` says."""

    @property
    def task(self) -> str:
        """The name of what is asked of it."""
        return str(self.params.get("task", DEFAULT_TASK))

    @property
    def num_steps(self) -> int:
        """The step of its last point, 0 where there is none."""
        return max(self.points, default=0)

    @property
    def has_ended(self) -> bool:
        """Whether it came to an end."""
        return self.state in RUN_ENDS

    def digest(self) -> str:
        """Return what is another one as soon as there is something new to write."""
        points = {str(point.step): point.metrics for point in self.points.values()}
        return digest([self.run_id, self.state, self.error, points, self.results])


@dataclass
class ConfigurationHistory:
    """A configuration with its runs."""

    config_id: str
    name: str
    """Short and fit for a folder: the number of its first trial, its arm or method, and digits of its id."""
    params: FieldValues
    """As a run's, without what is a run's own."""
    runs: dict[str, RunHistory] = field(default_factory=dict)
    """By run_id."""

    @property
    def state(self) -> State:
        """The first of these that one of its runs is in: running, unfinished, complete, pruned, failed."""
        states = {run.state for run in self.runs.values()}
        return next(state for state in (State.RUNNING, State.UNFINISHED, *RUN_ENDS) if state in states)

    @property
    def complete(self) -> list[RunHistory]:
        """Its complete runs."""
        return [run for run in self.runs.values() if run.state == State.COMPLETE]

    def mean_results(self) -> dict[str, float]:
        """Return the means over the complete runs of what all of them have."""
        runs = self.complete
        names = [name for name in runs[0].results if all(name in run.results for run in runs)] if runs else []
        return {name: math.fsum(run.results[name] for run in runs) / len(runs) for name in names}


class Histories(dict[str, ConfigurationHistory]):
    """An experiment's configurations by config_id, in the order of their first trials."""

    def __init__(self, experiment: str, folder: Folder | None = None) -> None:
        super().__init__()
        self.experiment = experiment
        self._folder = folder
        self._sweep: SweepConfig | None = None
        self._trials: dict[str, list[RunHistory]] = {}

    @classmethod
    def read(cls, folder: Folder) -> "Histories":
        """Return what ledger and tables of an experiment say; InputError where they are damaged."""
        histories = cls(folder.name, folder)
        ended: dict[str, tuple[str, str | None]] = {}
        for event in read_events(folder):
            if event["event"] == "suggested":
                histories.begin(TrialRecord.from_suggestion(event))
            elif event["event"] == "report":
                histories.report(event)
                ended.pop(event["trial_id"], None)  # it had crashed and is run again
            elif event["event"] == "end":
                ended[event["trial_id"]] = event["state"], event["error"]
        run_rows = {str(row["run_id"]): row for row in _read(folder, "runs")}
        tested: dict[str, list[Row]] = {}
        for row in _read(folder, "evaluations"):
            tested.setdefault(str(row["run_id"]), []).append(row)
        for trial_id, (_, error) in ended.items():
            ids = [run.run_id for run in histories._trials[trial_id]]
            failed = {"state": State.FAILED, "error": error}
            runs = [run_rows.get(run_id, {"run_id": run_id, **failed}) for run_id in ids]
            histories.end(trial_id, runs, [row for run_id in ids for row in tested.get(run_id, ())])
        if not is_running(folder):
            histories.pause()
        return histories

    def begin(self, record: TrialRecord) -> str:
        """Take a trial that is run, or run again, and return its config_id."""
        if record.trial_id not in self._trials:
            self._trials[record.trial_id] = self._add(record)
        for run in self._trials[record.trial_id]:
            run.state, run.error, run.results = State.RUNNING, None, {}
        return record.config_id

    def report(self, event: Reported) -> None:
        """Take a report as the ledger has it; what a run had reported before counts as it was then."""
        steps = event.get("num_steps")
        lists = {
            "validation_accuracy": event.get("validation_accuracies"),
            "selection_accuracy": event.get("selection_accuracies"),
            "train_loss": event.get("train_losses"),
        }
        for index, run in enumerate(self._trials[event["trial_id"]]):
            has_ended = steps is not None and steps[index] != event["step"]  # before the pack
            if has_ended or event["step"] <= run.num_steps:
                continue
            reported = {name: values[index] for name, values in lists.items() if values}
            metrics = {name: value for name, value in reported.items() if value is not None}
            run.points[event["step"]] = Point(event["step"], event["time"], metrics)

    def end(self, trial_id: str, runs: Iterable[Row], evaluations: Iterable[Row]) -> None:
        """Take a trial's rows of both tables."""
        own = {run.run_id: run for run in self._trials[trial_id]}
        tested: dict[str, dict[str, float]] = {}
        for row in evaluations:
            total, num_examples = _number(row, "score_sum"), _number(row, "num_examples")
            metric = TASKS[own[str(row["run_id"])].task].metrics[0]
            if row["split"] == "test" and row["metric"] == metric and total is not None and num_examples:
                tested.setdefault(str(row["run_id"]), {})[str(row["language"])] = total / num_examples
        for row in runs:
            run, error = own[str(row["run_id"])], row.get("error")
            run.state, run.error = State(str(row["state"])), None if error is None else str(error)
            run.results = {name: value for name in SUMMARY if (value := _number(row, name)) is not None}
            if (best := _number(row, "validation_accuracy")) is not None:
                run.results["best_validation_accuracy"] = best
            run.results |= self._by_language(run, tested.get(run.run_id, {}))

    def _by_language(self, run: RunHistory, accuracies: Mapping[str, float]) -> dict[str, float]:
        """Return a run's test accuracies by row of the tables, each the mean of its languages, and by language."""
        if self._sweep is None and self._folder is not None and self._folder.read(FILE) is not None:
            self._sweep = read_experiment(self._folder).sweep
        sweep, source_set = self._sweep, str(run.params["source_set"])
        asked = (source_set,) if sweep is None else sweep.used_source_sets
        own = {} if sweep is None else sweep.groups
        names = {name_source_set(name, own): name for name in asked}
        facts = find_facts(str(run.params["backbone"]), run.task)
        rows = find_rows(str(run.params["dataset"]), names, list(accuracies), {}, own, facts=facts)
        groups = rows.groups(name_source_set(source_set, own), sorted(accuracies))
        means = {name: math.fsum(accuracies[code] for code in codes) / len(codes) for name, codes in groups.items()}
        return {
            **{f"test_accuracy/{name}": mean for name, mean in means.items()},
            **{f"test_accuracy_by_language/{code}": accuracy for code, accuracy in sorted(accuracies.items())},
        }

    def pause(self) -> set[str]:
        """Take note that no driver is at work any more, and return the configurations that have not ended."""
        paused = set()
        for config_id, configuration in self.items():
            for run in configuration.runs.values():
                if not run.has_ended:
                    run.state = State.UNFINISHED
                    paused.add(config_id)
        return paused

    def _add(self, record: TrialRecord) -> list[RunHistory]:
        """Make the histories of a trial's runs, below their configuration."""
        config = record.run_config
        named = {"experiment": self.experiment, "config_id": config.config_id, "method": config.method}
        own = {**config.without("seed"), **named, "arm": record.arm}
        params = {name: value for name, value in own.items() if value is not None}
        label = "".join(
            letter if letter.isalnum() or letter in "._-" else "_" for letter in record.arm or config.method
        )
        name = f"{record.number + 1:03}-{label[:60]}-{config.config_id[:6]}"
        configuration = self.setdefault(config.config_id, ConfigurationHistory(config.config_id, name, params))
        runs = []
        for key in record.runs:
            run_id = key.run_id(config)
            own = {"seed": key.seed, "run_id": run_id, **({"adapted_to": key.adapted_to} if key.adapted_to else {})}
            run = RunHistory(run_id, key.seed, {**configuration.params, **own})
            runs.append(configuration.runs.setdefault(run_id, run))
        return runs


def _read(folder: Folder, table: str) -> list[Row]:
    rows = read_rows(folder, table)
    return [] if rows is None else rows.to_pylist()


def _number(row: Row, name: str) -> float | None:
    value = row.get(name)
    return value if isinstance(value, int | float) else None
