"""What an experiment's ledger says: its trials, how far each came, and what they cost."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sweep.records.runs import RunKey
from sweep.records.states import State
from sweep.storage import Folder, Location
from xpe_core.config import RunConfig
from xpe_core.errors import InputError

LEDGER = "ledger.jsonl"

Event = Mapping[str, Any]
"""A line of the ledger; `event` says what it is, and `time` when it was written, in seconds since 1970."""


@dataclass
class TrialRecord:
    """What the ledger says of one trial."""

    trial_id: str
    number: int
    baseline: bool
    """SPT or XPE beside a search, or runs added to a finished configuration: never stopped early."""
    params: dict[str, Any]
    """What was drawn for it, by the names of the space's dimensions."""
    config: dict[str, Any]
    runs: tuple[RunKey, ...]
    arm: str | None = None
    state: State | None = None
    """None before its end."""
    error: str | None = None
    num_errors: int = 0
    """How often its code or data failed."""
    reports: dict[int, float] = field(default_factory=dict)
    """Selection accuracy by step."""

    @property
    def run_config(self) -> RunConfig:
        """The trial's configuration, with the seed of its first run."""
        return RunConfig(**self.config)

    @cached_property
    def config_id(self) -> str:
        """The id of its configuration."""
        return self.run_config.config_id

    @property
    def run_ids(self) -> list[str]:
        """The ids of its runs, in their order."""
        config = self.run_config
        return [run.run_id(config) for run in self.runs]

    @property
    def value(self) -> float | None:
        """The last reported selection accuracy."""
        return self.reports[max(self.reports)] if self.reports else None

    def suggestion(self) -> Event:
        """Return the event with which the ledger begins the trial."""
        names = ("trial_id", "number", "baseline", "params", "config", "arm")
        runs = [run.to_entry() for run in self.runs]
        return {"event": "suggested", **{name: getattr(self, name) for name in names}, "runs": runs}

    @classmethod
    def from_suggestion(cls, event: Event) -> "TrialRecord":
        """Read the event with which the ledger begins a trial; older ledgers name the seeds of its runs."""
        entries = event["runs"] if "runs" in event else [{"seed": seed} for seed in event["seeds"]]
        return cls(
            trial_id=event["trial_id"],
            number=event["number"],
            baseline=event["baseline"],
            params=event["params"],
            config=event["config"],
            runs=tuple(map(RunKey.from_entry, entries)),
            arm=event.get("arm"),
        )


@dataclass(frozen=True)
class Usage:
    """What an experiment has used so far, over all starts."""

    hours: float
    """With a driver at work."""
    gpu_hours: float
    """Of GPUs that trials had to themselves (CPUs count as none)."""


def read_events(place: Location) -> list[Event]:
    """Return the ledger's events, without a last line that a killed driver left half written.

    Raises InputError where a line before it cannot be read.
    """
    events: list[Event] = []
    for number, line in enumerate(Folder(place).read_appended(LEDGER).split(b"\n")[:-1], start=1):
        try:
            event = json.loads(line)
            if not isinstance(event, dict) or not {"event", "time"} <= event.keys():
                raise ValueError("no event")
            events.append(event)
        except ValueError:
            raise InputError(f"{place}: line {number} of {LEDGER} is damaged; restore the file from a copy") from None
    return events


def read_ledger(place: Location) -> dict[str, TrialRecord]:
    """Return the trials that an experiment's ledger knows, by trial_id, in the order of their numbers."""
    records: dict[str, TrialRecord] = {}
    for event in read_events(place):
        kind, trial_id = event["event"], event.get("trial_id", "")
        if kind in ("report", "failure", "end") and trial_id not in records:
            raise InputError(f"{place}: {LEDGER} knows no beginning of trial {trial_id}; restore the file from a copy")
        if kind == "suggested":
            records[trial_id] = TrialRecord.from_suggestion(event)
        elif kind == "report":
            records[trial_id].reports[event["step"]] = event["selection_accuracy"]
        elif kind == "failure":
            records[trial_id].num_errors = event["num_errors"]
        elif kind == "end":
            records[trial_id].state, records[trial_id].error = State(event["state"]), event["error"]
    for record in records.values():
        if record.state == State.CRASHED:
            record.state, record.error, record.num_errors = None, None, 0
    return records


def read_usage(place: Location) -> Usage:
    """Return the hours and GPU-hours that an experiment has used."""
    seconds = gpu_seconds = started = last = 0.0
    for event in read_events(place):
        if event["event"] == "start" or not last:
            seconds, started = seconds + last - started, event["time"]
        last = event["time"]
        gpu_seconds += event.get("gpu_seconds", 0.0)
    return Usage((seconds + last - started) / 3600, gpu_seconds / 3600)
