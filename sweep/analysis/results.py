"""What one or several experiments hold, on the same languages.

A *cell* is a configuration with all its runs: of a grid an arm on a source set, of a search one configuration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl

from sweep.analysis.configurations import ALL_TARGETS
from sweep.analysis.statistics import Array
from sweep.config import UNKNOWN_SOURCES, SweepConfig
from sweep.storage import Folder
from xpe_core.config import METHODS, RunConfig
from xpe_core.languages import GROUPS, load_languages, resolve_languages

UNFINISHED = "unfinished"
"""A run that is asked for and has no row yet, beside the states of the table `runs`."""
NO_EXCLUSION = "none"


@dataclass(frozen=True)
class Cell:
    """A configuration with its runs."""

    experiment: str
    arm: str
    """The name of its column: the arm, a search's method, or `NAME:arm` where several experiments have such a one."""
    source_set: str
    method: str
    config: RunConfig
    shown: bool
    """Whether it is in the tables; of a search only the best configuration of each method and source set is."""
    seeds: tuple[int, ...]
    """Of the complete runs, ascending."""
    accuracies: Array
    """Test accuracy in [0, 1] of the complete runs [seeds, languages of the results]; NaN where a run has none."""
    states: dict[str, int]
    """How many runs are complete, failed, pruned, unfinished."""
    selection_accuracies: Array
    """Of the complete runs [seeds]: validation accuracy on what the experiment chooses by."""
    foreign: dict[int, tuple[str, ...]]
    """Languages that most other runs do not have, by the seed that has them."""
    disputed: tuple[int, ...]
    """Seeds whose rows stand twice with different numbers."""
    resized: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """Languages that a run was tested on with another number of examples than most, by its seed: NaN there."""
    num_tried: int = 1
    """Of a search: how many configurations of this method and source set were proposed."""

    @property
    def config_id(self) -> str:
        """The configuration's id."""
        return self.config.config_id

    def differs(self, places: Sequence[int], languages: Sequence[str], foreign: frozenset[str]) -> str | None:
        """Return what is wrong with the cell's numbers at these places of `languages`; None where nothing is.

        `foreign` are languages that do not belong there, because most runs do not have them.
        """
        missing: dict[int, list[str]] = {}
        resized: dict[int, list[str]] = {}
        for seed, row in zip(self.seeds, np.isnan(self.accuracies), strict=True):
            codes = [languages[place] for place in places if row[place]]
            resized[seed] = [code for code in codes if code in self.resized.get(seed, ())]
            missing[seed] = [code for code in codes if code not in resized[seed]]
        more = {seed: sorted(foreign.intersection(found)) for seed, found in self.foreign.items()}
        parts = [
            f"{_shorten(codes)} {what} {_name_seeds(seeds)}"
            for what, by_seed in (
                ("missing in", missing),
                ("only in", more),
                ("tested on another number of examples than most in", resized),
            )
            for seeds, codes in _by_seeds(by_seed).items()
        ]
        if self.disputed:
            parts.append(f"rows of {_name_seeds(self.disputed)} stand twice with different numbers")
        return "; ".join(parts) or None


@dataclass(frozen=True)
class Experiment:
    """An experiment's folder and what it was asked for."""

    folder: Folder
    sweep: SweepConfig
    fingerprints: Mapping[str, str]
    """Of backbone and data, as its driver found them."""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name


