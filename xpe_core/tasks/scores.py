"""Scores per language and metric.

Sums are what is kept; rates are derived from them, so that groups of languages can be averaged in any way later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import TypeAdapter


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


@dataclass(frozen=True)
class _OlderScore:
    """A score as older versions kept it."""

    language: str
    num_examples: int
    num_correct: int
    macro_f1: float
    loss: float
    num_most_frequent: int | None = None

    def convert(self) -> LanguageScore:
        """Return it as scores are kept now."""
        return LanguageScore(
            language=self.language,
            num_examples=self.num_examples,
            score_sums={"accuracy": float(self.num_correct), "macro_f1": self.macro_f1 * self.num_examples},
            loss=self.loss,
            chance_sums={} if self.num_most_frequent is None else {"accuracy": float(self.num_most_frequent)},
        )


SCORE, OLDER_SCORE = TypeAdapter(LanguageScore), TypeAdapter(_OlderScore)


def read_score(facts: Mapping[str, object]) -> LanguageScore:
    """Return a score out of the facts of a checkpoint, also of one that an older version wrote."""
    return SCORE.validate_python(facts) if "score_sums" in facts else OLDER_SCORE.validate_python(facts).convert()
