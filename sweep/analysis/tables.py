"""The main table and the differences: source sets times target groups, with intervals.

All accuracies and differences are in [0, 1] and [-1, 1]; a mean is over seeds of the mean over languages, each weighing
the same. A cell whose runs were not tested on its row's languages has no numbers, but a `note`.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from sweep.analysis.results import Cell, Results
from sweep.analysis.statistics import (
    MIN_SEEDS,
    NUM_RESAMPLES,
    Array,
    crossed_interval,
    holm,
    seed_interval,
    sign_flip,
    smallest_detectable,
)
from sweep.records.states import State
from xpe_core.errors import InputError
from xpe_core.tunings import BASELINES

BASELINE = BASELINES[0]
"""What arms are compared with where nothing else is said."""
MAIN_SCHEMA = {
    "source_set": pl.String,
    "group": pl.String,
    "arm": pl.String,
    "config_id": pl.String,
    "num_seeds": pl.Int64,
    "num_languages": pl.Int64,
    "accuracy": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "spread": pl.Float64,
    "num_failed": pl.Int64,
    "num_pruned": pl.Int64,
    "num_unfinished": pl.Int64,
    "note": pl.String,
}
DIFFERENCE_SCHEMA = {
    "source_set": pl.String,
    "group": pl.String,
    "arm": pl.String,
    "baseline": pl.String,
    "num_pairs": pl.Int64,
    "num_languages": pl.Int64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "low_languages": pl.Float64,
    "high_languages": pl.Float64,
    "p": pl.Float64,
    "p_holm": pl.Float64,
    "detectable": pl.Float64,
    "note": pl.String,
}


def main_table(results: Results) -> pl.DataFrame:
    """Return accuracy by source set, target group and arm.

    Columns: source_set, group, arm, config_id, num_seeds (complete runs), num_languages (of the row), accuracy (mean
    over seeds of the mean over languages), low and high (95 % interval over seeds: `statistics.seed_interval`), spread
    (standard deviation over seeds, n - 1), num_failed, num_pruned, num_unfinished (runs that are in no mean), note (why
    there is no accuracy). An arm that was not run on a source set has no row.
    """
    rows: list[dict[str, Any]] = []
    values: list[Array] = []
    for source_set, group, cells in _table_rows(results):
        for cell in cells:
            note = results.differs(cell, group)
            places = results.places(group, source_set)
            values.append(results.group_means(cell, group))
            rows.append(
                {"source_set": source_set, "group": group, "arm": cell.arm, "config_id": cell.config_id}
                | {"num_seeds": len(cell.seeds), "num_languages": len(places), "note": note}
                | {f"num_{state}": cell.states[state] for state in (State.FAILED, State.PRUNED, State.UNFINISHED)}
            )
    return pl.DataFrame([row | found for row, found in zip(rows, describe(values), strict=True)], schema=MAIN_SCHEMA)


def differences(results: Results, baseline: str = BASELINE) -> pl.DataFrame:
    """Return every arm's difference to the baseline, paired by seed; InputError where no arm is the baseline.

    Columns: source_set, group, arm, baseline, num_pairs (seeds that are complete in both), num_languages, difference
    (mean), low and high (95 % interval for these languages: `statistics.seed_interval`), low_languages and
    high_languages (for languages like these, over seeds and languages: `statistics.crossed_interval`), p (exact
    sign-flip test over seeds), p_holm (corrected for all rows with MIN_SEEDS pairs; null where there are fewer),
    detectable (the true difference that so many pairs show with probability 80 %: `statistics.smallest_detectable`),
    note (why there are no numbers).
    """
    rows: list[dict[str, Any]] = []
    pairs: list[Array] = []
    partners = {arm: find_baseline(results, arm, baseline) for arm in results.arms}
    if not any(partners.values()):
        raise InputError(f"--baseline {baseline}: must be one of the arms {', '.join(results.arms)}")
    for source_set, group, cells in _table_rows(results):
        of_arm = {cell.arm: cell for cell in cells}
        for cell in cells:
            partner = of_arm.get(partners[cell.arm] or "")
            if partner is None or partner is cell:
                continue
            row, values = pair(results, cell, partner, group)
            rows.append({"source_set": source_set, **row})
            pairs.append(values)
    return complete_differences(rows, pairs)


def complete_differences(rows: Sequence[dict[str, Any]], pairs: Sequence[Array]) -> pl.DataFrame:
    """Return the table of `differences` with its statistics, from what `pair` returned; Holm's family is all rows."""
    found = [
        {"difference": one["accuracy"], "low": one["low"], "high": one["high"]}
        for one in describe([values.mean(axis=1) if values.size else np.empty(0) for values in pairs], lowest=-1.0)
    ]
    tests = _by_length([values.mean(axis=1) if values.size else np.empty(0) for values in pairs])
    for places, values in tests:
        p_values, detectable = sign_flip(values), smallest_detectable(values)
        for place, p_value, size in zip(places, p_values, detectable, strict=True):
            low, high = np.clip(crossed_interval(pairs[place]), -1.0, 1.0)
            found[place] |= {"low_languages": low, "high_languages": high, "p": p_value, "detectable": size}
    table = pl.DataFrame([row | one for row, one in zip(rows, found, strict=True)], schema=DIFFERENCE_SCHEMA)
    # with fewer pairs no p-value can be small: such a row is no test, and takes nothing from the others
    tested = table.select(pl.when(pl.col("num_pairs") >= MIN_SEEDS).then("p")).to_series()
    p_values = tested.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return table.with_columns(p_holm=pl.Series(holm(p_values), dtype=pl.Float64)).with_columns(
        pl.col(pl.Float64).fill_nan(None)
    )


