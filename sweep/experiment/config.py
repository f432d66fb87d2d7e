"""One experiment: what is fixed, what varies, with which seeds it is run, and what is measured.

A field of `RunConfig` stands in `base` or in what varies (`space`, `arms`), never in both, so there is one place to
look for what a run used.
"""

import itertools
import math
import re
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from sweep.experiment.fields import is_number, is_whole, read_fields
from sweep.experiment.groups import expand_groups, name_source_set
from sweep.experiment.space import BACKBONE_SIZE, Dimension, Strict, join_lists, zip_dimension
from xpe_core.config import DATA_FIELDS, DEFAULTS, FIELDS, RunConfig
from xpe_core.errors import InputError
from xpe_core.fields import Float, Int
from xpe_core.lists import split_list
from xpe_core.validation import build_config, nearest

Seed = Annotated[Int, Field(ge=0, lt=2**31)]
UNKNOWN_SOURCES = "unknown"
"""The source set of an adapter that does not say what it was trained on."""
MAX_SEEDS = 1000
RANGE = re.compile(r"\d+\s*-\s*\d+")
MAX_CORNERS = 4096
"""Combinations of a space's extreme values that are checked before anything starts."""


def parse_seeds(value: Any) -> Any:
    """Read `1,2`, `1-10`, a number, or a list of these."""
    if isinstance(value, int):
        return [value]
    if isinstance(value, list | tuple):
        parts = [parse_seeds(one) if isinstance(one, str) and RANGE.fullmatch(one.strip()) else [one] for one in value]
        return [seed for part in parts for seed in part]
    if not isinstance(value, str):
        return value
    seeds: list[int] = []
    for part in split_list(value):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"must look like 1,2 or 1-10, not {value!r}")
        low, high = int(first), int(last if dash else first)
        if not low <= high < low + MAX_SEEDS:
            raise ValueError(f"must look like 1,2 or 1-10, ascending and at most {MAX_SEEDS} seeds, not {value!r}")
        seeds += range(low, high + 1)
    if not seeds:
        raise ValueError(f"must look like 1,2 or 1-10, not {value!r}")
    return seeds


def _split_text(value: Any) -> Any:
    """Read `a,b` as a list of two."""
    return split_list(value) if isinstance(value, str) else value


KINDS_OF_KEY = {
    **dict.fromkeys(("space", "zipped", "num_samples", "sampler", "search_seed", "scheduler"), ("search",)),
    "arms": ("grid", "replicate", "evaluate"),
    "source_sets": ("grid", "replicate"),
    **dict.fromkeys(("of", "top"), ("replicate",)),
    "adapters": ("evaluate",),
}
"""Keys that only some kinds of experiment have."""


class SchedulerConfig(Strict):
    """ASHA: at `grace_period`, and at every `reduction_factor` times more, only the better trials go on."""

    grace_period: Int = Field(20, ge=1)
    """Optimizer steps that every trial may take."""
    reduction_factor: Float = Field(3, gt=1)
    """About one trial in so many passes a rung."""


class EvaluationConfig(Strict):
    """Where finished trials are tested."""

    languages: str | tuple[str, ...] = "all"
    """Target languages: a group, family, script or code, or a list of them."""
    max_examples: Int | None = Field(None, ge=1)
    """Test examples a language at most, drawn once for all; null is all."""


class ResourcesConfig(Strict):
    """What a trial gets; null is one GPU a trial where there are GPUs, else the whole machine one trial at a time."""

    cpus_per_trial: Int | None = Field(None, ge=1)
    """CPU cores of a trial."""
    gpus_per_trial: Float | None = Field(None, ge=0)
    """GPUs of a trial; of a fraction, the trial keeps to its share of the GPU's memory."""
    max_concurrent_trials: Int | None = Field(None, ge=1)
    """Trials that run at a time; null is as many as there is room for."""
    seeds_per_trial: Annotated[Int, Field(ge=1)] | Literal["auto"] | None = None
    """Of a grid or a replication: runs that train together at most.

    Null is all seeds of a cell, as many a pass as memory takes; `auto` is as many as one pass has memory for, measured.
    """
    checkpoint_seconds: Float = Field(60.0, ge=0)
    """Between the checkpoints of a running trial: what a lost worker has to do again at most."""


