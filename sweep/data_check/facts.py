"""What can be said of a data set before anything is trained: counts, classes, duplicates and lengths.

All tables are polars frames over one frame of examples with the columns language, split, label, text, pair and id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from xpe_core.data import Dataset
from xpe_core.data.examples import SPLITS, Example

SPLIT = pl.Enum(SPLITS)
TEXTS = ("text", "pair")
"""What an example is known by; `pair` is null where it has one text."""


@dataclass(frozen=True, eq=False)
class DataFacts:
    """A data set and what its examples have in common; each table is made when it is asked for."""

    dataset: Dataset
    frame: pl.DataFrame

    @cached_property
    def by_language(self) -> pl.DataFrame:
        """Texts of every language: language, train, validation, test, total; the largest first."""
        return self._count("language")

    @cached_property
    def by_label(self) -> pl.DataFrame:
        """Texts of every class: label, train, validation, test, total and num_languages; the largest first."""
        languages = self.frame.group_by("label").agg(num_languages=pl.col("language").n_unique())
        return self._count("label").join(languages, on="label", maintain_order="left")

    @cached_property
    def untrained_labels(self) -> list[str]:
        """Classes that stand in no train split of any language."""
        return self.by_label.filter((pl.col("train") == 0) & (self.by_label["train"].sum() > 0))["label"].to_list()

    @cached_property
    def repeated(self) -> pl.DataFrame:
        """Texts that stand several times in one split of a language: language, split, text, pair, count, ids."""
        groups = self.frame.group_by("language", "split", *TEXTS, maintain_order=True)
        return groups.agg(count=pl.len(), ids=pl.col("id")).filter(pl.col("count") > 1)

    @cached_property
    def leaks(self) -> pl.DataFrame:
        """Texts of validation and test that the same language trains on: language, split, text, label, id."""
        trained = self.frame.filter(pl.col("split") == "train").select("language", *TEXTS).unique()
        tested = self.frame.filter(pl.col("split") != "train")
        return tested.join(trained, on=["language", *TEXTS], how="semi", nulls_equal=True, maintain_order="left")

    @cached_property
    def contradictions(self) -> pl.DataFrame:
        """Texts of a language that have several classes: language, text, pair, labels."""
        groups = self.frame.group_by("language", *TEXTS, maintain_order=True)
        return groups.agg(labels=pl.col("label").unique(maintain_order=True)).filter(pl.col("labels").list.len() > 1)

    @cached_property
    def num_characters(self) -> pl.Series:
        """Length of every text, or of both of a pair, in characters."""
        lengths = self.frame.select(pl.sum_horizontal(pl.col(*TEXTS).str.len_chars()).alias("length"))
        return lengths["length"]

    def draw(self, num_texts: int) -> tuple[Sequence[str], Sequence[str] | None]:
        """Return so many texts at most, drawn at random, the same ones every time, and the second ones of pairs."""
        texts = self.frame.select(TEXTS)
        drawn = texts if len(texts) <= num_texts else texts.sample(num_texts, seed=0)
        return drawn["text"].to_list(), None if drawn["pair"].has_nulls() else drawn["pair"].to_list()

    def _count(self, column: str) -> pl.DataFrame:
        counts = [(pl.col("split") == split).sum().alias(split) for split in SPLITS]
        grouped = self.frame.group_by(column, maintain_order=True).agg(*counts, total=pl.len())
        return grouped.sort("total", column, descending=[True, False])


def find_facts(dataset: Dataset) -> DataFacts:
    """Return what can be said of a data set."""
    columns: dict[str, pl.DataType] = {
        "text": pl.String(),
        "label": pl.String(),
        "language": pl.String(),
        "split": SPLIT,
        "id": pl.String(),
        "pair": pl.String(),
    }
    fields = Example._fields[: len(columns)]  # in the order of the columns
    values = list(zip(*(example[: len(columns)] for example in dataset.examples), strict=True)) or [()] * len(fields)
    series = [pl.Series(name, value, kind) for (name, kind), value in zip(columns.items(), values, strict=True)]
    return DataFacts(dataset, pl.DataFrame(series))
