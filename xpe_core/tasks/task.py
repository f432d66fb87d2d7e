"""What a task is: what is asked of a text, how an answer is scored, and what is known of it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from xpe_core.answers import AnswerKind
from xpe_core.tasks.low_performing import LowPerforming
from xpe_core.tasks.metrics import Predictions, References
from xpe_core.tasks.texts import TextField

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from xpe_core.data.labelled_data import LabelledData
    from xpe_core.data.tokens import TokenisedData


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
    texts: ClassVar[tuple[TextField, ...]]
    """The texts of an example in the order in which a tokenizer takes them: one, or a pair."""
    asks: ClassVar[AnswerKind]
    """What an answer is: a readout must give the same."""
    metrics: ClassVar[tuple[str, ...]]
    """Names in `METRICS` that every run is scored by; the first one selects."""

    data_sets: ClassVar[Mapping[str, str]]
    """What the texts of public data sets are, by name: lower case, no owner, no hyphens."""

    def check(
        self, data: "LabelledData", train: Collection[str], validation: Iterable[str], test: Iterable[str]
    ) -> None:
        """Raise InputError where languages cannot be trained on, validated on or tested on with these data."""

    def pair_up(
        self, data: "TokenisedData", rows: "NDArray[np.int64]", predictions: "NDArray[np.generic]"
    ) -> tuple[Predictions, References]:
        """Return what was answered and what would be right, as metrics take it, of the examples in some rows.

        `predictions` [M, ...] are the readout's, of rows [M] of one language, which are all rows of their examples.
        """

    def low_performing(self) -> LowPerforming | None:
        """Return the languages that the task is hard in; None where they are not known: the group is then absent."""

    def published(self) -> Published | None:
        """Return the figures that tables set beside comparable runs; None where there are none."""
