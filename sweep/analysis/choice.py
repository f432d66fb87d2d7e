"""One configuration out of many: the best for a purpose, and two compared seed by seed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from sweep.analysis.results import Cell, Results
from sweep.analysis.rows import table_of
from sweep.analysis.statistics import Array
from sweep.analysis.tables import compare_pairs, pair
from sweep.records.ranking import Candidate, rank_candidates
from sweep.records.states import State
from xpe_core.errors import InputError
from xpe_core.lists import split_list
from xpe_core.validation import nearest

IDENTIFIER = re.compile(r"[0-9a-f]{4,16}")
"""A config_id or run_id, or its first digits."""


@dataclass(frozen=True)
class RankedRow:
    """A finished configuration, as it is ranked."""

    config_id: str
    experiment: str
    arm: str
    source_set: str
    method: str
    num_seeds: int
    """Complete runs."""
    num_failed: int
    score: float
    """In [0, 1]."""


def parse_weights(text: str, groups: Sequence[str]) -> dict[str, float]:
    """Return the weights of `low_performing=2,seen_without_joshi5=1`, or of a group alone; InputError for others."""
    weights: dict[str, float] = {}
    for part in split_list(text):
        name, equals, number = (side.strip() for side in part.partition("="))
        if name not in groups:
            raise InputError(f"--for {text}: {nearest(name, groups).replace('key', 'group', 1)}")
        try:
            weights[name] = float(number) if equals else 1.0
        except ValueError:
            weights[name] = np.nan
        if not 0 <= weights[name] < np.inf:
            raise InputError(f"--for {text}: the weight of {name} must be a number from 0 on, not {number!r}")
    if not sum(weights.values()):
        raise InputError(f"--for {text}: some weight must be above 0")
    return weights


def rank(results: Results, weights: Mapping[str, float] | None = None, method: str | None = None) -> pl.DataFrame:
    """Return the finished configurations, the best first, as `ranking.rank_candidates` judges them.

    A `RankedRow` each. Its score is the selection accuracy, or with `weights` the weighted mean of the test scores of
    target groups.
    """
    names = [one.name for one in results.experiments]
    cells = sorted(results.cells, key=lambda cell: (names.index(cell.experiment), cell.first_trial))
    candidates = [
        Candidate(cell, tuple(_scores(results, cell, weights)), cell.states[State.FAILED])
        for cell in cells
        if method in (None, cell.method)
    ]
    return table_of(RankedRow, [_row(candidate) for candidate in rank_candidates(candidates)])


def _row(candidate: Candidate[Cell]) -> RankedRow:
    cell, num_failed = candidate.subject, candidate.num_failed
    kind = cell.config_id, cell.experiment, cell.arm, cell.source_set, cell.method
    return RankedRow(*kind, num_seeds=len(cell.seeds), num_failed=num_failed, score=candidate.score)


def _scores(results: Results, cell: Cell, weights: Mapping[str, float] | None) -> Array:
    """Return the score of each complete seed; none where a group of `weights` cannot be averaged."""
    if weights is None:
        return cell.selection_scores
    if any(results.differs(cell, group) for group in weights):
        return np.empty(0)
    sums = [weight * results.group_means(cell, group) for group, weight in weights.items()]
    return np.asarray(np.sum(sums, axis=0) / sum(weights.values()))


def find_cells(results: Results, name: str) -> list[Cell]:
    """Return the cells that `name` stands for, a single run as a cell of one seed; InputError where it is no one's.

    `name` is an arm, an experiment (all its arms; of a search its best configuration), `EXPERIMENT:arm`, or the first
    digits of a config_id or run_id, also behind `EXPERIMENT:`.
    """
    if cells := _find(results, name):
        return cells
    raise _unknown(name, [one.name for one in results.experiments], results.arms)


def find_experiments_of(each: Sequence[Results], first: str, second: str) -> list[str]:
    """Return which experiments two names are compared in, out of several that were read one by one.

    Where one experiment has both names, it is this one; else each has its own. InputError where a name is no one's, or
    stands for several experiments.
    """
    homes = []
    for name in (first, second):
        experiments = [results.experiments[0].name for results in each]
        named = [one for one in (name, name.rpartition(":")[0]) if one in experiments][:1]
        by_content = [results.experiments[0].name for results in each if not named and _find(results, name)]
        if not named and not by_content:
            raise _unknown(name, experiments, [arm for results in each for arm in results.arms])
        homes.append(named or by_content)
    return list(dict.fromkeys(_choose_homes((first, second), homes)))


def compare(results: Results, first: str, second: str, groups: Sequence[str] | None = None) -> pl.DataFrame:
    """Return the paired difference `first` - `second`, by source set and target group (all, or those of `groups`).

    Columns as those of `tables.differences`; `arm` and `baseline` are the two. Of names that stand for several
    experiments' arms, those of the one experiment that has both are meant. Where both have one cell each, on different
    source sets, these are compared, and `source_set` names both. Holm's correction is over all rows. InputError where
    there is nothing to compare.
    """
    names, both = (first, second), (find_cells(results, first), find_cells(results, second))
    homes = _choose_homes(names, [list(dict.fromkeys(cell.experiment for cell in cells)) for cells in both])
    ones, others = ([c for c in cells if c.experiment == home] for cells, home in zip(both, homes, strict=True))
    couples = _couples(names, ones, others)
    pairings = [pair(results, one, other, group) for one, other in couples for group in groups or results.groups]
    if not any(pairing.differences.size for pairing in pairings):
        notes = dict.fromkeys(f"{pairing.arm} - {pairing.baseline}: {pairing.note}" for pairing in pairings)
        raise InputError(
            f"compare {first} {second}: nothing can be compared: {'; '.join(notes) or 'no run is complete'}"
        )
    return compare_pairs(pairings)


def _find(results: Results, name: str) -> list[Cell]:
    """Return the cells that a name stands for, none where it is no one's."""
    experiment, colon, rest = name.rpartition(":")
    for cells, wanted in (
        (results.cells, name),
        ([cell for cell in results.cells if colon and cell.experiment == experiment], rest),
    ):
        if matching := [cell for cell in cells if wanted in (cell.arm, _bare(cell))]:
            return matching
        if matching := [cell for cell in cells if not colon and cell.experiment == wanted]:
            is_search = any(one.name == wanted and one.sweep.kind == "search" for one in results.experiments)
            best = rank(replace(results, cells=tuple(matching))) if is_search else None
            chosen = None if best is None else best["config_id"].to_list()[:1]
            return [cell for cell in matching if cell.shown] if chosen is None else _of_config(matching, chosen)
        if IDENTIFIER.fullmatch(wanted) and (matching := _by_digits(cells, wanted)):
            return matching
    return []


