"""What an experiment's ledger says: its trials, how far each came, and what they cost."""

from dataclasses import dataclass, field
from functools import cached_property

from sweep.records.events import Ended, Event, Failed, Reported, RunEntry, Suggested, parse_event
from sweep.records.runs import RunKey
from sweep.records.stages import Stage
from sweep.records.states import State
from sweep.storage import Folder, Location
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.fields import FieldValues

LEDGER = "ledger.jsonl"


@dataclass
class TrialRecord:
    """What the ledger says of one trial."""

    trial_id: str
    number: int
    baseline: bool
    """SPT or XPE beside a search, or runs added to a finished configuration: never stopped early."""
    params: FieldValues
    """What was drawn for it, by the names of the space's dimensions."""
    config: FieldValues
    runs: tuple[RunKey, ...]
    arm: str | None = None
    state: State | None = None
    """None before its end."""
    error: str | None = None
    num_errors: int = 0
    """How often its code or data failed."""
    reports: dict[int, float] = field(default_factory=dict)
    """Selection accuracy by step."""
    stage: Stage | None = None
    """What it is for, in an experiment of several stages."""
    seconds: float = field(default=0.0, compare=False)
    """That its workers have taken so far, also for what they did twice."""

    @property
    def run_config(self) -> RunConfig:
        """The trial's configuration, with the seed of its first run."""
        return RunConfig(**self.config)

    @cached_property
    def config_id(self) -> str:
        """The id of its configuration."""
        return self.run_config.config_id

    @cached_property
    def run_ids(self) -> list[str]:
        """The ids of its runs, in their order."""
        config = self.run_config
        of_seed = {seed: config.with_seed(seed) for seed in {run.seed for run in self.runs}}
        return [run.run_id(of_seed[run.seed]) for run in self.runs]

    @property
    def value(self) -> float | None:
        """The last reported selection accuracy."""
        return self.reports[max(self.reports)] if self.reports else None

    def suggestion(self) -> Suggested:
        """Return the event with which the ledger begins the trial."""
        suggested: Suggested = {
            "event": "suggested",
            "trial_id": self.trial_id,
            "number": self.number,
            "baseline": self.baseline,
            "params": dict(self.params),
            "config": dict(self.config),
            "arm": self.arm,
            "runs": [run.to_entry() for run in self.runs],
        }
        if self.stage:
            suggested["stage"] = self.stage
        return suggested

    def take(self, event: Reported | Failed | Ended) -> None:
        """Take note of a later event of the trial."""
        if event["event"] == "report":
            self.reports[event["step"]] = event["selection_accuracy"]
            self.seconds = event.get("seconds", self.seconds)
        elif event["event"] == "failure":
            self.num_errors = event["num_errors"]
        else:
            self.state, self.error = event["state"], event.get("error")

    @classmethod
    def from_suggestion(cls, event: Suggested) -> "TrialRecord":
        """Read the event with which the ledger begins a trial; older ledgers name the seeds of its runs."""
        entries: list[RunEntry] = event["runs"] if "runs" in event else [{"seed": seed} for seed in event["seeds"]]
        return cls(
            trial_id=event["trial_id"],
            number=event["number"],
            baseline=event["baseline"],
            params=event["params"],
            config=event["config"],
            runs=tuple(map(RunKey.from_entry, entries)),
            arm=event.get("arm"),
            stage=Stage(stage) if (stage := event.get("stage")) else None,
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
            events.append(parse_event(line))
        except ValueError:
            raise InputError(f"{place}: line {number} of {LEDGER} is damaged; restore the file from a copy") from None
    return events


def read_ledger(place: Location) -> dict[str, TrialRecord]:
    """Return the trials that an experiment's ledger knows, by trial_id, in the order of their numbers."""
    records: dict[str, TrialRecord] = {}
    for event in read_events(place):
        if event["event"] == "suggested":
            records[event["trial_id"]] = TrialRecord.from_suggestion(event)
        elif event["event"] == "report" or event["event"] == "failure" or event["event"] == "end":
            record = records.get(event["trial_id"])
            if record is None:
                lost = f"{LEDGER} knows no beginning of trial {event['trial_id']}"
                raise InputError(f"{place}: {lost}; restore the file from a copy")
            record.take(event)
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
        if event["event"] == "report" or event["event"] == "stop":
            gpu_seconds += event.get("gpu_seconds", 0.0)
    return Usage((seconds + last - started) / 3600, gpu_seconds / 3600)
