"""The main table and the differences: source sets times target groups, with intervals.

All scores and differences are in [0, 1] and [-1, 1]; a mean is over seeds of the mean over languages, each weighing
the same. A cell whose runs were not tested on its row's languages has no numbers, but a `note`.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from sweep.analysis.results import Cell, Results
from sweep.analysis.rows import table_of
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


@dataclass(frozen=True)
class Estimate:
    """The mean of a sample of seeds; None where there are too few of them."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    """95 % interval: `statistics.seed_interval`."""
    spread: float | None = None
    """Standard deviation, n - 1."""


@dataclass(frozen=True)
class MainRow:
    """An arm on a source set, over a target group."""

    source_set: str
    group: str
    arm: str
    config_id: str
    num_seeds: int
    """Complete runs."""
    num_languages: int
    """Of the row."""
    score: float | None
    """Mean over seeds of the mean over languages."""
    low: float | None
    high: float | None
    spread: float | None
    num_failed: int
    """Runs that are in no mean, as are those that were pruned or have not ended."""
    num_pruned: int
    num_unfinished: int
    note: str | None
    """Why there is no score."""


@dataclass(frozen=True)
class DifferenceRow:
    """An arm's difference to another over a target group, paired by seed."""

    source_set: str
    group: str
    arm: str
    baseline: str
    num_pairs: int
    """Seeds that are complete in both."""
    num_languages: int
    difference: float | None
    """Mean over the pairs of the mean over languages."""
    low: float | None
    high: float | None
    """95 % interval for these languages: `statistics.seed_interval`."""
    low_languages: float | None
    high_languages: float | None
    """For languages like these, over seeds and languages: `statistics.crossed_interval`."""
    p: float | None
    """Of the exact sign-flip test over seeds."""
    p_holm: float | None
    """Corrected for all rows with MIN_SEEDS pairs; null where there are fewer."""
    detectable: float | None
    """The true difference that so many pairs show with probability 80 %: `statistics.smallest_detectable`."""
    note: str | None
    """Why there are no numbers."""


@dataclass(frozen=True)
class Pairing:
    """Two cells over a target group, seed by seed."""

    source_set: str
    group: str
    arm: str
    baseline: str
    num_pairs: int
    num_languages: int
    note: str | None
    """Why there are no differences."""
    differences: Array
    """[pairs, languages]."""

    @property
    def means(self) -> Array:
        """The mean difference of each pair [pairs]."""
        means: Array = self.differences.mean(axis=1) if self.differences.size else np.empty(0)
        return means


@dataclass(frozen=True)
class _Test:
    """What is said of a difference beside its interval over seeds."""

    low_languages: float | None = None
    high_languages: float | None = None
    p: float | None = None
    detectable: float | None = None


def main_table(results: Results) -> pl.DataFrame:
    """Return the score by source set, target group and arm, a `MainRow` each.

    An arm that was not run on a source set has no row.
    """
    cells = [(group, cell) for group, of_row in _table_rows(results) for cell in of_row]
    estimates = estimate([results.group_means(cell, group) for group, cell in cells])
    rows = [
        MainRow(
            source_set=cell.source_set,
            group=group,
            arm=cell.arm,
            config_id=cell.config_id,
            num_seeds=len(cell.seeds),
            num_languages=len(results.language_indices(group, cell.source_set)),
            score=estimated.mean,
            low=estimated.low,
            high=estimated.high,
            spread=estimated.spread,
            num_failed=cell.states[State.FAILED],
            num_pruned=cell.states[State.PRUNED],
            num_unfinished=cell.states[State.UNFINISHED],
            note=results.differs(cell, group),
        )
        for (group, cell), estimated in zip(cells, estimates, strict=True)
    ]
    return table_of(MainRow, rows)


def differences(results: Results, baseline: str = BASELINE) -> pl.DataFrame:
    """Return every arm's difference to the baseline, a `DifferenceRow` each; InputError where no arm is it.

    The default settings of a study's methods are left out: they are compared with their winners.
    """
    partners = {arm: find_baseline(results, arm, baseline) for arm in results.arms if results.is_answer(arm)}
    if not any(partners.values()):
        raise InputError(f"--baseline {baseline}: must be one of the arms {', '.join(results.arms)}")
    pairings = []
    for group, cells in _table_rows(results):
        of_arm = {cell.arm: cell for cell in cells}
        for cell in cells:
            partner = of_arm.get(partners.get(cell.arm) or "")
            if partner is not None and partner is not cell:
                pairings.append(pair(results, cell, partner, group))
    return compare_pairs(pairings)


