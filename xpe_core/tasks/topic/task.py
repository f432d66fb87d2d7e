"""Topic classification as a task: one label a text, scored by accuracy."""

import csv
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, ClassVar

from xpe_core.answers import AnswerKind
from xpe_core.tasks.classes import check_classes, pair_classes
from xpe_core.tasks.low_performing import LowPerforming
from xpe_core.tasks.metrics import Predictions, References
from xpe_core.tasks.task import Figure, Published
from xpe_core.tasks.texts import TEXT, TextField

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from xpe_core.data.labelled_data import LabelledData
    from xpe_core.data.tokens import TokenisedData

MEANING = "below 60 % when all of XLM-R large is trained"


class TopicTask:
    """See `Task`."""

    title: ClassVar[str] = "topic classification"
    texts: ClassVar[tuple[TextField, ...]] = (TEXT,)
    asks: ClassVar[AnswerKind] = "class"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1")
    data_sets: ClassVar[Mapping[str, str]] = {
        "sib200": "SIB-200 holds sentences out of news, travel guides and children's books, each with one of seven "
        "topics",
        "cldr": "the data are names out of Unicode's CLDR (of countries, currencies, cities, ...), not sentences",
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
        """Return the languages below 60 % where all of XLM-R large is trained on SIB-200 (arXiv:2508.10352)."""
        return _read_low_performing()

    def published(self) -> Published | None:
        """Return the zero-shot figures of XLM-R large on SIB-200, means over ten seeds (arXiv:2508.10352, table 1)."""
        return _read_published()


@cache
def _read_low_performing() -> LowPerforming:
    rows = _read_rows("facts.csv")
    return LowPerforming(MEANING, frozenset(row["language"] for row in rows if row["fact"] == "low_performing"))


@cache
def _read_published() -> Published:
    return Published(
        metric="accuracy",
        backbone="XLM-R large",
        backbones=("xlm-roberta-large", "xlm-r-large", "xlmr-large"),
        dataset="SIB-200",
        datasets=("sib200", "sib-200"),
        figures=tuple(map(_read_figure, _read_rows("published.csv"))),
    )


def _read_figure(row: dict[str, str]) -> Figure:
    score = round(float(row["accuracy_percent"]) / 100, 6)
    return Figure(row["source_set"], row["method"], row["target_group"], score, int(row["num_seeds"]))


def _read_rows(name: str) -> list[dict[str, str]]:
    text = files("xpe_core.tasks.topic").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
