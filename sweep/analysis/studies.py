"""What a study answers beside its tables of scores: what tuning brought, what it cost, and how much of it is needed.

All of it is about the methods' searches, whose trials are judged by validation accuracy, and about the runs on fresh
seeds, whose test scores are compared. Scores are in [0, 1].
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl

from sweep.analysis.results import Cell, Experiment, Results
from sweep.analysis.rows import table_of
from sweep.analysis.statistics import Array
from sweep.analysis.tables import compare_pairs, estimate, pair
from sweep.experiment.search import Search
from sweep.experiment.study import Study, name_default
from sweep.records.ledger import TrialRecord, read_ledger
from sweep.records.parquet import read_rows
from sweep.records.ranking import rank_trials
from sweep.records.stages import Stage
from sweep.records.states import State
from sweep.records.winners import search_records

COSTS = {
    "num_trained_parameters": pl.col("num_trained_parameters").max(),
    "train_seconds": (pl.col("train_seconds") / pl.col("num_runs_in_pack")).mean(),
    "peak_memory_bytes": pl.col("peak_memory_bytes").max(),
}
"""What a configuration costs, out of the rows of its runs."""


@dataclass(frozen=True)
class MethodRow:
    """A method's search, and what its winner held on fresh seeds."""

    experiment: str
    method: str
    num_trials: int
    """Configurations of its search."""
    num_pruned: int
    num_failed: int
    num_steps: int
    """Optimizer steps of all runs of the search."""
    device_hours: float
    """Of the search's trials."""
    config_id: str | None
    """Of the winner; None where no trial was completed."""
    is_default: bool
    """Whether the winner is the method's default setting."""
    promised: float | None
    """The winner's validation accuracy in the search, mean over its seeds."""
    held: float | None
    """The same on fresh seeds."""
    low: float | None
    high: float | None
    """95 % interval of `held`: `statistics.seed_interval`."""
    num_seeds: int
    """Fresh seeds that are complete."""


@dataclass(frozen=True)
class BudgetRow:
    """A method's search after so many of its trials."""

    experiment: str
    method: str
    num_trials: int
    best: float
    """The best validation accuracy of its first trials, in the order of their proposals."""
    expected: float
    """That of as many trials drawn with replacement from all: `expected_maximum`."""


@dataclass(frozen=True)
class PriceRow:
    """What an arm's score costs."""

    source_set: str
    arm: str
    group: str
    score: float
    low: float | None
    high: float | None
    num_trained_parameters: int | None
    train_seconds: float | None
    """Of one run: those of its pack, divided by the pack's runs."""
    peak_memory_bytes: int | None
    """Of the process during the trial, or of its GPU; a pack's runs share it."""
    is_cheapest: bool
    """Whether no arm that trains fewer parameters has such a score (Pareto)."""
    is_fastest: bool
    """The same of the seconds."""
    is_smallest: bool
    """The same of the memory."""


@dataclass(frozen=True)
class StudyTables:
    """What is said of a study; each one's columns are those of its rows."""

    methods: pl.DataFrame
    """`MethodRow`."""
    gains: pl.DataFrame
    """`tables.DifferenceRow`: each winner against its method's default setting."""
    duels: pl.DataFrame
    """`tables.DifferenceRow`: every winner against every other one over the broadest group, the higher one first."""
    budget: pl.DataFrame
    """`BudgetRow`."""
    prices: pl.DataFrame
    """`PriceRow`, over the broadest group."""


def read_study_tables(results: Results) -> StudyTables | None:
    """Return what is said of a study; None where the results are another experiment's, or those of several."""
    if len(results.experiments) != 1 or (study := results.experiments[0].study) is None:
        return None
    one = results.experiments[0]
    records = list(read_ledger(one.folder).values())
    return StudyTables(
        methods=_methods(one, study, records, results),
        gains=_gains(study, results),
        duels=_duels(study, results),
        budget=_budget(one, study, records),
        prices=_prices(one, results),
    )


def expected_maximum(values: Array) -> Array:
    """Return the expected maximum of 1, 2, ... N values drawn with replacement from N `values` [N].

    The expected validation performance of Dodge et al. (2019, arXiv:1909.03004, equation 6). It takes trials to be
    drawn at random, independently; of a search that learns from its trials it is a description.
    """
    ordered = np.sort(values)
    ranks = np.arange(len(ordered) + 1) / max(len(ordered), 1)  # the share of values at most as large
    draws = np.arange(1, len(ordered) + 1)[:, None]
    weights = ranks[None, 1:] ** draws - ranks[None, :-1] ** draws  # [N draws, N values]
    expected: Array = weights @ ordered
    return expected