def compare_pairs(pairings: Sequence[Pairing]) -> pl.DataFrame:
    """Return the table of `differences` from what `pair` returned; Holm's family is all rows."""
    estimates = estimate([one.means for one in pairings], lowest=-1.0)
    rows = [
        DifferenceRow(
            source_set=one.source_set,
            group=one.group,
            arm=one.arm,
            baseline=one.baseline,
            num_pairs=one.num_pairs,
            num_languages=one.num_languages,
            difference=estimated.mean,
            low=estimated.low,
            high=estimated.high,
            low_languages=test.low_languages,
            high_languages=test.high_languages,
            p=test.p,
            p_holm=None,
            detectable=test.detectable,
            note=one.note,
        )
        for one, estimated, test in zip(pairings, estimates, _test(pairings), strict=True)
    ]
    table = table_of(DifferenceRow, rows)
    # with fewer pairs no p-value can be small: such a row is no test, and takes nothing from the others
    tested = table.select(pl.when(pl.col("num_pairs") >= MIN_SEEDS).then("p")).to_series()
    p_values = tested.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return table.with_columns(p_holm=pl.Series(holm(p_values), dtype=pl.Float64)).with_columns(
        pl.col(pl.Float64).fill_nan(None)
    )


def pair(results: Results, cell: Cell, partner: Cell, group: str) -> Pairing:
    """Return two cells paired by seed, over the group's languages that both source sets have in it."""
    others = results.language_indices(group, partner.source_set)
    indices = [index for index in results.language_indices(group, cell.source_set) if index in others]
    seeds = sorted(set(cell.seeds) & set(partner.seeds))
    notes = [f"{one.arm}: {note}" for one in (cell, partner) if (note := results.differs(one, group))]
    if not seeds:
        notes.append("no seed is complete in both")
    both = cell.source_set == partner.source_set
    return Pairing(
        source_set=cell.source_set if both else f"{cell.source_set} / {partner.source_set}",
        group=group,
        arm=cell.arm,
        baseline=partner.arm,
        num_pairs=len(seeds),
        num_languages=len(indices),
        note="; ".join(notes) or None,
        differences=np.empty((0, len(indices))) if notes else paired(cell, partner)[:, indices],
    )


def paired(cell: Cell, partner: Cell) -> Array:
    """Return the differences [pairs, languages] of the seeds that are complete in both, in the order of the seeds."""
    seeds = sorted(set(cell.seeds) & set(partner.seeds))
    own = cell.scores[[cell.seeds.index(seed) for seed in seeds]]
    return own - partner.scores[[partner.seeds.index(seed) for seed in seeds]]


def find_baseline(results: Results, arm: str, baseline: str = BASELINE) -> str | None:
    """Return the arm that another is compared with: the baseline of its own experiment, or the one that there is."""
    name, colon, _ = arm.rpartition(":")
    candidates = [f"{name}:{baseline}"] if colon else []
    candidates += [baseline, *(f"{cell.experiment}:{baseline}" for cell in results.shown if cell.arm == arm)]
    return next((candidate for candidate in candidates if candidate in results.arms), None)


def estimate(samples: Sequence[Array], num_resamples: int = NUM_RESAMPLES, lowest: float = 0.0) -> list[Estimate]:
    """Return mean, interval and spread of each of these samples [seeds], which may have different numbers of seeds.

    An interval ends where values do: at `lowest` (0 of a score, -1 of a difference) and 1. Fewer than
    MIN_INTERVAL_SEEDS have none.
    """
    estimates = [Estimate()] * len(samples)
    for indices, stacked in _by_length(samples):
        low, high = (np.clip(end, lowest, 1.0) for end in seed_interval(stacked, num_resamples=num_resamples))
        several = stacked.shape[1] > 1
        spreads = stacked.std(axis=1, ddof=1) if several else np.full(len(stacked), np.nan)
        for row, index in enumerate(indices):
            ends = _known(low[row]), _known(high[row])
            estimates[index] = Estimate(float(stacked[row].mean()), *ends, spread=_known(spreads[row]))
    return estimates


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _test(pairings: Sequence[Pairing]) -> list[_Test]:
    """Return what is said of each pairing; nothing of one without pairs."""
    tests = [_Test()] * len(pairings)
    for indices, means in _by_length([one.means for one in pairings]):
        p_values, detectable = sign_flip(means), smallest_detectable(means)
        for index, p_value, size in zip(indices, p_values, detectable, strict=True):
            low, high = np.clip(crossed_interval(pairings[index].differences), -1.0, 1.0)
            tests[index] = _Test(float(low), float(high), float(p_value), float(size))
    return tests


def _by_length(samples: Sequence[Array]) -> Iterator[tuple[list[int], Array]]:
    """Yield the indices of the samples of each size, and these stacked [cells, seeds]; empty ones are left out."""
    indices: dict[int, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        indices[len(sample)].append(index)
    for size, alike in sorted(indices.items()):
        if size:
            yield alike, np.stack([samples[index] for index in alike])


def _table_rows(results: Results) -> Iterator[tuple[str, list[Cell]]]:
    """Yield target group and cells of each row, by source set, in the arms' order."""
    order = {arm: index for index, arm in enumerate(results.arms)}
    for source_set in results.source_sets:
        cells = sorted((c for c in results.shown if c.source_set == source_set), key=lambda cell: order[cell.arm])
        for group in results.groups:
            if results.language_indices(group, source_set):
                yield group, cells
