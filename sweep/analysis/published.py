"""The published table beside ours, where an experiment is comparable (arXiv:2508.10352, table 1).

`published.csv` of the task holds the figures that are known: XLM-R large on SIB-200, zero-shot, ten seeds, in percent
with one decimal.
"""

import csv
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import polars as pl

from sweep.analysis.results import Cell, Results
from sweep.analysis.statistics import Array
from sweep.analysis.tables import describe
from xpe_core.languages import resolve_languages
from xpe_core.tasks.metrics import title_of
from xpe_core.tunings import describe as describe_run

METRIC = "accuracy"
BACKBONES = ("xlm-roberta-large", "xlm-r-large", "xlmr-large")
SCHEMA = {
    "source_set": pl.String,
    "method": pl.String,
    "group": pl.String,
    "published": pl.Float64,
    "num_published_seeds": pl.Int64,
    "arm": pl.String,
    "accuracy": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "num_seeds": pl.Int64,
    "num_languages": pl.Int64,
    "difference": pl.Float64,
    "inside": pl.Boolean,
    "note": pl.String,
}


@cache
def load_published() -> tuple[dict[str, Any], ...]:
    """Return the published figures: source_set, method, group, published (in [0, 1]), num_published_seeds."""
    text = files("xpe_core.tasks.topic").joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(
        {"source_set": row["source_set"], "method": row["method"], "group": row["target_group"]}
        | {"published": round(float(row["accuracy_percent"]) / 100, 6), "num_published_seeds": int(row["num_seeds"])}
        for row in csv.DictReader(text.splitlines())
    )


def why_not_comparable(cell: Cell, metric: str) -> str | None:
    """Return why a cell's scores by a metric have nothing to do with the published table, None where they have."""
    if metric != METRIC:
        return f"the metric is {title_of(metric)}, not {title_of(METRIC)}"
    config = cell.config
    backbone, dataset = (name.rstrip("/").rsplit("/", 1)[-1].lower() for name in (config.backbone, config.data.dataset))
    if backbone not in BACKBONES:
        return f"the backbone is {config.backbone}, not XLM-R large"
    if dataset not in ("sib200", "sib-200"):
        return f"the data set is {config.data.dataset}, not SIB-200"
    words = describe_run(config)
    return None if words.published else f"{words.why_unpublished}, which is not published"


def published_table(results: Results) -> pl.DataFrame:
    """Return every published figure beside what comparable arms have; empty where no arm is comparable.

    Columns: source_set, method, group, published (in [0, 1], rounded to 0.001), num_published_seeds, arm, accuracy, low
    and high (95 % interval over our seeds: `statistics.seed_interval`), num_seeds, num_languages, difference (ours -
    published), inside (whether the published value, give or take its rounding, lies in our interval; it is itself a
    mean over ten seeds, so about one of six such values of an equal truth lies outside), note (why there is no figure
    of ours).
    """
    cells = [cell for cell in results.shown if why_not_comparable(cell, results.metric) is None]
    if not cells:
        return pl.DataFrame(schema=SCHEMA)
    rows: list[dict[str, Any]] = []
    values: list[Array] = []
    for figure in load_published():
        method, source_set, group = figure["method"], figure["source_set"], figure["group"]
        size = len(results.groups.get(group, ()))
        ours = [c for c in cells if describe_run(c.config).published == method and c.source_set == source_set]
        for cell in ours:
            note = _differs(results, cell, group)
            own = results.group_means(cell, group) if note is None else np.empty(0)
            rows.append({**figure, "arm": cell.arm, "num_seeds": len(own), "num_languages": size, "note": note})
            values.append(own)
        if not ours:
            rows.append({**figure, "note": "not run here"})
            values.append(np.empty(0))
    for row, found in zip(rows, describe(values), strict=True):
        row |= {key: found[key] for key in ("accuracy", "low", "high")}
        if found["accuracy"] is not None:
            row["difference"] = found["accuracy"] - row["published"]
        if found["low"] is not None:
            row["inside"] = found["low"] - 0.0005 <= row["published"] <= found["high"] + 0.0005
    return pl.DataFrame(rows, schema=SCHEMA)


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
