"""One experiment: a strict YAML file that says what is fixed, what varies, and what is measured.

A field of `RunConfig` stands in `base` or in `space`, never in both, and `--set` moves it from the space to the base;
so there is one place to look for what a run used.
"""

import itertools
import math
from collections.abc import Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from xpe_core.config import Float, Int, RunConfig, build_config, nearest
from xpe_core.errors import InputError

Seed = Annotated[Int, Field(ge=0, lt=2**31)]
MAX_SEEDS = 1000
MAX_CORNERS = 4096
"""Combinations of a space's extreme values that are checked before anything starts."""


def _parse_seeds(value: Any) -> Any:
    """Read `1,2`, `1-10`, a number or a list."""
    if isinstance(value, int):
        return [value]
    if not isinstance(value, str):
        return value
    seeds: list[int] = []
    for part in value.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"must look like 1,2 or 1-10, not {value!r}")
        low, high = int(first), int(last if dash else first)
        if not low <= high < low + MAX_SEEDS:
            raise ValueError(f"must look like 1,2 or 1-10, ascending and at most {MAX_SEEDS} seeds, not {value!r}")
        seeds += range(low, high + 1)
    return seeds


def _join_lists(value: Any) -> Any:
    """Write a list of languages among the choices as one string, as `RunConfig` does."""
    return [",".join(map(str, one)) if isinstance(one, list) else one for one in value] if value else value


INTEGER_FIELDS = {name: "int" in str(field.annotation) for name, field in RunConfig.model_fields.items()}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Dimension(_Strict):
    """The values that one field may take: exactly one of `choice`, `uniform`, `log_uniform`, `integers`."""

    choice: Annotated[tuple[Any, ...] | None, BeforeValidator(_join_lists), Field(min_length=1)] = None
    uniform: tuple[Float, Float] | None = None
    log_uniform: tuple[Float, Float] | None = None
    integers: tuple[Int, Int] | None = None
    step: Float | None = Field(None, gt=0)
    """Distance between the values of `uniform` or `integers`, counted from the lower end."""

    @model_validator(mode="after")
    def _check(self) -> "Dimension":
        given = [kind for kind in ("choice", "uniform", "log_uniform", "integers") if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError("needs exactly one of choice, uniform, log_uniform, integers")
        if self.choice is not None:
            return self
        low, high = self.bounds
        if not low < high or (self.log_uniform and low <= 0):
            raise ValueError(f"{given[0]} needs two ascending{' positive' if self.log_uniform else ''} numbers")
        if self.step is not None and (self.log_uniform or self.step > high - low):
            raise ValueError("step goes with uniform and integers, and is at most their range")
        if self.step is not None and self.integers and self.step % 1:
            raise ValueError("the step of integers is a whole number")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value of a dimension that is not a choice."""
        bounds = self.uniform or self.log_uniform or self.integers
        assert bounds is not None
        return bounds

    @property
    def extremes(self) -> tuple[Any, ...]:
        """All choices, or the two ends and the centre."""
        return self.choice if self.choice is not None else (*self.bounds, self.centre)

    @property
    def centre(self) -> Any:
        """The middle choice, the middle of the range on its grid, or the geometric mean of a logarithmic range."""
        if self.choice is not None:
            return self.choice[len(self.choice) // 2]
        low, high = self.bounds
        if self.log_uniform:
            return math.sqrt(low * high)
        step = self.step or (1 if self.integers else 0)
        middle = low + ((high - low) / 2 // step * step if step else (high - low) / 2)
        return int(middle) if self.integers else middle


class SchedulerConfig(_Strict):
    """ASHA: at `grace_period`, and at every `reduction_factor` times more, only the better trials go on."""

    grace_period: Int = Field(20, ge=1)
    """Optimizer steps that every trial may take."""
    reduction_factor: Float = Field(3, gt=1)
    """About one trial in so many passes a rung."""


class EvaluationConfig(_Strict):
    """Where finished trials are tested."""

    languages: str | tuple[str, ...] = "all"
    """Target languages: a group, family, script or code, or a list of them."""
    max_examples: Int | None = Field(None, ge=1)
    """Test examples a language at most, drawn once for all; null is all."""


class ResourcesConfig(_Strict):
    """What a trial gets; null is one GPU a trial where there are GPUs, else the whole machine one trial at a time."""

    cpus_per_trial: Int | None = Field(None, ge=1)
    gpus_per_trial: Float | None = Field(None, ge=0)
    max_concurrent_trials: Int | None = Field(None, ge=1)


class SweepConfig(_Strict):
    """A search: a base configuration, the space around it, and how to look."""

    kind: Literal["search"] = "search"
    base: dict[str, Any] = {}
    """Fields of `RunConfig` that are the same in all trials."""
    space: dict[str, Dimension] = {}
    """Fields of `RunConfig` that vary."""
    num_samples: Int = Field(16, ge=1)
    """Configurations in all, SPT and XPE included."""
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(_parse_seeds), Field(min_length=1)] = (1, 2)
    """The runs of every trial."""
    search_seed: Int = Field(0, ge=0, lt=2**31)
    """Where the sampler's choices come from."""
    scheduler: SchedulerConfig = SchedulerConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    resources: ResourcesConfig = ResourcesConfig()

    @model_validator(mode="after")
    def _check(self) -> "SweepConfig":
        for key in (*self.base, *self.space):
            if key == "seed":
                raise ValueError("a seed is no hyperparameter; say seeds: [1, 2] instead")
            if key not in RunConfig.model_fields:
                raise ValueError(nearest(key, RunConfig.model_fields))
            if key in self.space and key in ("backbone", "dataset"):
                raise ValueError(f"{key} cannot be searched: an experiment has one, so that its accuracies compare")
            if key in self.base and key in self.space:
                raise ValueError(f"{key} stands in base and in space; it is either fixed or searched")
        for name, dimension in self.space.items():
            if INTEGER_FIELDS.get(name) and (dimension.uniform or dimension.log_uniform):
                raise ValueError(f"space.{name} takes whole numbers: use integers or choice")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} holds a seed twice")
        try:
            longest = max(corner.max_steps for corner in self.corners)
        except InputError as error:
            raise ValueError(str(error)) from None
        if self.scheduler.grace_period > longest:
            raise ValueError(f"scheduler.grace_period={self.scheduler.grace_period} is longer than max_steps={longest}")
        return self

    def config(self, **values: Any) -> RunConfig:
        """Return the base with `values`, and the space's centre where a searched field has none."""
        centre = {name: dimension.centre for name, dimension in self.space.items()}
        try:
            return build_config(RunConfig, {**self.base, **centre, **values}, "base")
        except InputError as error:
            if not any(name in str(error) for name in self.space):
                raise
            corner = f" and space at {', '.join(f'{name}={value}' for name, value in values.items())}" if values else ""
            raise InputError(str(error).replace("base: ", f"base{corner}: ", 1)) from None

    @property
    def source_sets(self) -> tuple[str, ...]:
        """All source sets that a trial may train on."""
        return tuple(dict.fromkeys(corner.source_set for corner in self.corners))

    @cached_property
    def corners(self) -> list[RunConfig]:
        """The combinations of the extreme values, or one field at a time where there are too many of them."""
        extremes = {name: dimension.extremes for name, dimension in self.space.items()}
        if math.prod(map(len, extremes.values())) <= MAX_CORNERS:
            corners = [dict(zip(extremes, values, strict=True)) for values in itertools.product(*extremes.values())]
        else:
            corners = [{name: value} for name, values in extremes.items() for value in values]
        return [self.config(**values) for values in corners]


