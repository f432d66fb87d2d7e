"""Is anything learnt at all: the score beside that of always answering a language's most frequent class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweep.analysis.results import Cell, Results, means_of_complete
from sweep.analysis.statistics import Array
from sweep.records.ranking import SAME_DIGITS

STANDARD_ERRORS = 2.0
"""How far a score must be above, so that it is not by chance."""


@dataclass(frozen=True)
class Chance:
    """An arm on a source set, or a search's choice, beside the most frequent class of each language."""

    experiment: str
    arm: str
    source_set: str
    is_search: bool
    score: float
    """Mean over seeds of the mean over the tested languages."""
    most_frequent: float
    is_above: bool


def beside_most_frequent(results: Results) -> list[Chance]:
    """Return every shown cell whose languages' most frequent classes are known, in the order of the table."""
    found = []
    indices = [index for index, code in enumerate(results.languages) if code in results.most_frequent]
    for cell in results.shown:
        values = _complete(cell, indices)
        if not len(values):
            continue
        known = [results.most_frequent[results.languages[index]] for index in indices]
        shares = [share for share, _ in known]
        is_above = is_above_most_frequent(values, shares, [size for _, size in known])
        means = float(values.mean()), float(np.mean(shares))
        found.append(
            Chance(cell.experiment, cell.arm, cell.source_set, results.is_searched(cell), *means, is_above=is_above)
        )
    return found


def is_above_most_frequent(scores: Sequence[float] | Array, shares: Sequence[float], sizes: Sequence[int]) -> bool:
    """Whether the mean of `scores`, one a seed, is above the mean of `shares`, one a language, and not by chance.

    The standard error is that of the languages' `sizes` test examples and of the seeds, if there are several.
    """
    values = np.asarray(scores, float)
    mean, level = float(values.mean()), float(np.mean(shares))
    of_examples = sum(share * (1 - share) / size for share, size in zip(shares, sizes, strict=True)) / len(shares) ** 2
    of_seeds = float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0
    return round(mean - level - STANDARD_ERRORS * float(np.sqrt(of_examples + of_seeds)), SAME_DIGITS) > 0


def _complete(cell: Cell, indices: Sequence[int]) -> Array:
    """Return the means over languages of the seeds that were tested on all of them."""
    if not indices or cell.disputed:
        return np.empty(0)
    return means_of_complete(cell.scores[:, list(indices)])
