"""What a choice costs: low-performing against seen languages, and a search's promise against its replication."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from sweep.analysis.results import Cell, Results
from sweep.analysis.rows import table_of
from sweep.analysis.statistics import Array
from sweep.analysis.tables import estimate
from sweep.records.ranking import SAME_DIGITS

SELECTION = "selection"
"""The measure by which a search chose: validation accuracy."""


@dataclass(frozen=True)
class FrontRow:
    """A finished configuration on the two groups; scores are means over seeds of means over languages, in [0, 1]."""

    experiment: str
    arm: str
    source_set: str
    method: str
    config_id: str
    num_seeds: int
    low_performing: float
    seen: float
    on_front: bool
    """Whether no other configuration is at least as good on both and better on one (Pareto)."""


@dataclass(frozen=True)
class CurseRow:
    """What a search promised of a configuration, and what its replication held."""

    search: str
    replication: str
    arm: str
    """Of the replication."""
    config_id: str
    num_tried: int
    """Configurations that it was the best of."""
    measure: str
    """`selection`: validation accuracy as the search chose; else the test score of this target group."""
    search_score: float | None
    num_search_seeds: int
    search_seeds: str
    """`1, 2` or `3 to 12`."""
    replication_score: float | None
    low: float | None
    high: float | None
    """95 % interval over fresh seeds: `statistics.seed_interval`."""
    num_seeds: int
    seeds: str
    difference: float | None
    """Replication - search: what the search promised too much is negative."""
    note: str | None


@dataclass(frozen=True)
class _Measure:
    """The scores of a search's seeds and of fresh ones by one measure."""

    name: str
    before: Array
    fresh: Array
    note: str | None = None
    """Why they do not compare."""


def pareto_front(results: Results) -> pl.DataFrame:
    """Return the finished configurations on low-performing and on seen languages, a `FrontRow` each, best seen first.

    A point of the front is a mean over few seeds: the front of noisy means lies too far out. Configurations that were
    not tested on the languages of both groups are absent. Languages of the exclusion set are in no mean.
    """
    low, seen = _pair_of_groups(results)
    rows = []
    for cell in results.cells:
        if low is None or seen is None or not cell.seeds or results.differs(cell, low) or results.differs(cell, seen):
            continue
        rows.append(
            FrontRow(
                experiment=cell.experiment,
                arm=cell.arm,
                source_set=cell.source_set,
                method=cell.method,
                config_id=cell.config_id,
                num_seeds=len(cell.seeds),
                low_performing=float(results.group_scores(cell, low).mean()),
                seen=float(results.group_scores(cell, seen).mean()),
                on_front=False,
            )
        )
    equal = [pl.col(name).round(SAME_DIGITS) for name in ("seen", "low_performing")]
    table = table_of(FrontRow, rows).sort(*equal, "config_id", descending=[True, True, False])
    # from the best seen on, a configuration is on the front where its low-performing score is a new maximum
    on_front, best, last = [], -np.inf, None
    for seen_score, low_score in table.select(equal).rows():
        on_front.append(low_score > best or (seen_score, low_score) == last)
        if low_score > best:
            best, last = low_score, (seen_score, low_score)
    return table.with_columns(on_front=pl.Series(on_front, dtype=pl.Boolean))


def winners_curse(searched: Results, replicated: Results) -> pl.DataFrame:
    """Return what searches promised of configurations that replications ran again on fresh seeds, a `CurseRow` each."""
    rows: list[CurseRow] = []
    for replication in replicated.experiments:
        if replication.sweep.kind != "replicate" or replication.sweep.of is None:
            continue
        of = name_search(replication.sweep.of)
        promised = {cell.config_id: cell for cell in searched.cells if cell.experiment == of}
        for cell in replicated.shown:
            source = promised.get(cell.config_id)
            if cell.experiment == replication.name and source is not None and source.seeds:
                rows += _promises(searched, source, replicated, cell)
    return table_of(CurseRow, rows)


def name_search(of: object) -> str:
    """Return the name of the experiment that a replication's `of` stands for: its folder's last part."""
    return str(of or "").rstrip("/").rsplit("/", 1)[-1]


def name_seeds(seeds: Sequence[int]) -> str:
    """Return seeds as a person writes them: `1, 2`, or `3 to 12` where they follow one another."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _promises(searched: Results, source: Cell, replicated: Results, cell: Cell) -> list[CurseRow]:
    measures = [_measure_selection(searched, source, replicated, cell)]
    for group in searched.groups:
        if group in replicated.groups:
            measures.append(_measure_group(searched, source, replicated, cell, group))
    rows = []
    for measure, fresh in zip(measures, estimate([measure.fresh for measure in measures]), strict=True):
        promise = float(measure.before.mean()) if len(measure.before) else None
        change = None if promise is None or fresh.mean is None else fresh.mean - promise
        rows.append(
            CurseRow(
                search=source.experiment,
                replication=cell.experiment,
                arm=cell.arm,
                config_id=cell.config_id,
                num_tried=source.num_tried,
                measure=measure.name,
                search_score=promise,
                num_search_seeds=len(source.seeds),
                search_seeds=name_seeds(source.seeds),
                replication_score=fresh.mean,
                low=fresh.low,
                high=fresh.high,
                num_seeds=len(cell.seeds),
                seeds=name_seeds(cell.seeds),
                difference=change,
                note=measure.note,
            )
        )
    return rows


def _measure_selection(searched: Results, source: Cell, replicated: Results, cell: Cell) -> _Measure:
    chosen_alike = {one.sweep.selection_languages for one in (*searched.experiments, *replicated.experiments)}
    source_sets = {one.source_set for one in searched.cells if one.experiment == source.experiment}
    if len(source_sets) > 1 or len(chosen_alike) > 1:
        apart = "validated on other languages than in the search"
        return _Measure(SELECTION, source.selection_scores, np.empty(0), apart)
    return _Measure(SELECTION, source.selection_scores, cell.selection_scores)


def _measure_group(searched: Results, source: Cell, replicated: Results, cell: Cell, group: str) -> _Measure:
    note = searched.differs(source, group) or replicated.differs(cell, group)
    if _codes(searched, group, source) != _codes(replicated, group, cell):
        note = "tested on other languages than in the search"
    if note is not None:
        return _Measure(group, np.empty(0), np.empty(0), note)
    return _Measure(group, searched.group_means(source, group), replicated.group_means(cell, group))


def _codes(results: Results, group: str, cell: Cell) -> Sequence[str]:
    return [results.languages[index] for index in results.language_indices(group, cell.source_set)]


def _pair_of_groups(results: Results) -> tuple[str | None, str | None]:
    """Return the names of the low-performing and the seen group, None where they have no language."""
    low = "low_performing" if "low_performing" in results.groups else None
    return low, next((group for group in results.groups if group.split("_")[0] == "seen"), None)