def _methods(one: Experiment, study: Study, records: Sequence[TrialRecord], results: Results) -> pl.DataFrame:
    cells = {cell.config_id: cell for cell in results.cells}
    rows = []
    for method, search in study.searches.items():
        own = search_records(records, method)
        best = next(iter(rank_trials(search, own)), None)
        cell = cells.get(best.subject) if best else None
        fresh = cell.selection_scores if cell is not None else np.empty(0)
        (held,) = estimate([fresh])
        default = study.defaults.get(method)
        rows.append(
            MethodRow(
                experiment=one.name,
                method=method,
                num_trials=len({record.config_id for record in own if search.has_full_length(record.config)}),
                num_pruned=sum(record.state == State.PRUNED for record in own),
                num_failed=sum(record.state in (State.FAILED, State.CRASHED, State.INFEASIBLE) for record in own),
                num_steps=sum(len(record.runs) * max(record.reports, default=0) for record in own),
                device_hours=sum(record.seconds for record in own) / 3600,
                config_id=best.subject if best else None,
                is_default=best is not None and default is not None and best.subject == default.config_id,
                promised=best.score if best else None,
                held=held.mean,
                low=held.low,
                high=held.high,
                num_seeds=len(fresh),
            )
        )
    return table_of(MethodRow, rows)


def _gains(study: Study, results: Results) -> pl.DataFrame:
    """Return the winners' differences to the default settings of their methods."""
    of_arm = {cell.arm: cell for cell in results.shown}
    pairs = [(of_arm.get(method), of_arm.get(name_default(method))) for method in study.methods]
    return compare_pairs(
        [
            pair(results, winner, default, group)
            for group in results.groups
            for winner, default in pairs
            if winner is not None and default is not None
        ]
    )


def _duels(study: Study, results: Results) -> pl.DataFrame:
    """Return the differences of the winners to one another over the broadest group, each pair once."""
    if not results.groups:
        return compare_pairs([])
    group = results.broadest_group
    scored = [(_score(results, cell, group), cell) for cell in results.shown if cell.arm in study.methods]
    winners = [cell for score, cell in sorted(scored, key=lambda one: -one[0]) if not np.isnan(score)]
    return compare_pairs([pair(results, higher, lower, group) for higher, lower in combinations(winners, 2)])


def _score(results: Results, cell: Cell, group: str) -> float:
    means = results.group_means(cell, group)
    return float(means.mean()) if len(means) else np.nan


def _budget(one: Experiment, study: Study, records: Sequence[TrialRecord]) -> pl.DataFrame:
    """Return how each search went: a trial that was stopped early counts with what it had reached."""
    rows = []
    for method in study.methods:
        values = np.array(_values_of(study.searches[method], search_records(records, method)))
        for index, (best, expected) in enumerate(
            zip(np.maximum.accumulate(values), expected_maximum(values), strict=True), start=1
        ):
            rows.append(BudgetRow(one.name, method, index, float(best), float(expected)))
    return table_of(BudgetRow, rows)


def _values_of(search: Search, records: Iterable[TrialRecord]) -> list[float]:
    """Return what each configuration of a search had reached, in the order of their trials; a failed one 0.

    One that was run with more seeds afterwards counts once, with the mean over all of its runs.
    """
    trials: dict[str, list[tuple[float, int]]] = {}
    for record in sorted(records, key=lambda record: record.number):
        if record.state is not None and search.has_full_length(record.config):
            reached = 0.0 if record.state == State.FAILED else max(record.reports.values(), default=0.0)
            trials.setdefault(record.config_id, []).append((reached, len(record.runs)))
    return [sum(value * count for value, count in one) / sum(count for _, count in one) for one in trials.values()]


def _prices(one: Experiment, results: Results) -> pl.DataFrame:
    """Return what the arms' scores over the broadest group cost."""
    runs = read_rows(one.folder, "runs")
    if runs is None or not results.groups:
        return table_of(PriceRow, [])
    frame = pl.from_arrow(runs)
    assert isinstance(frame, pl.DataFrame)
    fresh = frame.filter((pl.col("stage") == Stage.REPLICATION) & (pl.col("state") == State.COMPLETE))
    costs = {row["config_id"]: row for row in fresh.group_by("config_id").agg(**COSTS).iter_rows(named=True)}
    group = results.broadest_group
    cells = [cell for cell in results.shown if cell.config_id in costs and len(results.group_means(cell, group))]
    scores = estimate([results.group_means(cell, group) for cell in cells])
    rows = [
        PriceRow(
            source_set=cell.source_set,
            arm=cell.arm,
            group=group,
            score=score.mean or 0.0,
            low=score.low,
            high=score.high,
            **{name: costs[cell.config_id][name] for name in COSTS},
            is_cheapest=False,
            is_fastest=False,
            is_smallest=False,
        )
        for cell, score in zip(cells, scores, strict=True)
    ]
    table = table_of(PriceRow, rows)
    return table.with_columns(
        is_cheapest=_front(table, "num_trained_parameters"),
        is_fastest=_front(table, "train_seconds"),
        is_smallest=_front(table, "peak_memory_bytes"),
    )


def _front(table: pl.DataFrame, cost: str) -> pl.Series:
    """Return which arms no other one beats: none is as good at less, or better at the same."""
    points = list(table.select("score", cost).iter_rows())

    def is_beaten(score: float, price: float) -> bool:
        return any(
            other >= score and lower <= price and (other > score or lower < price)
            for other, lower in points
            if lower is not None
        )

    return pl.Series([price is not None and not is_beaten(score, price) for score, price in points], dtype=pl.Boolean)
