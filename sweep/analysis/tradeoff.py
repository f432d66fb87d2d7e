"""What a choice costs: low-performing against seen languages, and a search's promise against its replication."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from sweep.analysis.results import Cell, Results
from sweep.analysis.tables import describe
from sweep.records.ranking import SAME_DIGITS

FRONT_SCHEMA = {
    "experiment": pl.String,
    "arm": pl.String,
    "source_set": pl.String,
    "method": pl.String,
    "config_id": pl.String,
    "num_seeds": pl.Int64,
    "low_performing": pl.Float64,
    "seen": pl.Float64,
    "on_front": pl.Boolean,
}
CURSE_SCHEMA = {
    "search": pl.String,
    "replication": pl.String,
    "arm": pl.String,
    "config_id": pl.String,
    "num_tried": pl.Int64,
    "measure": pl.String,
    "search_accuracy": pl.Float64,
    "num_search_seeds": pl.Int64,
    "search_seeds": pl.String,
    "replication_accuracy": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "num_seeds": pl.Int64,
    "seeds": pl.String,
    "difference": pl.Float64,
    "note": pl.String,
}
SELECTION = "selection"
"""The measure by which a search chose: validation accuracy."""


def pareto_front(results: Results) -> pl.DataFrame:
    """Return all finished configurations with their accuracy on low-performing and on seen languages, best seen first.

    Columns: experiment, arm, source_set, method, config_id, num_seeds, low_performing, seen (means over seeds of means
    over languages, in [0, 1]; the exclusion set left out), on_front: whether no other configuration is at least as good
    on both and better on one (Pareto). A point of the front is a mean over few seeds: the front of noisy means lies too
    far out. Configurations that were not tested on the languages of both groups are absent.
    """
    low, seen = _pair_of_groups(results)
    rows = []
    for cell in results.cells:
        if low is None or seen is None or not cell.seeds or results.differs(cell, low) or results.differs(cell, seen):
            continue
        means = [float(results.group_accuracies(cell, group).mean()) for group in (low, seen)]
        facts = (cell.experiment, cell.arm, cell.source_set, cell.method, cell.config_id, len(cell.seeds))
        rows.append((*facts, *means, False))
    equal = [pl.col(name).round(SAME_DIGITS) for name in ("seen", "low_performing")]
    table = pl.DataFrame(rows, schema=FRONT_SCHEMA, orient="row")
    table = table.sort(*equal, "config_id", descending=[True, True, False])
    # from the best seen on, a configuration is on the front where its low-performing accuracy is a new maximum
    points = table.select(equal).rows()
    on_front, best, last = [], -np.inf, None
    for seen_accuracy, low_accuracy in points:
        on_front.append(low_accuracy > best or (seen_accuracy, low_accuracy) == last)
        if low_accuracy > best:
            best, last = low_accuracy, (seen_accuracy, low_accuracy)
    return table.with_columns(on_front=pl.Series(on_front, dtype=pl.Boolean))


def winners_curse(searched: Results, replicated: Results) -> pl.DataFrame:
    """Return what searches promised of configurations that replications ran again on fresh seeds.

    Columns: search, replication, arm (of the replication), config_id, num_tried (configurations it was the best of),
    measure (`selection`: validation accuracy as the search chose; else a target group's test accuracy),
    search_accuracy, num_search_seeds and search_seeds (`1, 2` or `3 to 12`), replication_accuracy, low and high (95 %
    interval over fresh seeds: `statistics.seed_interval`), num_seeds and seeds, difference (replication - search: what
    the search promised too much is negative), note.
    """
    rows: list[dict[str, Any]] = []
    for replication in replicated.experiments:
        if replication.sweep.kind != "replicate" or replication.sweep.of is None:
            continue
        of = name_search(replication.sweep.of)
        promised = {cell.config_id: cell for cell in searched.cells if cell.experiment == of}
        for cell in replicated.shown:
            source = promised.get(cell.config_id)
            if cell.experiment == replication.name and source is not None and source.seeds:
                rows += _promises(searched, source, replicated, cell)
    return pl.DataFrame(rows, schema=CURSE_SCHEMA)


def name_search(of: object) -> str:
    """Return the name of the experiment that a replication's `of` stands for: its folder's last part."""
    return str(of or "").rstrip("/").rsplit("/", 1)[-1]


def name_seeds(seeds: Sequence[int]) -> str:
    """Return seeds as a person writes them: `1, 2`, or `3 to 12` where they follow one another."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _promises(searched: Results, source: Cell, replicated: Results, cell: Cell) -> list[dict[str, Any]]:
    measures: list[tuple[str, np.ndarray, np.ndarray, str | None]] = []
    chosen_alike = {one.sweep.selection_languages for one in (*searched.experiments, *replicated.experiments)}
    source_sets = {one.source_set for one in searched.cells if one.experiment == source.experiment}
    if len(source_sets) > 1 or len(chosen_alike) > 1:
        apart = "validated on other languages than in the search"
        measures.append((SELECTION, source.selection_accuracies, np.empty(0), apart))
    else:
        measures.append((SELECTION, source.selection_accuracies, cell.selection_accuracies, None))
    for group in searched.groups:
        if group not in replicated.groups:
            continue
        note = searched.differs(source, group) or replicated.differs(cell, group)
        if _codes(searched, group, source) != _codes(replicated, group, cell):
            note = "tested on other languages than in the search"
        values = [
            results.group_means(one, group) if note is None else np.empty(0)
            for results, one in ((searched, source), (replicated, cell))
        ]
        measures.append((group, values[0], values[1], note))
    found = describe([fresh for _, _, fresh, _ in measures])
    rows = []
    for (measure, before, _, note), fresh in zip(measures, found, strict=True):
        promise = float(before.mean()) if len(before) else None
        known = promise is not None and fresh["accuracy"] is not None
        rows.append(
            {"search": source.experiment, "replication": cell.experiment, "arm": cell.arm, "config_id": cell.config_id}
            | {"num_tried": source.num_tried, "measure": measure, "note": note}
            | {"search_accuracy": promise, "num_search_seeds": len(source.seeds), "num_seeds": len(cell.seeds)}
            | {"search_seeds": name_seeds(source.seeds), "seeds": name_seeds(cell.seeds)}
            | {"replication_accuracy": fresh["accuracy"], "low": fresh["low"], "high": fresh["high"]}
            | {"difference": fresh["accuracy"] - promise if known else None}
        )
    return rows


def _codes(results: Results, group: str, cell: Cell) -> Sequence[str]:
    return [results.languages[place] for place in results.places(group, cell.source_set)]


def _pair_of_groups(results: Results) -> tuple[str | None, str | None]:
    """Return the names of the low-performing and the seen group, None where they have no language."""
    low = "low_performing" if "low_performing" in results.groups else None
    return low, next((group for group in results.groups if group.split("_")[0] == "seen"), None)
