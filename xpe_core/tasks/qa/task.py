"""Extractive question answering as a task: spans of a passage, scored by the words they share with right answers."""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

from xpe_core.answers import AnswerKind
from xpe_core.errors import InputError
from xpe_core.tasks.low_performing import LowPerforming
from xpe_core.tasks.metrics import Predictions, References
from xpe_core.tasks.task import Published
from xpe_core.tasks.texts import TextField

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from xpe_core.data.labelled_data import LabelledData
    from xpe_core.data.tokens import TokenisedData


class QaTask:
    """See `Task`."""

    title: ClassVar[str] = "extractive question answering"
    texts: ClassVar[tuple[TextField, ...]] = (TextField("question"), TextField("context", ("passage", "paragraph")))
    asks: ClassVar[AnswerKind] = "span"
    metrics: ClassVar[tuple[str, ...]] = ("f1", "exact_match")
    data_sets: ClassVar[Mapping[str, str]] = {
        "xquad": "XQuAD holds paragraphs of Wikipedia out of SQuAD's development set with questions, translated by "
        "professionals",
    }

    def check(
        self, data: "LabelledData", train: Collection[str], validation: Iterable[str], test: Iterable[str]
    ) -> None:
        """Raise InputError where a language lacks a split it needs."""
        for split, languages in (("train", train), ("validation", validation), ("test", test)):
            for language in languages:
                if split not in data.counts[language]:
                    raise InputError(f"dataset {data.name}: language {language!r} has no {split} split")

    def pair_up(
        self, data: "TokenisedData", rows: "NDArray[np.int64]", predictions: "NDArray[np.generic]"
    ) -> tuple[Predictions, References]:
        """Return the words of each example's best span over its windows, and those of the answers that are right."""
        from xpe_core.tasks.qa.spans import pair_spans

        return pair_spans(data, rows, predictions)

    def low_performing(self) -> LowPerforming | None:
        """Return None: which languages are hard is not known."""
        return None

    def published(self) -> Published | None:
        """Return None: no table of the method is published."""
        return None
