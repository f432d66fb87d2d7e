"""Which of the metrics that runs were scored by is in the tables."""

from collections.abc import Collection

import polars as pl

from xpe_core.errors import InputError
from xpe_core.tasks.metrics import metrics_of


def of_metric(rows: pl.DataFrame, metric: str) -> pl.DataFrame:
    """Return the rows of a metric in the table `evaluations`, with their `score`, in [0, 1]."""
    return rows.filter(pl.col("metric") == metric).with_columns(score=pl.col("score_sum") / pl.col("num_examples"))


def choose_metric(present: Collection[str], asked: str | None = None) -> str:
    """Return the metric of a report's tables: the one asked for, or of those that are present the task's first.

    InputError for one that is not present.
    """
    known = [metric for metric in metrics_of() if metric in present]
    ordered = known + sorted(set(present) - set(known))
    if asked is not None and ordered and asked not in ordered:
        raise InputError(f"--metric {asked}: must be one of {', '.join(ordered)}")
    return asked or next(iter(ordered), metrics_of()[0])
