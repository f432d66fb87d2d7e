"""What one or several experiments hold, on the same languages.

A *cell* is a configuration with all its runs: of a grid an arm on a source set, of a search one configuration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl

from sweep.analysis.statistics import Array
from sweep.analysis.targets import TableRows
from sweep.experiment.config import SweepConfig
from sweep.experiment.panels import AskedPanel
from sweep.experiment.study import Study, name_default
from sweep.records.states import State
from sweep.storage import Folder
from xpe_core.config import RunConfig
from xpe_core.tasks import TASKS
from xpe_core.tasks.metrics import title_of
from xpe_core.tunings import METHOD_NAMES

UNFINISHED = State.UNFINISHED
"""A run that is asked for and has no row yet, beside the states of the table `runs`."""
NOT_PROPOSED = 2**62
"""The trial number of what no trial has proposed yet: after all others."""


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
    scores: Array
    """Test scores in [0, 1] of the complete runs [seeds, languages of the results]; NaN where a run has none."""
    states: dict[str, int]
    """How many runs are complete, failed, pruned, unfinished."""
    selection_scores: Array
    """Of the complete runs [seeds]: validation accuracy on what the experiment chooses by."""
    foreign: dict[int, tuple[str, ...]]
    """Languages that most other runs do not have, by the seed that has them."""
    disputed: tuple[int, ...]
    """Seeds whose rows stand twice with different numbers."""
    resized: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """Languages that a run was tested on with another number of examples than most, by its seed: NaN there."""
    num_tried: int = 1
    """Of a search: how many configurations of this method and source set were proposed."""
    first_trial: int = 0
    """The number of the trial that proposed it; NOT_PROPOSED where there is none."""

    @property
    def config_id(self) -> str:
        """The configuration's id."""
        return self.config.config_id

    def differs(self, indices: Sequence[int], languages: Sequence[str], foreign: frozenset[str]) -> str | None:
        """Return what is wrong with the cell's numbers at these indices of `languages`; None where nothing is.

        `foreign` are languages that do not belong there, because most runs do not have them.
        """
        missing: dict[int, list[str]] = {}
        resized: dict[int, list[str]] = {}
        for seed, row in zip(self.seeds, np.isnan(self.scores), strict=True):
            codes = [languages[index] for index in indices if row[index]]
            resized[seed] = [code for code in codes if code in self.resized.get(seed, ())]
            missing[seed] = [code for code in codes if code not in resized[seed]]
        more = {seed: sorted(foreign.intersection(codes)) for seed, codes in self.foreign.items()}
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
    study: Study | None = None
    """Where the runs on fresh seeds of a study are meant: the study. `sweep` is then a grid of its arms."""

    panel: AskedPanel | None = None
    """Where one of several backbones or data sets is meant: which. `sweep` has its arms alone."""

    @property
    def name(self) -> str:
        """The folder's name, and the panel's behind it where there are several."""
        return self.folder.name if self.panel is None else f"{self.folder.name}/{self.panel.name}"

    def holds(self, config: RunConfig) -> bool:
        """Whether a configuration of its folder is one of its own."""
        return self.panel is None or config.panel == self.panel.key


