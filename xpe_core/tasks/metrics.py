"""How predictions are scored: a number in [0, 1] an example, higher is better.

What is kept of a language is the sum of its examples' scores and their number, so that groups of languages can be
averaged in any way later. M examples of one language.
"""

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


METRICS: dict[str, Metric] = {"accuracy": Accuracy(), "macro_f1": MacroF1()}


def title_of(metric: str) -> str:
    """Return what people call a metric, its name where another version knows it."""
    return METRICS[metric].title if metric in METRICS else metric
