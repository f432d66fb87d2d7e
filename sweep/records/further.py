"""The second stage of supervised transfer: which runs there are, from which runs they start, and which train together.

A run that starts from another one has this one's id in its own, since two configurations may differ in nothing but how
they were trained on the source set.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from sweep.experiment.transfer import Transfer
from sweep.records.runs import RunKey
from xpe_core.config import RunConfig
from xpe_core.tunings import is_alone

LEAST_PACK = 10
"""Runs that train together, of several targets where there are fewer seeds; `seeds_per_trial` says otherwise."""


TargetSizes: TypeAlias = Mapping[tuple[int, int], Mapping[str, int]]
"""The train examples, or windows of them, of each language that a transfer goes on to, by `RunConfig.reading`."""


@dataclass(frozen=True)
class FurtherCell:
    """A configuration of the second stage."""

    arm: str
    config: RunConfig
    parent: RunConfig | None
    """That of the runs it starts from; None: it starts from new weights, and `config` has the target as source set."""
    languages: tuple[str, ...]
    seeds: tuple[int, ...]

    @property
    def max_train_examples(self) -> int | None:
        """Examples of a target at most."""
        return self.config.data.max_train_examples

    @cached_property
    def _parent_ids(self) -> dict[int, str | None]:
        parent = self.parent
        return {seed: None if parent is None else parent.with_seed(seed).run_id for seed in self.seeds}

    def key(self, seed: int, language: str) -> RunKey:
        """Return one of its runs."""
        return RunKey(seed, language, self._parent_ids[seed])

    @cached_property
    def run_ids(self) -> dict[RunKey, str]:
        """The ids of its runs."""
        of_seed = {seed: self.config.with_seed(seed) for seed in self.seeds}
        return {key: key.run_id(of_seed[key.seed]) for key in self.keys}

    @property
    def keys(self) -> list[RunKey]:
        """All of its runs, target by target."""
        return [self.key(seed, language) for language in self.languages for seed in self.seeds]


@dataclass(frozen=True)
class FurtherPack:
    """Runs of the second stage that train together."""

    arm: str
    config: RunConfig
    runs: tuple[RunKey, ...]

    @property
    def parents(self) -> frozenset[str]:
        """The ids of the runs that they start from."""
        return frozenset(run.parent_run_id for run in self.runs if run.parent_run_id is not None)


def list_cells(sweep: Transfer, languages: Sequence[str]) -> list[FurtherCell]:
    """Return the second stage of a transfer to these languages, in the order of its arms; from new weights comes last.

    What several arms or source sets have in common stands there once.
    """
    caps, seeds, targets = sweep.targets.max_train_examples, sweep.seeds, tuple(languages)
    pairs = list(zip((arm for arm, _ in sweep.cells), sweep.corners, strict=True))
    cells = [FurtherCell(arm, sweep.go_on(arm, one, cap), one, targets, seeds) for arm, one in pairs for cap in caps]
    if not sweep.targets.from_scratch:
        return cells
    anew: dict[str, FurtherCell] = {}
    for arm, one in pairs:
        for cap in caps:
            for language in targets:
                config = sweep.start_anew(arm, one, cap, language)
                anew.setdefault(config.config_id, FurtherCell(arm, config, None, (language,), seeds))
    return [*cells, *anew.values()]


def make_packs(
    cell: FurtherCell, runs: Sequence[RunKey], read_sizes: TargetSizes, pack_size: int
) -> Iterator[FurtherPack]:
    """Yield some runs of a cell in packs.

    Runs of one pack train on equally many examples, since their epochs go together.
    """
    alike: dict[int, list[RunKey]] = defaultdict(list)
    sizes = read_sizes[cell.config.reading]
    for run in runs:
        assert run.adapted_to is not None
        alike[min(sizes[run.adapted_to], cell.max_train_examples or sizes[run.adapted_to])].append(run)
    size = 1 if is_alone(cell.config) else pack_size
    for of_size in alike.values():
        for start in range(0, len(of_size), size):
            yield FurtherPack(cell.arm, cell.config, tuple(of_size[start : start + size]))


def find_pack_size(sweep: Transfer) -> int:
    """Return how many runs of the second stage train together at most."""
    asked = sweep.resources.seeds_per_trial
    return asked if isinstance(asked, int) else max(len(sweep.seeds), LEAST_PACK)
