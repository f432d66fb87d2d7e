"""The lines of an experiment's ledger, each a JSON object whose `event` says what it is.

What another version writes under a name that is not known here counts as an `other` event, of which only the time is
read.
"""

import json
from typing import Annotated, Literal, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict  # pydantic reads that of typing from Python 3.12 on

from sweep.records.states import State
from xpe_core.fields import FieldValue


class RunEntry(TypedDict):
    """A run of a trial."""

    seed: int
    adapted_to: NotRequired[str]
    parent_run_id: NotRequired[str]


class _Timed(TypedDict):
    time: NotRequired[float]
    """When it was written, in seconds since 1970; an event that is not written yet has none."""


class Started(_Timed):
    """A driver went to work on the experiment."""

    event: Literal["start"]


class Suggested(_Timed):
    """A trial was proposed."""

    event: Literal["suggested"]
    trial_id: str
    number: int
    baseline: bool
    params: dict[str, FieldValue]
    config: dict[str, FieldValue]
    arm: NotRequired[str | None]
    runs: NotRequired[list[RunEntry]]
    seeds: NotRequired[list[int]]
    """Of its runs, in an older ledger, which has no `runs`."""
    stage: NotRequired[str | None]
    """What it is for, in an experiment of several stages."""


class Reported(_Timed):
    """A trial's worker reported; lists are in the order of its runs, and a mean loss that does not exist is null."""

    event: Literal["report"]
    trial_id: str
    step: int
    selection_accuracy: float
    """Mean over the trial's runs, in [0, 1]."""
    num_steps: NotRequired[list[int | None]]
    validation_accuracies: NotRequired[list[float | None]]
    selection_accuracies: NotRequired[list[float | None]]
    train_losses: NotRequired[list[float | None]]
    gpu_seconds: NotRequired[float]
    """Of GPUs that trials had to themselves since this was last written."""
    seconds: NotRequired[float]
    """That the trial has taken so far."""


class Failed(_Timed):
    """A trial's code or data failed, and it is tried again."""

    event: Literal["failure"]
    trial_id: str
    num_errors: int
    error: NotRequired[str]


class Lost(_Timed):
    """A trial lost its worker, and goes on from its last checkpoint."""

    event: Literal["lost"]
    trial_id: str
    node: NotRequired[bool]
    """Whether the node was lost with it; older ledgers do not say it."""
    error: str


class Ended(_Timed):
    """A trial ended."""

    event: Literal["end"]
    trial_id: str
    state: State
    error: NotRequired[str | None]


class Stopped(_Timed):
    """The driver stopped after its last trial's last report."""

    event: Literal["stop"]
    gpu_seconds: float


class Other(_Timed):
    """What another version wrote."""

    event: Literal["other"]


Event = Started | Suggested | Reported | Failed | Lost | Ended | Stopped | Other
"""A line of the ledger."""
NAMES = ("start", "suggested", "report", "failure", "lost", "end", "stop")
"""What `event` may be."""
READER: TypeAdapter[Event] = TypeAdapter(
    Annotated[Event, Field(discriminator="event")], config=ConfigDict(extra="ignore")
)


def trial_of(event: Event) -> str | None:
    """Return the id of the trial that an event is of; None where it is of the whole experiment."""
    if event["event"] == "start" or event["event"] == "stop" or event["event"] == "other":
        return None
    return event["trial_id"]


def parse_event(line: bytes) -> Event:
    """Return an event; ValueError where a line is none."""
    values = json.loads(line)
    if not isinstance(values, dict) or "time" not in values or not isinstance(values.get("event"), str):
        raise ValueError("no event")
    known = values if values["event"] in NAMES else {**values, "event": "other"}
    return READER.validate_python(known)


def write_event(event: Event, seconds: float) -> bytes:
    """Return an event as a line, written at a time in seconds since 1970."""
    return json.dumps({**event, "time": round(seconds, 3)}).encode() + b"\n"
