"""Supervised transfer: what a target's own examples add to zero-shot transfer, and what the source set adds to them.

All is paired by seed: a run that was trained further is compared with the run it started from, and with the run of the
same seed that was trained on the target alone. Scores are in [0, 1].
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from sweep.analysis.metrics import of_metric
from sweep.analysis.per_language import NUM_RESAMPLES
from sweep.analysis.results import Experiment, Results
from sweep.analysis.rows import table_of
from sweep.analysis.score_tables import RUN, read_tables
from sweep.analysis.statistics import MIN_SEEDS, Array, holm, sign_flip
from sweep.analysis.tables import estimate
from sweep.experiment.transfer import Transfer
from sweep.records.further import FurtherCell, list_cells
from sweep.records.runs import RunKey
from sweep.records.states import State

Scores = Mapping[tuple[str, str], float]
"""Test scores of complete runs, by run_id and language."""


@dataclass(frozen=True)
class TransferRow:
    """An arm on a source set, trained further on a target, or the mean over all targets."""

    experiment: str
    source_set: str
    arm: str
    language: str | None
    """The target; null: the mean over the targets."""
    max_train_examples: int | None
    """Of the target; null: all."""
    num_languages: int
    num_seeds: int
    """Seeds that are complete, both on the source set and on every target of the row."""
    num_failed: int
    num_unfinished: int
    """Runs on these targets that have no row yet."""
    zero_shot: float | None
    """Before, of the same seeds."""
    score: float | None
    low: float | None
    high: float | None
    """95 % interval over seeds: `statistics.seed_interval`."""
    difference: float | None
    """To zero-shot, paired by seed."""
    difference_low: float | None
    difference_high: float | None
    difference_p_holm: float | None
    """Of the exact sign-flip test over seeds, corrected for all tests of the table, those of `gain` included."""
    num_scratch_seeds: int
    """Seeds that are complete here and from new weights."""
    scratch: float | None
    """Trained on the target alone, from new weights."""
    scratch_low: float | None
    scratch_high: float | None
    gain: float | None
    """Over `scratch`, paired by seed: what the source set adds."""
    gain_low: float | None
    gain_high: float | None
    gain_p_holm: float | None


@dataclass(frozen=True)
class _Place:
    """A row, and which runs it is made of."""

    experiment: str
    source_set: str
    cell: FurtherCell
    scratch: Mapping[RunKey, str]
    """The ids of the runs from new weights."""
    languages: tuple[str, ...]
    is_mean: bool


def transfer_table(results: Results) -> pl.DataFrame:
    """Return supervised beside zero-shot scores, a `TransferRow` a source set, arm, target and number of examples.

    Targets are those of which a run has ended. Where there are several, the first rows of an arm are their mean.
    """
    experiments = [one for one in results.experiments if one.sweep.kind == "transfer"]
    if not experiments:
        return table_of(TransferRow, [])
    runs, scores = _read(experiments, results.metric)
    states = {run_id: state for run_id, state in runs.select("run_id", "state").iter_rows()}
    places = [place for one in experiments for place in _find_places(one, runs)]
    samples = [_sample(place, scores) for place in places]
    firsts = [(own, own - before) for before, own, _ in samples]
    lasts = [(scratch, own - scratch) for *_, (own, scratch) in samples]
    own, scratch = (estimate([pair[0] for pair in pairs], NUM_RESAMPLES) for pairs in (firsts, lasts))
    change, gain = (estimate([pair[1] for pair in pairs], NUM_RESAMPLES, lowest=-1.0) for pairs in (firsts, lasts))
    p_values = _correct([pair[1] for pair in (*firsts, *lasts)])
    rows = []
    for index, (place, (before, *_)) in enumerate(zip(places, samples, strict=True)):
        asked = [place.cell.run_ids[key] for key in place.cell.keys if key.adapted_to in place.languages]
        rows.append(
            TransferRow(
                experiment=place.experiment,
                source_set=place.source_set,
                arm=place.cell.arm,
                language=None if place.is_mean else place.languages[0],
                max_train_examples=place.cell.max_train_examples,
                num_languages=len(place.languages),
                num_seeds=len(before),
                num_failed=sum(states.get(run_id) == State.FAILED for run_id in asked),
                num_unfinished=sum(run_id not in states for run_id in asked),
                zero_shot=float(before.mean()) if len(before) else None,
                score=own[index].mean,
                low=own[index].low,
                high=own[index].high,
                difference=change[index].mean,
                difference_low=change[index].low,
                difference_high=change[index].high,
                difference_p_holm=p_values[index],
                num_scratch_seeds=len(lasts[index][0]),
                scratch=scratch[index].mean,
                scratch_low=scratch[index].low,
                scratch_high=scratch[index].high,
                gain=gain[index].mean,
                gain_low=gain[index].low,
                gain_high=gain[index].high,
                gain_p_holm=p_values[len(places) + index],
            )
        )
    return table_of(TransferRow, rows)


def _read(experiments: Sequence[Experiment], metric: str) -> tuple[pl.DataFrame, Scores]:
    """Return the runs of experiments, and the test scores of the complete ones."""
    runs = read_tables(experiments, "runs").unique(RUN, keep="first", maintain_order=True)
    complete = runs.filter(pl.col("state") == State.COMPLETE).select(RUN)
    rows = of_metric(read_tables(experiments, "evaluations").filter(pl.col("split") == "test"), metric)
    tested = rows.join(complete, on=RUN, how="semi").select("run_id", "language", "score")
    return runs, {(run_id, language): score for run_id, language, score in tested.iter_rows()}


def _find_places(one: Experiment, runs: pl.DataFrame) -> Iterator[_Place]:
    """Yield the rows of an experiment: of each arm on a source set the mean over targets, then target by target."""
    sweep = one.sweep
    assert isinstance(sweep, Transfer)
    own = runs.filter((pl.col("experiment") == one.name) & pl.col("adapted_to").is_not_null())
    languages = tuple(own["adapted_to"].unique().sort())
    if not languages:
        return
    cells = list_cells(sweep, languages)
    anew = {cell.config.config_id: cell.run_ids for cell in cells if cell.parent is None}
    last = float("inf")
    ordered = sorted(
        (cell for cell in cells if cell.parent is not None),
        key=lambda cell: (sweep.used_source_sets.index(cell.config.data.source_set), list(sweep.arms).index(cell.arm)),
    )
    by_arm: dict[tuple[str, str], list[FurtherCell]] = {}
    for cell in ordered:
        by_arm.setdefault((cell.config.data.source_set, cell.arm), []).append(cell)
    for (source_set, _), of_arm in by_arm.items():
        name = sweep.name_source_set(source_set)
        of_arm.sort(key=lambda cell: cell.max_train_examples or last)
        for targets in ([languages] if len(languages) > 1 else []) + [(language,) for language in languages]:
            for cell in of_arm:
                scratch = _find_scratch(sweep, cell, anew) if sweep.targets.from_scratch else {}
                yield _Place(one.name, name, cell, scratch, targets, targets == languages and len(languages) > 1)


def _find_scratch(sweep: Transfer, cell: FurtherCell, anew: Mapping[str, Mapping[RunKey, str]]) -> Mapping[RunKey, str]:
    """Return the ids of the runs from new weights that a cell is compared with."""
    assert cell.parent is not None
    found: dict[RunKey, str] = {}
    for language in cell.languages:
        config = sweep.start_anew(cell.arm, cell.parent, cell.max_train_examples, language)
        found |= anew[config.config_id]
    return found


def _sample(place: _Place, scores: Scores) -> tuple[Array, Array, tuple[Array, Array]]:
    """Return a row's means over its targets, a seed each: before, after, and after with those from new weights."""
    before, after, scratch = ([] for _ in range(3))
    for seed in place.cell.seeds:
        keys = [place.cell.key(seed, language) for language in place.languages]
        before.append(_mean(scores, ((key.parent_run_id, key.adapted_to) for key in keys)))
        after.append(_mean(scores, ((place.cell.run_ids[key], key.adapted_to) for key in keys)))
        alone = [RunKey(seed, language) for language in place.languages]
        scratch.append(_mean(scores, ((place.scratch.get(key), key.adapted_to) for key in alone)))
    own, zero_shot, anew = np.array(after), np.array(before), np.array(scratch)
    both, also = ~np.isnan(own) & ~np.isnan(zero_shot), ~np.isnan(own) & ~np.isnan(anew)
    return zero_shot[both], own[both], (own[also], anew[also])


def _correct(samples: Sequence[Array]) -> list[float | None]:
    """Return Holm's p-values of paired differences [seeds] each; None where so few seeds could show nothing."""
    tested = [float(sign_flip(one[None])[0]) if len(one) >= MIN_SEEDS else np.nan for one in samples]
    return [None if np.isnan(p) else float(p) for p in holm(np.array(tested))]


def _mean(scores: Scores, keys: Iterator[tuple[str | None, str | None]]) -> float:
    """Return the mean of scores; NaN where one is missing."""
    return float(np.mean([scores.get((run_id or "", language or ""), np.nan) for run_id, language in keys]))
