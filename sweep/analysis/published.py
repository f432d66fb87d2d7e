"""The published table beside ours, where an experiment is comparable (arXiv:2508.10352, table 1).

The task has the figures that are known: XLM-R large on SIB-200, zero-shot, ten seeds, in percent with one decimal.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from sweep.analysis.results import Cell, Results
from sweep.analysis.rows import table_of
from sweep.analysis.statistics import Array
from sweep.analysis.tables import Estimate, estimate
from xpe_core.languages import resolve_languages
from xpe_core.tasks import TASKS
from xpe_core.tasks.metrics import title_of
from xpe_core.tasks.task import Figure
from xpe_core.tunings import describe

ROUNDED = 0.0005
"""By how much a published figure may be off: it has one decimal in percent."""


@dataclass(frozen=True)
class PublishedRow:
    """A published figure beside what a comparable arm has."""

    source_set: str
    method: str
    group: str
    published: float
    num_published_seeds: int
    arm: str | None = None
    score: float | None = None
    low: float | None = None
    high: float | None = None
    """95 % interval over our seeds: `statistics.seed_interval`."""
    num_seeds: int | None = None
    num_languages: int | None = None
    difference: float | None = None
    """Ours - published."""
    inside: bool | None = None
    """Whether the published value, give or take its rounding, lies in our interval.

    It is itself a mean over ten seeds: of equal truths about one in six lies outside.
    """
    note: str | None = None
    """Why there is no figure of ours."""


def why_not_comparable(cell: Cell, metric: str) -> str | None:
    """Return why a cell's scores by a metric have nothing to do with the published table, None where they have."""
    config = cell.config
    published = TASKS[config.task].published()
    if published is None:
        return f"nothing is published of {TASKS[config.task].title}"
    if metric != published.metric:
        return f"the metric is {title_of(metric)}, not {title_of(published.metric)}"
    backbone, dataset = (name.rstrip("/").rsplit("/", 1)[-1].lower() for name in (config.backbone, config.data.dataset))
    if backbone not in published.backbones:
        return f"the backbone is {config.backbone}, not {published.backbone}"
    if dataset not in published.datasets:
        return f"the data set is {config.data.dataset}, not {published.dataset}"
    words = describe(config)
    return None if words.published else f"{words.why_unpublished}, which is not published"


def published_table(results: Results) -> pl.DataFrame:
    """Return every published figure beside what comparable arms have, a `PublishedRow` each.

    It is empty where no arm is comparable.
    """
    cells = [cell for cell in results.shown if why_not_comparable(cell, results.metric) is None]
    published = TASKS[cells[0].config.task].published() if cells else None
    if published is None:
        return table_of(PublishedRow, [])
    rows: list[PublishedRow] = []
    samples: list[Array] = []
    for figure in published.figures:
        row = _begin_row(figure)
        ours = [c for c in cells if describe(c.config).published == figure.method and c.source_set == figure.source_set]
        for cell in ours:
            note = _differs(results, cell, figure.group)
            samples.append(results.group_means(cell, figure.group) if note is None else np.empty(0))
            counts = len(samples[-1]), len(results.groups.get(figure.group, ()))
            rows.append(replace(row, arm=cell.arm, num_seeds=counts[0], num_languages=counts[1], note=note))
        if not ours:
            rows.append(replace(row, note="not run here"))
            samples.append(np.empty(0))
    return table_of(PublishedRow, [_compare(row, ours) for row, ours in zip(rows, estimate(samples), strict=True)])


def _begin_row(figure: Figure) -> PublishedRow:
    return PublishedRow(figure.source_set, figure.method, figure.group, figure.score, figure.num_seeds)


def _compare(row: PublishedRow, ours: Estimate) -> PublishedRow:
    """Return a row with our figure and what it says of the published one."""
    inside = None
    if ours.low is not None and ours.high is not None:
        inside = ours.low - ROUNDED <= row.published <= ours.high + ROUNDED
    difference = None if ours.mean is None else ours.mean - row.published
    return replace(row, score=ours.mean, low=ours.low, high=ours.high, difference=difference, inside=inside)


def _differs(results: Results, cell: Cell, group: str) -> str | None:
    """Return why a cell's mean over a group is not the published one's."""
    if group not in results.groups:
        return "not tested on this group's languages"
    has, wants = len(results.groups[group]), len(resolve_languages(group))
    if has != wants:
        return f"tested on {has} of the group's {wants} languages"
    if not cell.seeds:
        return "no run is complete"
    return results.differs(cell, group)
