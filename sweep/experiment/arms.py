"""Experiments whose configurations are named: grids, replications of the best, and evaluations of adapters."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from sweep.experiment.base import Sweep, merge_places
from sweep.experiment.seeds import Seed
from sweep.experiment.space import join_lists
from sweep.experiment.workload import Workload
from xpe_core.config import RunConfig
from xpe_core.fields import Int
from xpe_core.lists import split_list
from xpe_core.validation import build_config


def share_fields(configs: Mapping[str, RunConfig]) -> tuple[dict[str, object], dict[str, dict[str, object]]]:
    """Return the fields that all arms have with one value, and those that make each arm what it is.

    Arms of several tunings have other fields.
    """
    arms = {name: config.settings for name, config in configs.items()}

    def is_shared(key: str) -> bool:
        return all(key in values for values in arms.values()) and len({values[key] for values in arms.values()}) == 1

    first = next(iter(arms.values()), {})
    shared: dict[str, object] = {key: value for key, value in first.items() if is_shared(key)}
    return shared, {
        name: {key: value for key, value in values.items() if key not in shared} for name, values in arms.items()
    }


def _split_text(value: object) -> object:
    """Read `a,b` as a list of two."""
    return split_list(value) if isinstance(value, str) else value


class ArmSweep(Sweep):
    """What has arms: configurations by their names."""

    arms: dict[str, dict[str, object]] = {}
    """The fields of `RunConfig` that make each arm what it is, by the arm's name."""

    def _check_kind(self) -> None:
        seen: dict[str, str] = {}
        for (arm, _), config in zip(self.cells, self.corners, strict=True):
            if twin := seen.get(config.config_id):
                raise ValueError(f"arms.{twin} and arms.{arm} are the same configuration")
            seen[config.config_id] = arm

    def _list_varying(self) -> list[tuple[str, str]]:
        return merge_places(*((f"arms.{arm}", values) for arm, values in self.arms.items()))

    @property
    def says_source_set(self) -> bool:
        """Whether the experiment says what it trains on."""
        return any("source_set" in place for place in (self.base, *self.arms.values()))

    @property
    def cells(self) -> list[tuple[str, str | None]]:
        """The arms, each with each source set."""
        return [(arm, None) for arm in self.arms]

    @cached_property
    def corners(self) -> list[RunConfig]:
        """The configurations, one a cell."""
        return [
            build_config(
                RunConfig, {**self.base, **self.arms[arm], **({"source_set": name} if name else {})}, f"arms.{arm}"
            )
            for arm, name in self.cells
        ]

    @property
    def workloads(self) -> list[Workload]:
        """All that is asked for, if nothing was added to the experiment."""
        return [
            Workload(arm, [config], 1, self.seeds_of(arm), is_cut=True)
            for (arm, _), config in zip(self.cells, self.corners, strict=True)
        ]


class TrainedArms(ArmSweep):
    """Arms that are trained, on one source set or on several, on one backbone and data set or on several."""

    may_have_panels: ClassVar[bool] = True

    source_sets: Annotated[tuple[str, ...], BeforeValidator(join_lists), BeforeValidator(_split_text)] = ()
    """The source sets that every arm is trained on; without any, the base's."""

    @property
    def says_source_set(self) -> bool:
        """Whether the experiment says what it trains on."""
        return bool(self.source_sets) or super().says_source_set

    @property
    def cells(self) -> list[tuple[str, str | None]]:
        """The arms, each with each source set."""
        return [(arm, source_set) for arm in self.arms for source_set in (self.source_sets or (None,))]

    def _list_varying(self) -> list[tuple[str, str]]:
        named = [("source_sets", ["source_set"])] if self.source_sets else []
        return [*super()._list_varying(), *merge_places(*named)]

    def _check_fields(self) -> None:
        super()._check_fields()
        if self.source_sets and any("source_set" in values for values in self.arms.values()):
            raise ValueError("source_set stands in an arm and in source_sets; say it in one of them")


class Grid(TrainedArms):
    """Every arm is run on every source set with every seed."""

    kind: Literal["grid"]
    """A grid."""

    def _check_kind(self) -> None:
        if not self.arms:
            raise ValueError("arms is missing: a grid names at least one, such as arms: {low: {learning_rate: 1e-4}}")
        super()._check_kind()


class Replication(TrainedArms):
    """The best configurations of another experiment are run again, on fresh seeds."""

    kind: Literal["replicate"]
    """A replication."""
    of: str | None = None
    """An experiment's name or folder, or a YAML file with one configuration."""
    top: Int = Field(1, ge=1)
    """How many of the best configurations are run again."""

    @property
    def says_source_set(self) -> bool:
        """Whether the experiment says what it trains on: what it replicates was trained on it."""
        return True

    def _check_kind(self) -> None:
        if not self.of:
            raise ValueError("of is missing: a replication names the experiment whose best is run again")
        super()._check_kind()


class Evaluation(ArmSweep):
    """Nothing is trained: adapters are tested, those of an arm with one seed each."""

    tests_adapters: ClassVar[bool] = True

    kind: Literal["evaluate"]
    """An evaluation."""
    adapters: dict[str, dict[Seed, str]] = {}
    """Each arm's adapters, one a seed, by their fingerprints."""

    def _check_kind(self) -> None:
        if not self.arms or self.arms.keys() != self.adapters.keys():
            raise ValueError("adapters: an evaluation has one arm or more, each with its adapters")
        super()._check_kind()

    def seeds_of(self, arm: str) -> tuple[int, ...]:
        """Return the seeds that an arm is run with: those of its adapters."""
        return tuple(self.adapters[arm])