@dataclass(frozen=True)
class Results:
    """What several experiments hold, on the same languages."""

    experiments: tuple[Experiment, ...]
    exclude: str
    """The exclusion set: its languages are in no target group."""
    languages: tuple[str, ...]
    """Tested languages, those of most runs; what other runs have more or less is a problem."""
    cells: tuple[Cell, ...]
    foreign: frozenset[str]
    """Languages that only some runs were tested on; a cell with one in a group is not averaged over the group."""
    problems: pl.DataFrame
    """experiment, arm, source_set (null: all), problem: one sentence each."""
    most_frequent: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    """By language: the share of its most frequent class in the test, and of how many examples; where it is known."""

    @property
    def shown(self) -> list[Cell]:
        """The cells that are in the tables."""
        return [cell for cell in self.cells if cell.shown]

    @property
    def arms(self) -> list[str]:
        """The tables' columns, in the experiments' order; of a search SPT, XPE and DUAL, whichever came first."""
        names = [one.name for one in self.experiments]

        def place(cell: Cell) -> tuple[int, int]:
            return names.index(cell.experiment), METHODS.index(cell.method) if self.is_searched(cell) else 0

        return list(dict.fromkeys(cell.arm for cell in sorted(self.shown, key=place)))

    def is_searched(self, cell: Cell) -> bool:
        """Whether a cell's seeds are those of a search."""
        return any(one.name == cell.experiment and one.sweep.kind == "search" for one in self.experiments)

    @property
    def chosen_arms(self) -> dict[str, int]:
        """Arms that a search chose by the seeds that are in the tables, and out of how many configurations."""
        return {cell.arm: cell.num_tried for cell in self.shown if cell.num_tried > 1}

    @property
    def source_sets(self) -> list[str]:
        """The source sets, in the experiments' order."""
        return list(dict.fromkeys(cell.source_set for cell in self.shown))

    @cached_property
    def excluded(self) -> frozenset[str]:
        """The languages of the exclusion set."""
        return frozenset() if self.exclude == NO_EXCLUSION else frozenset(resolve_languages(self.exclude))

    @cached_property
    def groups(self) -> dict[str, list[int]]:
        """The target groups that have a language here, with the places of their languages."""
        return {
            group: places
            for group, codes in target_groups(self.languages, self.exclude).items()
            if (places := [self.languages.index(code) for code in codes])
        }

    @property
    def broadest_group(self) -> str:
        """The target group with most languages, of equal ones the first."""
        return max(self.groups, key=lambda group: len(self.groups[group]))

    def differs(self, cell: Cell, group: str) -> str | None:
        """Return what is wrong with a cell's numbers for a group; None where nothing is."""
        foreign = frozenset(target_groups(sorted(self.foreign), self.exclude).get(group, ()))
        return cell.differs(self.groups[group], self.languages, foreign)

    @property
    def trained_on_targets(self) -> dict[str, int]:
        """How many target languages each source set trains on, where it does: they are not zero-shot there."""
        targets = set(self.languages) - self.excluded
        counts = {name: len(targets & _sources(name, self.languages)) for name in self.source_sets}
        return {name: count for name, count in counts.items() if count}


def target_groups(languages: Sequence[str], exclude: str = "joshi5") -> dict[str, tuple[str, ...]]:
    """Return the target groups of a table with which of `languages` are in them; the exclusion set's are in none.

    The groups are those of arXiv:2508.10352, table 1: low-performing, unseen, seen, all. Languages that the language
    table does not know are in none of these, but in `all_targets`, which is there where there are such languages.
    """
    excluded = set() if exclude == NO_EXCLUSION else set(resolve_languages(exclude))
    suffix = "" if exclude == NO_EXCLUSION else f"_without_{exclude}"
    names = {
        "low_performing": "low_performing",
        "unseen": "unseen",
        f"seen{suffix}": "xlmr_seen",
        f"all{suffix}": "all",
    }
    known = {language.code: language for language in load_languages()}
    groups = {
        name: tuple(c for c in languages if c in known and c not in excluded and GROUPS[rule](known[c]))
        for name, rule in names.items()
    }
    if not set(languages) <= known.keys():
        groups[ALL_TARGETS] = tuple(code for code in languages if code not in excluded)
    return groups


def _sources(source_set: str, available: Sequence[str]) -> set[str]:
    """Return the languages of a source set that the language table knows."""
    if source_set == UNKNOWN_SOURCES:
        return set()
    known = [name for name in source_set.split(",") if name not in available]
    return {name for name in source_set.split(",") if name in available} | (
        set(resolve_languages(known)) if known else set()
    )


def _by_seeds(by_seed: Mapping[int, Sequence[str]]) -> dict[tuple[int, ...], list[str]]:
    """Return which languages the same seeds have in common, out of the languages of each seed."""
    seeds: dict[str, list[int]] = {}
    for seed in sorted(by_seed):
        for code in by_seed[seed]:
            seeds.setdefault(code, []).append(seed)
    found: dict[tuple[int, ...], list[str]] = {}
    for code in sorted(seeds):
        found.setdefault(tuple(seeds[code]), []).append(code)
    return found


def _shorten(codes: Sequence[str], limit: int = 3) -> str:
    return ", ".join(codes[:limit]) + (f" and {len(codes) - limit} more" if len(codes) > limit else "")


def _name_seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
