"""What to look at in a data set before training on it, in a sentence each."""

from collections.abc import Sequence

import polars as pl

from sweep.data_check.facts import DataFacts
from xpe_core.data.examples import SPLITS

NUM_NAMED = 3
"""Examples of a finding that are named; the others are counted."""
FEW_TEXTS = 10
"""Train texts of a class below which it is hardly learned."""


def find_findings(facts: DataFacts) -> list[str]:
    """Return what is unusual, the gravest first; empty where nothing is."""
    return [*_missing_splits(facts), *_classes(facts), *_duplicates(facts)]


def shorten(names: Sequence[str], limit: int = NUM_NAMED) -> str:
    """Return the first names with commas between them, and how many more there are."""
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def say_number(number: int, one: str, many: str | None = None) -> str:
    """Return `1 text`, `2 texts`."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def _missing_splits(facts: DataFacts) -> list[str]:
    uses = {
        "train": "nothing can be trained on these data",
        "validation": "no configuration can be chosen by its accuracy on them",
        "test": "nothing can be tested on them",
    }
    totals = {split: facts.by_language[split].sum() for split in SPLITS}
    return [f"No language has a {split} split: {uses[split]}." for split, total in totals.items() if not total]


def _classes(facts: DataFacts) -> list[str]:
    if not facts.dataset.label_names:
        return []
    found = []
    labels, num_languages = facts.by_label, facts.by_language.height
    if untrained := facts.untrained_labels:
        found.append(
            f"{say_number(len(untrained), 'class stands', 'classes stand')} in no train split, so that nothing can be "
            f"learned for {'it' if len(untrained) == 1 else 'them'}: {shorten(untrained)}."
        )
    if unused := sorted(set(facts.dataset.label_names) - set(labels["label"])):
        found.append(f"{say_number(len(unused), 'class has', 'classes have')} no text at all: {shorten(unused)}.")
    single = labels.filter(pl.col("num_languages") == 1)["label"].to_list() if num_languages > 1 else []
    if single:
        where = facts.frame.filter(pl.col("label").is_in(single)).unique("label", keep="first")
        places = dict(zip(where["label"], where["language"], strict=True))
        named = [f"{label} ({places[label]})" for label in single]
        found.append(
            f"{say_number(len(single), 'class stands', 'classes stand')} in one language only: {shorten(named)}."
        )
    rare = labels.filter(pl.col("train").is_between(1, FEW_TEXTS - 1))
    if rare.height:
        named = [f"{label} ({number})" for label, number in rare.select("label", "train").iter_rows()]
        found.append(
            f"{say_number(rare.height, 'class has', 'classes have')} fewer than {FEW_TEXTS} train texts in all "
            f"languages together: {shorten(named[::-1])}."
        )
    return found


def _duplicates(facts: DataFacts) -> list[str]:
    found = []
    for split in ("test", "validation"):
        leaks = facts.leaks.filter(pl.col("split") == split)
        if leaks.height:
            where = [f"{row['language']} {row['id']}" for row in leaks.head(NUM_NAMED + 1).iter_rows(named=True)]
            found.append(
                f"{say_number(leaks.height, f'{split} text stands', f'{split} texts stand')} in the train split of the "
                f"same language, too, so that the score is too good: {_name_ids(where, leaks.height)}."
            )
    repeated = facts.repeated
    if repeated.height:
        where = [
            f"{row['language']} {row['split']} {' and '.join(row['ids'][:NUM_NAMED])}"
            for row in repeated.head(NUM_NAMED + 1).iter_rows(named=True)
        ]
        found.append(
            f"{say_number(repeated.height, 'text stands', 'texts stand')} more than once in the same split of a "
            f"language: {_name_ids(where, repeated.height)}."
        )
    contradictions = facts.contradictions
    if contradictions.height:
        where = [
            f"{row['language']} {_quote(_join(row['text'], row['pair']))} ({' and '.join(row['labels'][:NUM_NAMED])})"
            for row in contradictions.head(NUM_NAMED + 1).iter_rows(named=True)
        ]
        found.append(
            f"{say_number(contradictions.height, 'text has', 'texts have')} several classes in one language: "
            f"{_name_ids(where, contradictions.height)}."
        )
    return found


def _name_ids(named: Sequence[str], number: int) -> str:
    more = f" and {number - NUM_NAMED:,} more" if number > NUM_NAMED else ""
    return "; ".join(named[:NUM_NAMED]) + more


def _join(text: str, pair: str | None) -> str:
    return text if pair is None else f"{text} | {pair}"


def _quote(text: str, limit: int = 40) -> str:
    return f"{text[:limit]!r}..." if len(text) > limit else repr(text)