def load_experiment(source: str, overrides: Sequence[str] = ()) -> tuple[str, SweepConfig]:
    """Return an experiment's name and its config, from a shipped name or a YAML file, with `key=value` overrides.

    A key is a field of `RunConfig`, or a field of `SweepConfig` with dots (`evaluation.max_examples`). Raises
    InputError that names the file and the key.
    """
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        path = Path(str(files("sweep").joinpath("configs", f"{source}.yaml")))
        if not path.is_file():
            folder = Path(str(files("sweep").joinpath("configs")))
            shipped = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
            raise InputError(f"unknown experiment {source!r}; shipped are {shipped}; a file's path ends in .yaml")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"experiment {source}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"experiment {source} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise InputError(f"experiment {source}: must hold keys such as base and space, not {values!r}")
    for key in ("base", "space", "scheduler", "evaluation", "resources"):
        values[key] = {} if values.get(key) is None else values[key]
        if not isinstance(values[key], dict):
            raise InputError(f"experiment {source}: {key} must hold keys of its own, not {values[key]!r}")
    for override in overrides:
        _apply(values, override)
    values = _make_paths_absolute(values)
    return path.stem, build_config(SweepConfig, values, f"experiment {source}")


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one `key=value` in the experiment's values, moving a searched field from the space to the base."""
    key, equals, text = override.partition("=")
    if not equals:
        raise InputError(f"--set {override}: must look like key=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    if key in RunConfig.model_fields:
        values["space"].pop(key, None)
        values["base"][key] = value
        return
    first, _, rest = key.partition(".")
    field = SweepConfig.model_fields.get(first)
    known = [*RunConfig.model_fields, *(name for name in SweepConfig.model_fields if name not in ("base", "space"))]
    if field is None or first in ("base", "space"):
        raise InputError(f"--set {override}: {nearest(key, known)}")
    if rest:
        values[first] = {**(values[first] if isinstance(values.get(first), dict) else {}), rest: value}
    else:
        values[first] = value


def _make_paths_absolute(values: dict[str, Any]) -> dict[str, Any]:
    """Resolve `dataset` and `backbone` where they are paths here: a worker's working folder is another one."""
    base = dict(values["base"])
    for key in ("dataset", "backbone"):
        name = base.get(key)
        if isinstance(name, str) and name not in ("cldr", "e5-small") and Path(name).expanduser().exists():
            base[key] = str(Path(name).expanduser().resolve())
    return {**values, "base": base}
