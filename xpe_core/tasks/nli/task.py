"""Natural language inference as a task: what a premise says of a hypothesis, scored by accuracy."""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

from xpe_core.answers import AnswerKind
from xpe_core.tasks.classes import check_classes, pair_classes
from xpe_core.tasks.low_performing import LowPerforming
from xpe_core.tasks.metrics import Predictions, References
from xpe_core.tasks.task import Published
from xpe_core.tasks.texts import TextField

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from xpe_core.data.labelled_data import LabelledData
    from xpe_core.data.tokens import TokenisedData


class NliTask:
    """See `Task`."""

    title: ClassVar[str] = "natural language inference"
    texts: ClassVar[tuple[TextField, ...]] = (
        TextField("premise", ("sentence1", "sentence_1", "text1", "text_1", "text_a")),
        TextField("hypothesis", ("sentence2", "sentence_2", "text2", "text_2", "text_b")),
    )
    asks: ClassVar[AnswerKind] = "class"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1")
    data_sets: ClassVar[Mapping[str, str]] = {
        "xnli": "XNLI holds English sentences out of ten genres, each with hypotheses that people wrote for it, and "
        "their translations",
        "americas_nli": "AmericasNLI holds sentences out of XNLI, translated into languages of the Americas",
    }

    def check(
        self, data: "LabelledData", train: Collection[str], validation: Iterable[str], test: Iterable[str]
    ) -> None:
        """Raise InputError where a language lacks a split it needs, or is scored on labels training never saw."""
        check_classes(data, train, validation, test)

    def pair_up(
        self, data: "TokenisedData", rows: "NDArray[np.int64]", predictions: "NDArray[np.generic]"
    ) -> tuple[Predictions, References]:
        """Return the ids of classes, a row each."""
        return pair_classes(data, rows, predictions)

    def low_performing(self) -> LowPerforming | None:
        """Return None: which languages are hard is not known."""
        return None

    def published(self) -> Published | None:
        """Return None: no table of the method is published."""
        return None