class SweepConfig(Strict):
    """An experiment: which configurations are run with which seeds, and where they are tested."""

    kind: Literal["search", "grid", "replicate", "evaluate"] = "search"
    """`search` proposes configurations, `grid` runs the named ones, `replicate` the best of another experiment;
    `evaluate` trains nothing and tests adapters.
    """
    base: dict[str, Any] = {}
    """Fields of `RunConfig` that are the same in all trials."""
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(parse_seeds), Field(min_length=1)] = (1, 2)
    """The runs of every configuration."""
    selection_languages: str | tuple[str, ...] | None = None
    """Languages whose validation accuracy decides.

    Null is, in a search, all source languages that any trial may train on; elsewhere each run's own.
    """
    evaluation: EvaluationConfig = EvaluationConfig()
    resources: ResourcesConfig = ResourcesConfig()
    keep: Literal["all", "best", "none"] = "all"
    """Whose trained prompt and head are kept: every finished run's, those of the best configuration, or none."""
    groups: dict[str, tuple[str, ...]] = {}
    """Languages by a name of one's own, which stands for them wherever languages are asked for, and in tables."""

    space: dict[str, Dimension] = {}
    """Of a search: fields of `RunConfig` that vary."""
    zipped: tuple[dict[str, tuple[Any, ...]], ...] = ()
    """Of a search: lists of values of several fields, of which the first go together, the second go together, ..."""
    num_samples: Int = Field(16, ge=1)
    """Of a search: configurations in all, SPT and XPE included."""
    sampler: Literal["tpe", "random", "quasi_random"] = "tpe"
    """Of a search: `tpe` learns from finished trials; the others propose the same whatever ends when."""
    search_seed: Int = Field(0, ge=0, lt=2**31)
    """Of a search: where the sampler's choices come from."""
    scheduler: SchedulerConfig = SchedulerConfig()
    """Of a search."""

    arms: dict[str, dict[str, Any]] = {}
    """Of a grid: the fields of `RunConfig` that make each arm what it is, by the arm's name."""
    source_sets: Annotated[tuple[str, ...], BeforeValidator(join_lists), BeforeValidator(_split_text)] = ()
    """Of a grid: the source sets that every arm is trained on; without any, the base's."""

    of: str | None = None
    """Of a replication: an experiment's name or folder, or a YAML file with one configuration."""
    top: Int = Field(1, ge=1)
    """Of a replication: how many of the best configurations are run again."""

    adapters: dict[str, dict[Seed, str]] = {}
    """Of an evaluation: each arm's adapters, one a seed, by their fingerprints."""

    _open_keys: frozenset[str] = PrivateAttr(frozenset())

    @model_validator(mode="before")
    @classmethod
    def _read(cls, values: Any) -> Any:
        """Read the values of `RunConfig`'s fields in their declared types, and codes for the names of own groups."""
        return expand_groups(read_fields(values) if isinstance(values, Mapping) else values)

    @model_validator(mode="after")
    def _check(self) -> "SweepConfig":
        for name, kinds in KINDS_OF_KEY.items():
            if name in self.model_fields_set and self.kind not in kinds and getattr(self, name):
                raise ValueError(f"{name} belongs to kind: {kinds[0]}, and this is kind: {self.kind}")
        self._check_fields()
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} holds a seed twice")
        if self.kind == "search":
            self._check_space()
        elif self.kind == "grid" and not self.arms:
            raise ValueError("arms is missing: a grid names at least one, such as arms: {spt: {encoder_ratio: 0}}")
        elif self.kind == "replicate" and not self.of:
            raise ValueError("of is missing: a replication names the experiment whose best is run again")
        elif self.kind == "evaluate" and (not self.arms or self.arms.keys() != self.adapters.keys()):
            raise ValueError("adapters: an evaluation has one arm or more, each with its adapters")
        try:
            _ = self.longest
        except InputError as error:
            raise ValueError(str(error)) from None
        seen: dict[str, str] = {}
        for (arm, _), config in zip(self.cells, self.corners, strict=False):  # a search has no cells
            if twin := seen.get(config.config_id):
                raise ValueError(f"arms.{twin} and arms.{arm} are the same configuration")
            seen[config.config_id] = arm
        return self

    def _check_fields(self) -> None:
        """Refuse what is no field of `RunConfig`, may not vary, or has two places."""
        places = {field: "zipped" for lists in self.zipped for field in lists}
        places |= dict.fromkeys(self.space, "space")
        places |= {field: f"arms.{arm}" for arm, values in self.arms.items() for field in values}
        places |= {"source_set": "source_sets"} if self.source_sets else {}
        for key in (*self.base, *places):
            if key == "seed":
                raise ValueError("a seed is no hyperparameter; say seeds: [1, 2] instead")
            if key == "imported" and self.kind != "evaluate" and (key in places or self.base[key] is not None):
                raise ValueError("imported is set where an adapter is evaluated, and cannot be chosen")
            if key not in FIELDS:
                raise ValueError(nearest(key, FIELDS))
            if key in places and key in ("backbone", "dataset", *DATA_FIELDS):
                raise ValueError(f"{key} cannot be searched: an experiment has one, so that its accuracies compare")
            if key in places and key in self.base:
                raise ValueError(f"{key} stands in base and in {places[key]}; it is either fixed or searched")
        if self.source_sets and any("source_set" in values for values in self.arms.values()):
            raise ValueError("source_set stands in an arm and in source_sets; say it in one of them")

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

    def values_at(self, point: Mapping[str, Any], **pinned: Any) -> dict[str, Any]:
        """Return the fields of `RunConfig` at a point of the space; its centre where the point says nothing.

        What is `pinned` stays so. A field that is not searched there has its default, and so is absent.
        """
        values = {**self.base, **pinned}
        for lists in self.zipped:
            name, dimension = zip_dimension(lists)
            place = point.get(name, dimension.centre)
            values |= {field: choices[place] for field, choices in lists.items() if field not in pinned}
        for name in self.order:
            dimension, known = self.space[name], {**DEFAULTS, **values}
            if name in pinned or not dimension.is_searched(known):
                continue
            if dimension.tied is None:
                values[name] = point.get(name, dimension.centre)
                continue
            followed = self._backbone_size if dimension.tied == BACKBONE_SIZE else known[dimension.tied]
            value = followed * dimension.times if isinstance(followed, int | float) else followed
            values[name] = max(round(value), 1) if is_whole(name) else value
        return values

    @cached_property
    def _backbone_size(self) -> int:
        from xpe_core.backbones.backbone import find_shape  # slow to import, and seldom needed

        return find_shape(self.base.get("backbone", DEFAULTS["backbone"])).hidden_size

    def config(self, point: Mapping[str, Any] | None = None, **pinned: Any) -> RunConfig:
        """Return the configuration at a point of the space (its centre where the point says nothing)."""
        given = {**(point or {}), **pinned}
        try:
            return build_config(RunConfig, self.values_at(point or {}, **pinned), "base")
        except InputError as error:
            if not any(name in str(error) for name in self.space):
                raise
            corner = f" and space at {', '.join(f'{name}={value}' for name, value in given.items())}" if given else ""
            raise InputError(str(error).replace("base: ", f"base{corner}: ", 1)) from None

    @cached_property
    def longest(self) -> int:
        """The most steps that a trial may take; 0 for a replication whose arms are not known yet."""
        return max((corner.training.max_steps for corner in self.corners), default=0)

    @property
    def grace_period(self) -> int:
        """Steps that every trial may take: the scheduler's, or all where a trial has fewer."""
        return min(self.scheduler.grace_period, self.longest)

    def has_full_length(self, values: Mapping[str, Any]) -> bool:
        """Whether a configuration has the experiment's number of steps; before it was extended there were fewer."""
        return "max_steps" not in self.base or bool(values["max_steps"] == self.longest)

    @property
    def open_keys(self) -> frozenset[str]:
        """Keys that say of languages what was meant for another data set, or say nothing."""
        places = (self.base, self.space, *self.zipped, *self.arms.values())
        is_said = bool(self.source_sets) or any("source_set" in place for place in places)
        return self._open_keys if is_said or self.kind == "replicate" else self._open_keys | {"source_set"}

    def leave_open(self, keys: Collection[str]) -> "SweepConfig":
        """Return the experiment, of which these keys hold where the data set has all the languages that they name."""
        self._open_keys = frozenset(keys)
        return self

    def name_source_set(self, source_set: str) -> str:
        """Return what tables call a source set: the group that it is, where it is one of `groups`."""
        return name_source_set(source_set, self.groups)

    @property
    def used_source_sets(self) -> tuple[str, ...]:
        """All source sets that a trial may train on."""
        return tuple(dict.fromkeys(corner.data.source_set for corner in self.corners))

    def seeds_of(self, arm: str) -> tuple[int, ...]:
        """Return the seeds that an arm is run with: those of its adapters in an evaluation, else all."""
        return tuple(self.adapters[arm]) if self.kind == "evaluate" else self.seeds

    @property
    def num_runs(self) -> int:
        """Runs in all, if nothing was added to the experiment."""
        if self.kind == "search":
            return self.num_samples * len(self.seeds)
        return sum(len(self.seeds_of(arm)) for arm, _ in self.cells)

    @property
    def cells(self) -> list[tuple[str, str | None]]:
        """A grid's arms, each with each source set."""
        return [(arm, source_set) for arm in self.arms for source_set in (self.source_sets or (None,))]

    @cached_property
    def corners(self) -> list[RunConfig]:
        """A grid's configurations, one a cell; of a space the combinations of extreme values, or one field at a time
        where these are too many.
        """
        if self.kind != "search":
            return [
                build_config(
                    RunConfig, {**self.base, **self.arms[arm], **({"source_set": name} if name else {})}, f"arms.{arm}"
                )
                for arm, name in self.cells
            ]
        extremes = {name: dimension.extremes for name, dimension in self.dimensions.items()}
        if math.prod(map(len, extremes.values())) <= MAX_CORNERS:
            points = [dict(zip(extremes, values, strict=True)) for values in itertools.product(*extremes.values())]
        else:
            points = [{name: value} for name, values in extremes.items() for value in values]
        return [self.config(point) for point in points]
