"""What tasks whose answer is one of several classes have in common."""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xpe_core.errors import InputError
from xpe_core.tasks.metrics import Predictions, References

if TYPE_CHECKING:
    from xpe_core.data.labelled_data import LabelledData


def check_classes(data: "LabelledData", train: Collection[str], validation: Iterable[str], test: Iterable[str]) -> None:
    """Raise InputError where a language lacks a split it needs, or is scored on labels training never saw."""
    seen: set[str] = set().union(*(data.labels_of(language, "train") for language in train))
    for split, languages in (("train", train), ("validation", validation), ("test", test)):
        for language in languages:
            labels = data.labels_of(language, split)
            if not labels:
                raise InputError(f"dataset {data.name}: language {language!r} has no {split} split")
            if labels - seen:
                raise InputError(
                    f"dataset {data.name}: label {min(labels - seen)!r} of {language} ({split}) stands in no train "
                    f"split of the source languages {', '.join(train)}; they have {', '.join(sorted(seen))}"
                )


def pair_classes(
    data: "LabelledData", rows: NDArray[np.int64], predictions: NDArray[np.generic]
) -> tuple[Predictions, References]:
    """Return the ids of the classes that were answered and of those that would be right, a row each."""
    return predictions, data.labels[rows]