@dataclass(frozen=True)
class Results:
    """What several experiments hold, on the same languages."""

    experiments: tuple[Experiment, ...]
    rows: TableRows
    """What rows average over, by source set."""
    languages: tuple[str, ...]
    """Tested languages, those of most runs; what other runs have more or less is a problem."""
    cells: tuple[Cell, ...]
    foreign: frozenset[str]
    """Languages that only some runs were tested on; a cell with one in a group is not averaged over the group."""
    problems: pl.DataFrame
    """experiment, arm, source_set (null: all), problem: one sentence each."""
    most_frequent: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    """By language: the share of its most frequent class in the test, and of how many examples; where it is known."""
    metric: str = "accuracy"
    """What the runs are scored by in the tables."""

    @property
    def metric_title(self) -> str:
        """What people call the metric."""
        return title_of(self.metric)

    @property
    def chosen_by(self) -> str:
        """What people call the metric that configurations are chosen by on validation examples: the task's first."""
        return title_of(TASKS[self.experiments[0].sweep.corners[0].task].metrics[0])

    @property
    def shown(self) -> list[Cell]:
        """The cells that are in the tables."""
        return [cell for cell in self.cells if cell.shown]

    @property
    def arms(self) -> list[str]:
        """The tables' columns, in the experiments' order; of a search SPT, XPE and DUAL, whichever came first."""
        names = [one.name for one in self.experiments]

        def order(cell: Cell) -> tuple[int, int]:
            return names.index(cell.experiment), list(METHOD_NAMES).index(cell.method) if self.is_searched(cell) else 0

        return list(dict.fromkeys(cell.arm for cell in sorted(self.shown, key=order)))

    def is_searched(self, cell: Cell) -> bool:
        """Whether a cell's seeds are those of a search."""
        return any(one.name == cell.experiment and one.sweep.kind == "search" for one in self.experiments)

    def is_answer(self, arm: str) -> bool:
        """Whether an arm may be the answer: of a study, not a default setting beside its method's winner."""
        study = self.experiments[0].study if len(self.experiments) == 1 else None
        return study is None or arm in study.methods or arm not in map(name_default, study.methods)

    @property
    def chosen_arms(self) -> dict[str, int]:
        """Arms that a search chose by the seeds that are in the tables, and out of how many configurations."""
        return {cell.arm: cell.num_tried for cell in self.shown if cell.num_tried > 1}

    @property
    def source_sets(self) -> list[str]:
        """The source sets, in the experiments' order."""
        return list(dict.fromkeys(cell.source_set for cell in self.shown))

    @property
    def exclude(self) -> str:
        """The exclusion set, as `--exclude` takes it: its languages are in no row."""
        return self.rows.name

    @property
    def excluded(self) -> frozenset[str]:
        """The languages that are in no row."""
        return self.rows.excluded

    @cached_property
    def groups(self) -> dict[str, list[int]]:
        """The rows that have a language here, with the indices of their languages in any source set's."""
        by_group: dict[str, set[int]] = {}
        for groups in self._indices.values():
            for group, indices in groups.items():
                by_group.setdefault(group, set()).update(indices)
        return {group: sorted(indices) for group, indices in by_group.items()}

    @cached_property
    def _indices(self) -> dict[str, dict[str, list[int]]]:
        """The indices of each row's languages, by source set."""
        return {
            source_set: {
                group: [self.languages.index(code) for code in codes]
                for group, codes in self.rows.groups(source_set, self.languages).items()
            }
            for source_set in dict.fromkeys(cell.source_set for cell in self.cells)
        }

    @property
    def broadest_group(self) -> str:
        """The target group with most languages, of equal ones the first."""
        return max(self.groups, key=lambda group: len(self.groups[group]))

    def language_indices(self, group: str, source_set: str) -> list[int]:
        """Return the indices of the languages that a row of a source set averages; none where it has no such row."""
        return self._indices.get(source_set, {}).get(group, [])

    def group_means(self, cell: Cell, group: str) -> Array:
        """Return the mean score over a group's languages, each weighing the same, of every complete seed [seeds].

        Empty where it would be a mean over other languages: `differs` says why.
        """
        values = self.group_scores(cell, group)
        means: Array = values.mean(axis=1) if values.size else np.empty(0)
        return means

    def group_scores(self, cell: Cell, group: str) -> Array:
        """Return the scores on a group's languages of every complete seed [seeds, languages]; empty where a mean of
        them would be one over other languages.
        """
        if self.differs(cell, group) is not None:
            return np.empty((0, 0))
        return cell.scores[:, self.language_indices(group, cell.source_set)]

    def differs(self, cell: Cell, group: str) -> str | None:
        """Return what is wrong with a cell's numbers for a group; None where nothing is."""
        indices = self.language_indices(group, cell.source_set)
        if not indices:
            return "its source set trains on all of these languages"
        foreign = frozenset(self.rows.groups(cell.source_set, sorted(self.foreign)).get(group, ()))
        return cell.differs(indices, self.languages, foreign)

    @property
    def trained_on_targets(self) -> dict[str, int]:
        """How many languages of its rows each source set trains on, where it does: they are not zero-shot there."""
        counts = {
            name: len((self.rows.trained[name] & set(self.languages)) - self.rows.exclusions[name].languages)
            for name in self.source_sets
        }
        return {name: count for name, count in counts.items() if count}

    @property
    def left_out(self) -> list[str]:
        """Sentences on which tested languages are in no row, and why."""
        return self.rows.explain(self.languages)


def means_of_complete(scores: Array) -> Array:
    """Return the means over languages of the seeds that have them all, from scores [seeds, languages]."""
    means: Array = scores[~np.isnan(scores).any(axis=1)].mean(axis=1)
    return means


def _by_seeds(by_seed: Mapping[int, Sequence[str]]) -> dict[tuple[int, ...], list[str]]:
    """Return which languages the same seeds have in common, out of the languages of each seed."""
    seeds: dict[str, list[int]] = {}
    for seed in sorted(by_seed):
        for code in by_seed[seed]:
            seeds.setdefault(code, []).append(seed)
    by_seeds: dict[tuple[int, ...], list[str]] = {}
    for code in sorted(seeds):
        by_seeds.setdefault(tuple(seeds[code]), []).append(code)
    return by_seeds


def _shorten(codes: Sequence[str], limit: int = 3) -> str:
    return ", ".join(codes[:limit]) + (f" and {len(codes) - limit} more" if len(codes) > limit else "")


def _name_seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
