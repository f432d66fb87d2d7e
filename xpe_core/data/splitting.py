"""Splits that are drawn, the same on every machine and for every order of the rows.

A text is in one split only, and so are all rows with one id (translations of a sentence): what is tested on was not
trained on.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from xpe_core.data.examples import SPLITS, Example
from xpe_core.errors import InputError


def draw_splits(examples: Sequence[Example], shares: str, has_ids: bool, where: str) -> list[Example]:
    """Return the examples with their splits drawn by `80/10/10`, near these shares in every language and class."""
    percents = dict(zip(SPLITS, map(int, shares.split("/")), strict=True))
    if sum(percents.values()) != 100 or not percents["train"]:
        raise InputError(f"{where}: split={shares} must be three percentages of train, validation and test, 100 in all")
    wanted = {split: percent for split, percent in percents.items() if percent}
    groups = _group(examples, has_ids)
    counts: Mapping[tuple[str, str], Counter[str]] = defaultdict(Counter)
    split_of: dict[int, str] = {}
    for key in sorted(groups, key=lambda key: hashlib.sha256(key.encode()).digest()):
        rows = groups[key]
        first = min((examples[row].language, examples[row].label) for row in rows)
        split = min(wanted, key=lambda split: (counts[first][split] + 0.5) / wanted[split])  # Sainte-Laguë's quotients
        for row in rows:
            split_of[row] = split
            counts[examples[row].language, examples[row].label][split] += 1
    return [example._replace(split=split_of[row]) for row, example in enumerate(examples)]


def number_groups(examples: Sequence[Example]) -> np.ndarray:
    """Return a number for each example [N], the same of those that have a text, a premise or a passage in common."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(_name_group(example), len(numbers)) for example in examples], dtype=np.int64)


def _group(examples: Sequence[Example], has_ids: bool) -> dict[str, list[int]]:
    """Return the rows of the examples that must be in one split, by a key that their order does not change."""
    parents: dict[str, str] = {}

    def find(key: str) -> str:
        while parents.setdefault(key, key) != key:
            parents[key] = parents[parents[key]]
            key = parents[key]
        return key

    for example in examples:
        text = find(_name_group(example))
        if has_ids:
            identity = find(f"id {example.example_id}")
            parents[max(text, identity)] = min(text, identity)
    groups: dict[str, list[int]] = defaultdict(list)
    for row, example in enumerate(examples):
        groups[find(_name_group(example))].append(row)
    return groups


def _name_group(example: Example) -> str:
    """Return what examples that must be in one split have in common."""
    return f"text {' '.join((example.group or example.text).casefold().split())}"
