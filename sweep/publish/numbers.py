"""What a model card says of a configuration: numbers out of `sweep.analysis`, of one cell and what it is compared with.

All scores are in [0, 1] and are those of the report's tables.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from sweep.analysis.configurations import read_evaluations, read_runs
from sweep.analysis.per_language import language_table
from sweep.analysis.reading import read_together
from sweep.analysis.results import UNFINISHED, Cell, Experiment, Results
from sweep.analysis.stored_experiment import read_experiment, split_experiment
from sweep.analysis.tables import compare_pairs, main_table, pair
from sweep.records.states import State
from sweep.storage import Folder
from xpe_core.errors import InputError
from xpe_core.languages import resolve_languages
from xpe_core.tunings import BASELINES


@dataclass(frozen=True)
class PublishedRun:
    """One run of the configuration."""

    seed: int
    run_id: str
    state: str
    """complete, failed, pruned or unfinished."""
    facts: Mapping[str, object]
    """Its row of the table `runs`; empty where it has none."""
    best_step: int | None
    validation: float | None
    """Validation accuracy in [0, 1]."""
    scores: Mapping[str, float]
    """Test score by target group, where the run was tested on all of its languages."""


@dataclass(frozen=True)
class Numbers:
    """What is known of one configuration."""

    experiment: Experiment
    cell: Cell
    results: Results
    """Of the experiment, with this cell and those that it is compared with only."""
    runs: tuple[PublishedRun, ...]
    """All that were asked for, ascending."""
    sources: tuple[str, ...]
    """Languages trained on."""
    groups: pl.DataFrame
    """`main_table` of this cell."""
    languages: pl.DataFrame
    """`language_table` of this cell, with spread (standard deviation over seeds, n - 1), worst and best seed, and
    whether it was trained on.
    """
    differences: pl.DataFrame
    """Of this cell to each it is compared with, paired by seed, as `analysis.differences`; may be empty."""

    def values(self, column: str) -> list[str]:
        """Return the different values of a column of `runs` among the complete runs, in their order."""
        found = (one.facts.get(column) for one in self.runs if one.state == State.COMPLETE)
        return list(dict.fromkeys(str(value) for value in found if value is not None))

    @property
    def packages(self) -> dict[str, str]:
        """The versions of packages that the runs used; several where seeds ran on different ones."""
        versions: dict[str, list[str]] = {}
        for text in self.values("package_versions"):
            for package, version in json.loads(text).items():
                versions.setdefault(package, []).append(str(version))
        return {package: " and ".join(dict.fromkeys(found)) for package, found in versions.items()}


def read_numbers(folder: Folder, config_id: str, exclude: str | None = None) -> Numbers:
    """Read what an experiment holds of a configuration; InputError where it has no complete run of it."""
    whole = read_together([_find_home(folder, config_id)], exclude)
    cell = next((cell for cell in whole.cells if cell.config_id == config_id), None)
    if cell is None:
        raise InputError(f"{folder} holds no configuration {config_id}")
    if not cell.seeds:
        raise InputError(
            f"{folder} holds no complete run of the configuration {config_id}: there is nothing to publish"
        )
    cell = replace(cell, shown=True)
    others = [
        other
        for other in whole.shown
        if other.source_set == cell.source_set and other.method in BASELINES and other.config_id != config_id
    ]
    results = replace(whole, cells=(cell, *others))
    alone = replace(whole, cells=(cell,))
    sources = _find_sources(folder, whole, cell)
    return Numbers(
        experiment=whole.experiments[0],
        cell=cell,
        results=results,
        runs=_find_runs(folder, alone, cell),
        sources=sources,
        groups=main_table(alone),
        languages=_describe_languages(alone, cell, sources),
        differences=_compare(results, cell, others),
    )


def _find_home(folder: Folder, config_id: str) -> Experiment:
    """Return an experiment, or the one of its panels that has a configuration."""
    panels = split_experiment(read_experiment(folder))
    asked = [one for one in panels if any(corner.config_id == config_id for corner in one.sweep.corners)]
    return (asked or panels)[0]


def _find_runs(folder: Folder, results: Results, cell: Cell) -> tuple[PublishedRun, ...]:
    table = read_runs(folder).filter(pl.col("config_id") == cell.config_id).unique("run_id", keep="first")
    rows = {row["seed"]: row for row in table.iter_rows(named=True)}
    means = {
        group: results.group_means(cell, group) for group in results.groups if results.differs(cell, group) is None
    }
    runs = []
    for seed in sorted({*results.experiments[0].sweep.seeds, *rows}):
        row, is_complete = rows.get(seed, {}), seed in cell.seeds
        scores = {group: float(of_group[cell.seeds.index(seed)]) for group, of_group in means.items() if is_complete}
        runs.append(
            PublishedRun(
                seed=seed,
                run_id=cell.config.with_seed(seed).run_id,
                state=str(row["state"]) if row else UNFINISHED,
                facts=row,
                best_step=row.get("best_step"),
                validation=row.get("validation_accuracy"),
                scores=scores,
            )
        )
    return tuple(runs)


def _find_sources(folder: Folder, results: Results, cell: Cell) -> tuple[str, ...]:
    """Return the languages trained on: a group's, as far as the data has them (all of a run's are validated on)."""
    available = None
    if results.experiments[0].sweep.selection_languages is None:
        run_ids = [cell.config.with_seed(seed).run_id for seed in cell.seeds]
        rows = read_evaluations(folder).filter(pl.col("run_id").is_in(run_ids))
        if "validation" in rows["split"]:
            available = sorted(rows["language"].unique())
    try:
        return resolve_languages(cell.config.data.source_set, available)
    except InputError:  # languages of one's own, that were not validated on
        return tuple(cell.config.data.source_set.split(","))


def _describe_languages(alone: Results, cell: Cell, sources: Sequence[str]) -> pl.DataFrame:
    rows = []
    for index, code in enumerate(alone.languages):
        values = cell.scores[:, index]
        values = values[~np.isnan(values)]
        spread = float(values.std(ddof=1)) if len(values) > 1 else None
        ends = (float(values.min()), float(values.max())) if len(values) else (None, None)
        rows.append((code, code in sources, spread, *ends))
    schema = {"language": pl.String, "trained": pl.Boolean, "spread": pl.Float64, "worst": pl.Float64}
    more = pl.DataFrame(rows, schema={**schema, "best": pl.Float64}, orient="row")
    return language_table(alone).join(more, on="language", how="left", maintain_order="left")


def _compare(results: Results, cell: Cell, others: Sequence[Cell]) -> pl.DataFrame:
    return compare_pairs([pair(results, cell, other, group) for other in others for group in results.groups])