def _unknown(name: str, experiments: Sequence[str], arms: Sequence[str]) -> InputError:
    known = ", ".join(list(dict.fromkeys([*experiments, *arms]))[:12])
    return InputError(f"{name!r} is no experiment, arm, EXPERIMENT:arm, config_id or run_id here; there are {known}")


def _choose_homes(names: Sequence[str], homes: Sequence[Sequence[str]]) -> tuple[str, str]:
    """Return which of its experiments each of two names means; InputError where that is not clear."""
    common = [home for home in homes[0] if home in homes[1]]
    if len(common) == 1:
        return common[0], common[0]
    for name, own in zip(names, homes, strict=True):
        if len(own) > 1:
            raise InputError(
                f"compare {' '.join(names)}: {name} is in {', '.join(own)}: say which, such as {own[0]}:{name}"
            )
    return homes[0][0], homes[1][0]


def _couples(names: Sequence[str], ones: Sequence[Cell], others: Sequence[Cell]) -> list[tuple[Cell, Cell]]:
    """Return which cells are compared: on the same source set those of one arm each, of one name, or else of one
    configuration. InputError where there are none, or they are the same.
    """
    on_same = [(one, other) for one in ones for other in others if one.source_set == other.source_set]
    one_arm_each = all(len({cell.arm for cell in cells}) == 1 for cells in (ones, others))
    couples = [(one, other) for one, other in on_same if one_arm_each or _bare(one) == _bare(other)]
    couples = couples or [(one, other) for one, other in on_same if one.config_id == other.config_id]
    if not couples and len(ones) == len(others) == 1:
        couples = [(ones[0], others[0])]
    if not couples:
        have = [
            f"{name} has {', '.join(dict.fromkeys(f'{cell.arm} on {cell.source_set}' for cell in cells)) or 'nothing'}"
            for name, cells in zip(names, (ones, others), strict=True)
        ]
        raise InputError(f"compare {' '.join(names)}: no arm and source set is in both: {'; '.join(have)}")
    different = [
        (one, other) for one, other in couples if (one.experiment, one.config_id) != (other.experiment, other.config_id)
    ]
    if not different:
        raise InputError(f"compare {' '.join(names)}: they are the same configuration of {couples[0][0].experiment}")
    return different


def _bare(cell: Cell) -> str:
    """Return a cell's arm without its experiment."""
    return cell.arm.rpartition(":")[2]


def _of_config(cells: Sequence[Cell], config_ids: Sequence[str]) -> list[Cell]:
    return [cell for cell in cells if cell.config_id in config_ids]


def _by_digits(cells: Sequence[Cell], digits: str) -> list[Cell]:
    """Return the cell whose config_id begins so, or the one run of a cell whose run_id does."""
    configurations = [cell for cell in cells if cell.config_id.startswith(digits)]
    runs = [
        replace(
            cell,
            arm=f"{cell.arm} seed {seed}",
            seeds=(seed,),
            scores=cell.scores[index : index + 1],
            selection_scores=cell.selection_scores[index : index + 1],
            foreign={one: codes for one, codes in cell.foreign.items() if one == seed},
            resized={one: codes for one, codes in cell.resized.items() if one == seed},
            disputed=tuple(one for one in cell.disputed if one == seed),
        )
        for cell in cells
        for index, seed in enumerate(cell.seeds)
        if cell.config.with_seed(seed).run_id.startswith(digits)
    ]
    if len(configurations) + len(runs) > 1:
        ids = [cell.config_id for cell in configurations] + [
            cell.config.with_seed(cell.seeds[0]).run_id for cell in runs
        ]
        raise InputError(f"{digits!r} could be {', '.join(ids[:5])}; give more digits")
    return configurations + runs
