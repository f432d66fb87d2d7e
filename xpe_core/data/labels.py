"""Labels as people write them: one class for one label, and what was unified is said."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from xpe_core.data.opening import read_lines

INVISIBLE = "\u200b\u2060\ufeff"
INTEGER = re.compile(r"-?\d+")
WHOLE = re.compile(r"(-?\d+)\.0+")


class Labels:
    """The labels of a data set, met one after another."""

    def __init__(self) -> None:
        self._spellings: dict[str, str] = {}

    def unify(self, label: str) -> str:
        """Return a label in one spelling: blanks trimmed and collapsed, Unicode in its composed form (NFC)."""
        known = self._spellings.get(label)
        if known is None:
            known = self._spellings[label] = clean(label)
        return known

    def numbers(self) -> dict[str, str]:
        """Return labels such as 1.0 with their spelling as whole numbers, where some label is spelt so."""
        found = set(self._spellings.values())
        if not any(INTEGER.fullmatch(label) for label in found):
            return {}
        return {label: matched[1] for label in found if (matched := WHOLE.fullmatch(label))}

    @property
    def changed(self) -> bool:
        """Whether some label is another than its text without the blanks around it."""
        return bool(self.numbers()) or any(label.strip() != known for label, known in self._spellings.items() if known)

    def notes(self) -> list[str]:
        """Return what was unified, and which labels are nearly the same."""
        numbers = self.numbers()
        spellings: dict[str, set[str]] = defaultdict(set)
        for label, known in self._spellings.items():
            if known:
                spellings[numbers.get(known, known)].add(label)
        unified = [_equate(written) for written in spellings.values() if len(written) > 1]
        notes = [f"one label in several spellings: {_list(sorted(unified))}"] if unified else []
        return notes + [
            f"labels that differ in case only are different ones: {_list(same)}" for same in find_near(spellings)
        ]


def clean(label: str) -> str:
    """Return a label without blanks around it and with single ones in it, in NFC."""
    return unicodedata.normalize("NFC", " ".join(label.split()).strip(INVISIBLE).strip())


def read_label_lists(lists: Iterable[tuple[str, Path]]) -> dict[str, tuple[str, ...]]:
    """Return the labels that each labels.txt lists, by language."""
    return {
        language: tuple(dict.fromkeys(label for line in read_lines(path) if (label := clean(line))))
        for language, path in lists
    }


def merge_labels(lists: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return all listed labels in one order: the first list's, then what others add."""
    return tuple(dict.fromkeys(label for listed in lists.values() for label in listed))


def find_near(names: Iterable[str]) -> list[list[str]]:
    """Return the names that are one without regard to case, and to how wide letters are."""
    folded: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        folded[unicodedata.normalize("NFKC", name).casefold()].append(name)
    return [same for same in folded.values() if len(same) > 1]


def _equate(written: Iterable[str]) -> str:
    """Return spellings of one label as an equation; those that look alike once."""
    shown = sorted({repr(unicodedata.normalize("NFC", label)) for label in written})
    return " = ".join(shown) if len(shown) > 1 else f"{shown[0]} (in several Unicode forms)"


def _list(names: list[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
