"""What data must have for a task whose answer is one of several classes."""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from xpe_core.errors import InputError

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