def pair(results: Results, cell: Cell, partner: Cell, group: str) -> tuple[dict[str, Any], Array]:
    """Return the first columns of a row of `differences`, and the paired differences [pairs, languages] behind it."""
    others = results.places(group, partner.source_set)
    places = [place for place in results.places(group, cell.source_set) if place in others]
    seeds = sorted(set(cell.seeds) & set(partner.seeds))
    notes = [f"{one.arm}: {note}" for one in (cell, partner) if (note := results.differs(one, group))]
    if not seeds:
        notes.append("no seed is complete in both")
    values = np.empty((0, len(places)))
    if not notes:
        values = paired(cell, partner)[:, places]
    row = {"group": group, "arm": cell.arm, "baseline": partner.arm, "num_languages": len(places)}
    return {**row, "num_pairs": len(seeds), "note": "; ".join(notes) or None}, values


def paired(cell: Cell, partner: Cell) -> Array:
    """Return the differences [pairs, languages] of the seeds that are complete in both, in the order of the seeds."""
    seeds = sorted(set(cell.seeds) & set(partner.seeds))
    own = cell.accuracies[[cell.seeds.index(seed) for seed in seeds]]
    return own - partner.accuracies[[partner.seeds.index(seed) for seed in seeds]]


def find_baseline(results: Results, arm: str, baseline: str = BASELINE) -> str | None:
    """Return the arm that another is compared with: the baseline of its own experiment, or the one that there is."""
    name, colon, _ = arm.rpartition(":")
    candidates = [f"{name}:{baseline}"] if colon else []
    candidates += [baseline, *(f"{cell.experiment}:{baseline}" for cell in results.shown if cell.arm == arm)]
    return next((candidate for candidate in candidates if candidate in results.arms), None)


def describe(values: Sequence[Array], num_resamples: int = NUM_RESAMPLES, lowest: float = 0.0) -> list[dict[str, Any]]:
    """Return mean, interval and spread of each of these samples, which may have different numbers of seeds.

    An interval ends where values do: at `lowest` (0 of an accuracy, -1 of a difference) and 1. Fewer than
    MIN_INTERVAL_SEEDS have none.
    """
    found: list[dict[str, Any]] = [{"accuracy": None, "low": None, "high": None, "spread": None} for _ in values]
    for places, stacked in _by_length(values):
        low, high = (np.clip(end, lowest, 1.0) for end in seed_interval(stacked, num_resamples=num_resamples))
        several = stacked.shape[1] > 1
        spreads = stacked.std(axis=1, ddof=1) if several else np.full(len(stacked), np.nan)
        for row, place in enumerate(places):
            found[place] = {"accuracy": float(stacked[row].mean())}
            for name, numbers in (("low", low), ("high", high), ("spread", spreads)):
                found[place][name] = None if np.isnan(numbers[row]) else float(numbers[row])
    return found


def _by_length(values: Sequence[Array]) -> Iterator[tuple[list[int], Array]]:
    """Yield the samples of each size together, stacked [cells, seeds], and their places; empty ones are left out."""
    places: dict[int, list[int]] = defaultdict(list)
    for place, sample in enumerate(values):
        places[len(sample)].append(place)
    for size, alike in sorted(places.items()):
        if size:
            yield alike, np.stack([values[place] for place in alike])


def _table_rows(results: Results) -> Iterator[tuple[str, str, list[Cell]]]:
    """Yield source set, target group and the cells of each row, in the arms' order."""
    order = {arm: place for place, arm in enumerate(results.arms)}
    for source_set in results.source_sets:
        cells = sorted((c for c in results.shown if c.source_set == source_set), key=lambda cell: order[cell.arm])
        for group in results.groups:
            if results.places(group, source_set):
                yield source_set, group, cells
