"""How predictions are scored: a number in [0, 1] an example, higher is better.

What is kept of a language is the sum of its examples' scores and their number, so that groups of languages can be
averaged in any way later. M examples of one language.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Predictions = NDArray[np.generic]
"""What was answered [M], such as ids of classes."""
References = NDArray[np.generic]
"""What would be right [M], likewise."""


class Metric(Protocol):
    """A way to score the predictions of one language."""

    title: str
    """What people call it."""

    def scores(self, predictions: Predictions, references: References) -> NDArray[np.float64]:
        """Return the examples' scores [M], in [0, 1]. A metric that is a rate of the whole language is each one's."""

    def chance_sum(self, references: References) -> float | None:
        """Return the sum of scores that always giving the most frequent answer has; None where nobody would do so."""


class Accuracy:
    """Whether the prediction is the reference."""

    title = "accuracy"

    def scores(self, predictions: Predictions, references: References) -> NDArray[np.float64]:
        """Return 1 of a correct example, 0 of another: the sum is the number of correct ones."""
        return (predictions == references).astype(np.float64)

    def chance_sum(self, references: References) -> float | None:
        """Return how many examples have the most frequent reference."""
        return float(np.unique(references, return_counts=True)[1].max())


class MacroF1:
    """The mean over classes of 2 TP / (2 TP + FP + FN): a rate of the whole language, not of its examples.

    Classes that stand neither in the references nor in the predictions do not count.
    """

    title = "macro F1"

    def scores(self, predictions: Predictions, references: References) -> NDArray[np.float64]:
        """Return the language's rate for each of its examples."""
        classes, ids = np.unique(np.concatenate([references, predictions]), return_inverse=True)
        expected, predicted = ids[: len(references)], ids[len(references) :]
        true_positives = np.bincount(expected[expected == predicted], minlength=len(classes))
        rates = 2 * true_positives / np.bincount(ids, minlength=len(classes))
        return np.full(len(references), rates.mean())

    def chance_sum(self, references: References) -> float | None:
        """Return None: the bar of what is better than guessing is one of accuracy."""
        return None


class ExactMatch:
    """Whether the answer's words are those of one of the references: predictions and references are tuples of words."""

    title = "exact match"

    def scores(self, predictions: Predictions, references: References) -> NDArray[np.float64]:
        """Return 1 of an example whose answer is one of its references, 0 of another."""
        pairs = zip(predictions, references, strict=True)
        return np.array([float(answer in right) for answer, right in pairs], dtype=np.float64)

    def chance_sum(self, references: References) -> float | None:
        """Return None: nobody answers all questions alike."""
        return None


class WordF1:
    """The harmonic mean of precision and recall of the answer's words, against the best of the references."""

    title = "F1"

    def scores(self, predictions: Predictions, references: References) -> NDArray[np.float64]:
        """Return each example's best F1; words count as often as they stand in both."""
        pairs = zip(predictions, references, strict=True)
        return np.array([max(_find_f1(answer, words) for words in right) for answer, right in pairs], dtype=np.float64)

    def chance_sum(self, references: References) -> float | None:
        """Return None: nobody answers all questions alike."""
        return None


def _find_f1(answer: Sequence[str], words: Sequence[str]) -> float:
    common = (Counter(answer) & Counter(words)).total()
    return 2 * common / (len(answer) + len(words)) if common else 0.0


METRICS: dict[str, Metric] = {
    **{"accuracy": Accuracy(), "macro_f1": MacroF1()},
    **{"f1": WordF1(), "exact_match": ExactMatch()},
}


def title_of(metric: str) -> str:
    """Return what people call a metric, its name where another version knows it."""
    return METRICS[metric].title if metric in METRICS else metric
