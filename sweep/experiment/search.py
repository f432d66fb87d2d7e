"""A search: which fields vary, how configurations are proposed, and which trials are stopped early."""

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar, Literal

from pydantic import Field

from sweep.experiment.base import Sweep, merge_places
from sweep.experiment.fields import is_number, is_whole
from sweep.experiment.space import BACKBONE_SIZE, Dimension, Strict, zip_dimension
from sweep.experiment.workload import Workload
from xpe_core.config import DEFAULTS, RunConfig
from xpe_core.errors import InputError
from xpe_core.fields import FieldValue, FieldValues, Float, Int
from xpe_core.tunings import TUNINGS
from xpe_core.validation import build_config

MAX_CORNERS = 4096
"""Combinations of a space's extreme values that are checked before anything starts."""
MAX_COUNTED = 1000
"""Points of a small space that are gone through to know how many configurations it has."""


class SchedulerConfig(Strict):
    """ASHA: at `grace_period`, and at every `reduction_factor` times more, only the better trials go on."""

    grace_period: Int = Field(20, ge=1)
    """Optimizer steps that every trial may take."""
    reduction_factor: Float = Field(3, gt=1)
    """About one trial in so many passes a rung."""


class Search(Sweep):
    """Configurations are proposed out of a space, and the best of them is what is asked for."""

    is_searched: ClassVar[bool] = True

    kind: Literal["search"] = "search"
    """A search, also where nothing is said."""
    space: dict[str, Dimension] = {}
    """Fields of `RunConfig` that vary."""
    zipped: tuple[dict[str, tuple[FieldValue, ...]], ...] = ()
    """Lists of values of several fields, of which the first go together, the second go together, ..."""
    num_samples: Int = Field(16, ge=1)
    """Configurations in all, SPT and XPE included."""
    sampler: Literal["tpe", "random", "quasi_random"] = "tpe"
    """`tpe` learns from finished trials; the others propose the same whatever ends when."""
    search_seed: Int = Field(0, ge=0, lt=2**31)
    """Where the sampler's choices come from."""
    scheduler: SchedulerConfig = SchedulerConfig()
    """Which trials are stopped early."""

    def _check_kind(self) -> None:
        self._check_space()
        try:
            _ = self.corners
        except InputError as error:
            raise ValueError(str(error)) from None

    def _list_varying(self) -> list[tuple[str, str]]:
        return merge_places(*(("zipped", lists) for lists in self.zipped), ("space", self.space))

    @property
    def says_source_set(self) -> bool:
        """Whether the experiment says what it trains on."""
        places: tuple[Mapping[str, object], ...] = (self.base, self.space, *self.zipped)
        return any("source_set" in place for place in places)

    @property
    def workloads(self) -> list[Workload]:
        """All that is asked for, if nothing was added to the experiment."""
        count = self.count_samples(self.first_points)
        return [Workload(None, self.corners, count, self.seeds, is_cut=False)]

    @property
    def first_points(self) -> tuple[FieldValues, ...]:
        """The values of searched fields that a search begins with: its tuning's baselines, SPT and XPE for prompts."""
        return tuple(TUNINGS[self.config().tuning.tuning].baselines.values())

    def _check_space(self) -> None:
        for name, dimension in self.space.items():
            if is_whole(name) and (dimension.uniform or dimension.log_uniform):
                raise ValueError(f"space.{name} takes whole numbers: use integers or choice")
            if not is_number(name) and dimension.choice is None and dimension.tied is None:
                raise ValueError(f"space.{name} takes text: use choice")
            if dimension.times != 1 and dimension.tied != BACKBONE_SIZE and not is_number(str(dimension.tied)):
                raise ValueError(f"space.{name}.times: {dimension.tied} is text, and cannot be multiplied")
        if twice := [name for name in self.varying if self.varying.count(name) > 1]:
            raise ValueError(f"{twice[0]} is searched twice, in space and zipped")
        for lists in self.zipped:
            if len(lists) < 2 or len({len(values) for values in lists.values()}) > 1 or not all(lists.values()):
                raise ValueError(f"zipped {', '.join(lists)}: needs two lists or more, all of the same length")

    @cached_property
    def dimensions(self) -> dict[str, Dimension]:
        """All that is drawn for a configuration, zipped lists under their joined names; what is tied is not drawn."""
        drawn = {name: self.space[name] for name in self.order if self.space[name].tied is None}
        return {**dict(map(zip_dimension, self.zipped)), **drawn}

    @property
    def varying(self) -> tuple[str, ...]:
        """The fields of `RunConfig` that differ between a search's trials."""
        return (*self.space, *(field for lists in self.zipped for field in lists))

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The searched fields, each after those that it needs; ValueError where they wait for each other."""
        waiting, ordered = dict(self.space), []
        while waiting:
            ready = [name for name, dimension in waiting.items() if not dimension.needs & set(waiting)]
            if not ready:
                raise ValueError(f"space: {', '.join(waiting)} wait for each other (tied, when)")
            ordered += ready
            for name in ready:
                del waiting[name]
        return tuple(ordered)

    def values_at(self, point: FieldValues, **pinned: object) -> dict[str, object]:
        """Return the fields of `RunConfig` at a point of the space; its centre where the point says nothing.

        What is `pinned` stays so. A field that is not searched there has its default, and so is absent.
        """
        values = {**self.base, **pinned}
        for lists in self.zipped:
            name, dimension = zip_dimension(lists)
            place = point.get(name, dimension.centre)
            assert isinstance(place, int)
            values |= {field: choices[place] for field, choices in lists.items() if field not in pinned}
        for name in self.order:
            dimension, known = self.space[name], {**DEFAULTS, **values}
            if name in pinned or not dimension.is_searched(known):
                continue
            if dimension.tied is None:
                values[name] = point.get(name, dimension.centre)
                continue
            followed = self._backbone_size if dimension.tied == BACKBONE_SIZE else known[dimension.tied]
            values[name] = followed
            if isinstance(followed, int | float):
                value = followed * dimension.times
                values[name] = max(round(value), 1) if is_whole(name) else value
        return values

    @cached_property
    def _backbone_size(self) -> int:
        from xpe_core.backbones.backbone import find_shape  # slow to import, and seldom needed

        return find_shape(str(self.base.get("backbone", DEFAULTS["backbone"]))).hidden_size

    def config(self, point: FieldValues | None = None, /, **pinned: object) -> RunConfig:
        """Return the configuration at a point of the space (its centre where the point says nothing)."""
        given = {**(point or {}), **pinned}
        try:
            return build_config(RunConfig, self.values_at(point or {}, **pinned), "base")
        except InputError as error:
            if not any(name in str(error) for name in self.space):
                raise
            corner = f" and space at {', '.join(f'{name}={value}' for name, value in given.items())}" if given else ""
            raise InputError(str(error).replace("base: ", f"base{corner}: ", 1)) from None

    @property
    def grace_period(self) -> int:
        """Steps that every trial may take: the scheduler's, or all where a trial has fewer."""
        return min(self.scheduler.grace_period, self.longest)

    def count_samples(self, first: Sequence[FieldValues] = ()) -> int:
        """Return how many configurations are proposed in all, `first` included: a small space may have no more."""
        counts = [dimension.num_values for dimension in self.dimensions.values()]
        finite = [count for count in counts if count is not None]
        if len(finite) < len(counts) or math.prod(finite) > min(self.num_samples, MAX_COUNTED):
            return self.num_samples
        values = [
            [dimension.at((place + 0.5) / count) for place in range(count)]
            for dimension, count in zip(self.dimensions.values(), finite, strict=True)
        ]
        points = [dict(zip(self.dimensions, point, strict=True)) for point in itertools.product(*values)]
        before = [self.config(**values) for values in first if values.keys() <= set(self.varying)]
        ids = {config.config_id for config in (*map(self.config, points), *before)}
        return min(self.num_samples, len(ids))

    @cached_property
    def corners(self) -> list[RunConfig]:
        """The combinations of the space's extreme values, or one field at a time where these are too many."""
        extremes = {name: dimension.extremes for name, dimension in self.dimensions.items()}
        if math.prod(map(len, extremes.values())) <= MAX_CORNERS:
            points = [dict(zip(extremes, values, strict=True)) for values in itertools.product(*extremes.values())]
        else:
            points = [{name: value} for name, values in extremes.items() for value in values]
        return [self.config(point) for point in points]
