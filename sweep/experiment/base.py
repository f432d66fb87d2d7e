"""What every kind of experiment is asked for with, and what others ask of it whatever its kind is."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import ClassVar, Literal, Protocol, Self

from pydantic import model_validator

from sweep.experiment.fields import read_fields
from sweep.experiment.groups import expand_groups, name_source_set
from sweep.experiment.parts import EvaluationConfig, ResourcesConfig
from sweep.experiment.seeds import Seeds
from sweep.experiment.space import Strict
from sweep.experiment.workload import Workload
from xpe_core.config import FIELDS, PANEL_FIELDS, RunConfig
from xpe_core.errors import InputError
from xpe_core.validation import nearest


class Asked(Protocol):
    """What each kind of experiment says of itself in its own way."""

    @property
    def corners(self) -> Sequence[RunConfig]:
        """Configurations that stand for all of the experiment's."""

    @property
    def workloads(self) -> Sequence[Workload]:
        """All that is asked for, if nothing was added to the experiment."""

    @property
    def base(self) -> dict[str, object]:
        """Fields of `RunConfig` that are the same in all trials."""

    @property
    def longest(self) -> int:
        """The most steps that a trial may take."""


class Sweep(Strict):
    """What is the same in all kinds of experiment: fixed fields, seeds, languages, and what trials get."""

    tests_adapters: ClassVar[bool] = False
    """Whether nothing is trained, and runs stand for adapters."""
    is_searched: ClassVar[bool] = False
    """Whether configurations are drawn, and compared by the same languages."""
    may_have_panels: ClassVar[bool] = False
    """Whether arms may have several backbones and data sets: what is ranked as a whole has one."""

    base: dict[str, object] = {}
    """Fields of `RunConfig` that are the same in all trials."""
    seeds: Seeds = (1, 2)
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

    @model_validator(mode="before")
    @classmethod
    def _read(cls, values: object) -> object:
        """Read the values of `RunConfig`'s fields in their declared types, and codes for the names of own groups."""
        return expand_groups(read_fields(values) if isinstance(values, Mapping) else values)

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_fields()
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} holds a seed twice")
        try:
            self._check_kind()
        except InputError as error:  # of one configuration: what is around it says the file
            raise ValueError(str(error)) from None
        return self

    def _check_kind(self) -> None:
        """Refuse what this kind of experiment cannot be."""

    def _list_varying(self) -> list[tuple[str, str]]:
        """Return the fields of `RunConfig` that differ between trials, each with the key under which it stands."""
        return []

    def _check_fields(self) -> None:
        """Refuse what is no field of `RunConfig`, may not vary, or has two places."""
        places = dict(self._list_varying())
        for key in (*self.base, *places):
            if key == "seed":
                raise ValueError("a seed is no hyperparameter; say seeds: [1, 2] instead")
            if key == "imported" and not self.tests_adapters and (key in places or self.base[key] is not None):
                raise ValueError("imported is set where an adapter is evaluated, and cannot be chosen")
            if key not in FIELDS:
                raise ValueError(nearest(key, FIELDS))
            if key in places and key in PANEL_FIELDS and not self.may_have_panels:
                raise ValueError(
                    f"{key} cannot be searched: accuracies on several do not compare; arms of a grid may differ"
                )
            if key in places and key in self.base:
                raise ValueError(f"{key} stands in base and in {places[key]}; it is either fixed or searched")

    @property
    def varying(self) -> tuple[str, ...]:
        """The fields of `RunConfig` that differ between a search's trials."""
        return ()

    @property
    def cells(self) -> list[tuple[str, str | None]]:
        """The arms of what has arms, each with each source set."""
        return []

    @property
    def says_source_set(self) -> bool:
        """Whether the experiment says what it trains on."""
        return "source_set" in self.base

    @property
    def num_runs(self: Asked) -> int:
        """Runs in all, if nothing was added to the experiment."""
        return sum(workload.num_runs for workload in self.workloads)

    @cached_property
    def longest(self: Asked) -> int:
        """The most steps that a trial may take; 0 for a replication whose arms are not known yet."""
        return max((corner.training.max_steps for corner in self.corners), default=0)

    def has_full_length(self: Asked, values: Mapping[str, object]) -> bool:
        """Whether a configuration has the experiment's number of steps; before it was extended there were fewer."""
        return "max_steps" not in self.base or bool(values["max_steps"] == self.longest)

    def name_source_set(self, source_set: str) -> str:
        """Return what tables call a source set: the group that it is, where it is one of `groups`."""
        return name_source_set(source_set, self.groups)

    @property
    def used_source_sets(self: Asked) -> tuple[str, ...]:
        """All source sets that a trial may train on."""
        return tuple(dict.fromkeys(corner.data.source_set for corner in self.corners))

    @property
    def final_seeds(self) -> tuple[int, ...]:
        """The seeds of what is in the tables."""
        return self.seeds

    def seeds_of(self, arm: str) -> tuple[int, ...]:
        """Return the seeds that an arm is run with."""
        return self.seeds


def merge_places(*places: tuple[str, Iterable[str]]) -> list[tuple[str, str]]:
    """Return fields with the key that each stands under, from keys with their fields."""
    return [(field, place) for place, fields in places for field in fields]
