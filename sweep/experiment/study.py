"""A study: several methods, each searched with the same budget, and their winners run again on the same fresh seeds.

What a method is lies in its own base and space, so that each is searched where it is at its best. Its winner is chosen
by validation accuracy on the languages that all methods are chosen by. Trials of a search are never tested: no target
label takes part in what is run again.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from sweep.experiment.base import Sweep
from sweep.experiment.search import SchedulerConfig, Search
from sweep.experiment.seeds import Seeds
from sweep.experiment.space import Dimension, Strict
from sweep.experiment.workload import Workload
from sweep.storage.names import make_name
from xpe_core.config import PANEL_FIELDS, RunConfig
from xpe_core.fields import FieldValue, Float, Int
from xpe_core.seeds import stream_seed
from xpe_core.validation import build_config

DEFAULT = "default"
"""Behind a method's name: the arm of its default setting."""
UNLIMITED = 10**6
"""Configurations that a budget of steps or hours draws at most."""
COMPARED = (*PANEL_FIELDS, "source_set")
"""Fields that are the same in all trials of a method, so that their scores compare."""


class BudgetConfig(Strict):
    """What each method's search may take: exactly one of the three."""

    trials: Int | None = Field(None, ge=1)
    """Configurations a method."""
    steps: Int | None = Field(None, ge=1)
    """Optimizer steps of all runs of a method's search."""
    device_hours: Float | None = Field(None, gt=0)
    """Hours of a method's trials on their devices: a GPU, a share of one, or the CPUs of a trial."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len([limit for limit in (self.trials, self.steps, self.device_hours) if limit is not None]) != 1:
            raise ValueError("needs exactly one of trials, steps, device_hours")
        return self


class MethodConfig(Strict):
    """One method of a study: what is fixed, what is searched, and the setting that it is known by."""

    base: dict[str, object] = {}
    """Fields of `RunConfig` of all its trials; they go before those of the study's base."""
    space: dict[str, Dimension] = {}
    """Fields of `RunConfig` that vary."""
    zipped: tuple[dict[str, tuple[FieldValue, ...]], ...] = ()
    """Lists of values of several fields, of which the first go together, the second go together, ..."""
    default: dict[str, object] | None = None
    """The published or usual setting, run beside the winner; searched fields that it does not name have their defaults.

    Null: there is none.
    """


