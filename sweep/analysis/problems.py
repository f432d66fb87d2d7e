"""What is wrong with results: a sentence each, with where it matters."""

from dataclasses import dataclass

import polars as pl

from sweep.analysis.rows import table_of


@dataclass(frozen=True)
class Problem:
    """What is wrong with an experiment's results, or with those of an arm or a source set of it."""

    experiment: str
    arm: str | None
    """None where it matters for all."""
    source_set: str | None
    problem: str


class Problems(list[Problem]):
    """What was found to be wrong, in its order."""

    def add(self, experiment: str, problem: str, arm: str | None = None, source_set: str | None = None) -> None:
        """Say what is wrong."""
        self.append(Problem(experiment, arm, source_set, problem))

    def table(self) -> pl.DataFrame:
        """Return the problems as a table, a `Problem` a row."""
        return table_of(Problem, self)
