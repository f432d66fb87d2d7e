"""Scores per language and metric.

Sums are what is kept; rates are derived from them, so that groups of languages can be averaged in any way later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class LanguageScore:
    """One run's result on one language."""

    language: str
    num_examples: int
    score_sums: Mapping[str, float]
    """By metric, that which selects first: the sum of the examples' scores in [0, 1]."""
    loss: float
    """Mean loss in nats."""
    chance_sums: Mapping[str, float] = field(default_factory=dict)
    """By metric: the sum that always giving the language's most frequent answer has; absent where it is not known."""

    def mean(self, metric: str) -> float:
        """Return the language's mean score, in [0, 1]."""
        return self.score_sums[metric] / self.num_examples

    @property
    def selecting(self) -> str:
        """The metric that selects: the task's first."""
        return next(iter(self.score_sums))

    @property
    def accuracy(self) -> float:
        """Share of correct examples, in [0, 1]."""
        return self.mean("accuracy")


def mean_score(scores: Sequence[LanguageScore], languages: Sequence[str] | None = None) -> float:
    """Return the mean over languages by the metric that selects: every language weighs the same, whatever its size."""
    wanted = None if languages is None else set(languages)
    rates = [score.mean(score.selecting) for score in scores if wanted is None or score.language in wanted]
    return sum(rates) / len(rates)


def read_score(facts: Mapping[str, Any]) -> LanguageScore:
    """Return a score out of the facts of a checkpoint, also of one that an older version wrote."""
    if "score_sums" in facts:
        return LanguageScore(**facts)
    size, most_frequent = facts["num_examples"], facts.get("num_most_frequent")
    return LanguageScore(
        language=facts["language"],
        num_examples=size,
        score_sums={"accuracy": float(facts["num_correct"]), "macro_f1": facts["macro_f1"] * size},
        loss=facts["loss"],
        chance_sums={} if most_frequent is None else {"accuracy": float(most_frequent)},
    )