class Study(Sweep):
    """Methods are searched with equal budgets, and their winners meet on fresh seeds."""

    is_searched: ClassVar[bool] = True

    kind: Literal["study"]
    """A study."""
    methods: dict[str, MethodConfig] = {}
    """The methods by the names that tables have for them.

    Methods may have backbones and data sets of their own; they compare with those on the same ones.
    """
    budget: BudgetConfig = BudgetConfig(trials=16)
    """Of each method's search, the default setting included."""
    replication_seeds: Seeds = (11, 12, 13, 14, 15, 16)
    """Of the winners and the default settings: none of the searches' seeds."""
    sampler: Literal["tpe", "random", "quasi_random"] = "tpe"
    """`tpe` learns from finished trials; the others propose the same whatever ends when."""
    search_seed: Int = Field(0, ge=0, lt=2**31)
    """Where the samplers' choices come from."""
    scheduler: SchedulerConfig = SchedulerConfig()
    """Which trials are stopped early, each among those of its method."""

    def _check_kind(self) -> None:
        if not self.methods:
            raise ValueError("methods is missing: a study names at least one, methods: {NAME: {base: ..., space: ...}}")
        if stale := sorted(set(self.seeds) & set(self.replication_seeds)):
            raise ValueError(f"replication_seeds: {stale[0]} is a seed of the searches too; they need fresh ones")
        if len(set(self.replication_seeds)) < len(self.replication_seeds):
            raise ValueError(f"replication_seeds {list(self.replication_seeds)} holds a seed twice")
        _check_names(self.methods)
        for name, method in self.methods.items():
            varied = {*method.space, *(method.default or {}), *(key for one in method.zipped for key in one)}
            if fixed := [key for key in COMPARED if key in varied]:
                raise ValueError(f"methods.{name}: {fixed[0]} is the same in all trials; say it in base or in its base")
        self._check_source_sets()
        self._check_twins()

    def _check_source_sets(self) -> None:
        """Refuse methods on the same backbone and data set that are trained on other languages: they do not compare."""
        known: dict[str, tuple[str, str]] = {}
        for name, search in self.searches.items():
            config = search.corners[0]
            other, sources = known.setdefault(config.panel, (name, config.data.source_set))
            if config.data.source_set != sources:
                raise ValueError(
                    f"methods.{name}: its source_set is {config.data.source_set}, that of {other} {sources}; methods "
                    "on the same data are trained on the same languages"
                )
        _ = self.defaults  # each is checked as it is built

    def _check_twins(self) -> None:
        """Refuse methods that are one and the same configuration: the second would have nothing to run."""
        known: dict[str, str] = {}
        for name, search in self.searches.items():
            if not search.varying and (twin := known.setdefault(search.corners[0].config_id, name)) != name:
                raise ValueError(f"methods.{twin} and methods.{name} are the same configuration")

    @cached_property
    def searches(self) -> dict[str, Search]:
        """Each method's search as an experiment of its own; ValueError that names the method."""
        return {name: self._build_search(name, method) for name, method in self.methods.items()}

    def _build_search(self, name: str, method: MethodConfig) -> Search:
        varying = {*method.space, *(key for lists in method.zipped for key in lists)}
        base = {key: value for key, value in self.base.items() if key not in varying}
        values = {
            "base": {**base, **method.base},
            "space": method.space,
            "zipped": method.zipped,
            "num_samples": self.budget.trials or UNLIMITED,
            "search_seed": stream_seed(self.search_seed, f"method/{name}") % 2**31,
            **{key: getattr(self, key) for key in ("seeds", "sampler", "scheduler", "selection_languages", "groups")},
            **{key: getattr(self, key) for key in ("evaluation", "resources", "keep")},
        }
        return build_config(Search, values, f"methods.{name}")

    @cached_property
    def defaults(self) -> dict[str, RunConfig]:
        """The default settings of those methods that have one."""
        return {
            name: build_config(RunConfig, {**self.searches[name].base, **method.default}, f"methods.{name}.{DEFAULT}")
            for name, method in self.methods.items()
            if method.default is not None
        }

    def first_points(self, method: str) -> tuple[Mapping[str, FieldValue], ...]:
        """Return the values of searched fields that a method's search begins with: those of its default setting.

        None where that differs in more than what is searched.
        """
        config, search = self.defaults.get(method), self.searches[method]
        if config is None or not (self.methods[method].default or {}).keys() <= set(search.varying):
            return ()
        return ({name: value for name, value in config.values.items() if name in search.varying},)

    def has_full_length(self, values: Mapping[str, object]) -> bool:
        """Return True: each method has a length of its own."""
        return True

    @property
    def final_seeds(self) -> tuple[int, ...]:
        """The seeds of what is in the tables."""
        return self.replication_seeds

    @cached_property
    def corners(self) -> list[RunConfig]:
        """The configurations that stand for those of all methods."""
        return [*(corner for search in self.searches.values() for corner in search.corners), *self.defaults.values()]

    @property
    def says_source_set(self) -> bool:
        """Whether the study says what each method is trained on."""
        return all(search.says_source_set for search in self.searches.values())

    def has_arm(self, arm: str | None) -> bool:
        """Whether a trial's arm is one of the methods, or the default setting of one."""
        return arm in {*self.methods, *map(name_default, self.methods)}

    @property
    def varying(self) -> tuple[str, ...]:
        """The fields of `RunConfig` that some method searches."""
        return tuple(dict.fromkeys(name for search in self.searches.values() for name in search.varying))

    @property
    def workloads(self) -> list[Workload]:
        """All that is asked for, if nothing was added: searches where no trial ends early, and what is run again."""
        parts = []
        for name, search in self.searches.items():
            count = search.count_samples(self.first_points(name))
            if self.budget.trials is None:
                count = min(count, max((self.budget.steps or 0) // (len(self.seeds) * search.longest), 1))
            parts.append(Workload(name, search.corners, count, self.seeds, is_cut=False, is_tested=False))
            parts.append(Workload(name, search.corners, 1, self.replication_seeds, is_cut=True))
            if name in self.defaults:
                default = [self.defaults[name]]
                parts.append(Workload(name_default(name), default, 1, self.replication_seeds, is_cut=True))
        return parts


def _check_names(methods: Iterable[str]) -> None:
    """Refuse names of methods that are no words of tables and commands, or whose winners would share a file."""
    files: dict[str, str] = {}
    for name in methods:
        if name.rpartition(" ")[2] == DEFAULT or not name.strip() or ":" in name:
            raise ValueError(
                f"methods: {name!r} cannot be a method's name: it must not be empty, hold a colon or end in {DEFAULT}"
            )
        if twin := files.get(make_name(name)):
            raise ValueError(f"methods: {twin!r} and {name!r} differ only in what no file name holds; rename one")
        files[make_name(name)] = name


def name_default(method: str) -> str:
    """Return the name of the arm of a method's default setting."""
    return f"{method} {DEFAULT}"
