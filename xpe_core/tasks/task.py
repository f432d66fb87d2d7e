"""What a task is: what is asked of a text, how an answer is scored, and what is known of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from xpe_core.tasks.low_performing import LowPerforming


@dataclass(frozen=True)
class Figure:
    """A published mean over the languages of a target group."""

    source_set: str
    method: str
    """As `Words.published` says it."""
    group: str
    score: float
    """In [0, 1]."""
    num_seeds: int


@dataclass(frozen=True)
class Published:
    """A published table, and what a run must be to stand beside it."""

    metric: str
    backbone: str
    """As a sentence says it."""
    backbones: Sequence[str]
    """Names that it goes by, in lower case, without their owner or folder."""
    dataset: str
    """As a sentence says it."""
    datasets: Sequence[str]
    """Names that it goes by, likewise."""
    figures: Sequence[Figure]


class Task(Protocol):
    """What is known of a task; stateless, one object a task."""

    title: ClassVar[str]
    """What people call it."""
    metrics: ClassVar[tuple[str, ...]]
    """Names in `METRICS` that every run is scored by; the first one selects."""

    def low_performing(self) -> LowPerforming | None:
        """Return the languages that the task is hard in; None where they are not known: the group is then absent."""

    def published(self) -> Published | None:
        """Return the figures that tables set beside comparable runs; None where there are none."""
