"""Which of the metrics that runs were scored by is in the tables."""

from collections.abc import Collection

import polars as pl

from xpe_core.errors import InputError
from xpe_core.tasks import DEFAULT_TASK, TASKS


def of_metric(rows: pl.DataFrame, metric: str) -> pl.DataFrame:
    """Return the rows of a metric in the table `evaluations`, with their `score`, in [0, 1]."""
    return rows.filter(pl.col("metric") == metric).with_columns(score=pl.col("score_sum") / pl.col("num_examples"))


def choose_metric(present: Collection[str], asked: str | None = None, task: str = DEFAULT_TASK) -> str:
    """Return the metric of a report's tables: the one asked for, or of those that are present the task's first.

    InputError for one that is not present.
    """
    metrics = TASKS[task].metrics
    known = [metric for metric in metrics if metric in present]
    ordered = known + sorted(set(present) - set(known))
    if asked is not None and ordered and asked not in ordered:
        raise InputError(f"--metric {asked}: must be one of {', '.join(ordered)}")
    return asked or next(iter(ordered), metrics[0])
