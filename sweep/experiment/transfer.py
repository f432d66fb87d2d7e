"""Supervised transfer: arms that are trained on source sets are trained further on each of several target languages."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from sweep.experiment.arms import TrainedArms
from sweep.experiment.space import Strict
from xpe_core.config import CHOICES, FIELDS, RunConfig
from xpe_core.errors import InputError
from xpe_core.fields import FieldValue, Int, Mark, is_marked
from xpe_core.parts import TrainingConfig
from xpe_core.validation import build_config, nearest

RECIPE: Mapping[str, FieldValue] = {"max_steps": 6_000, "warmup_ratio": 0.05, "patience": 30}
"""What the published recipe trains further with; nothing is dropped, and all else is as on the source set."""


def _list_caps(value: object) -> object:
    """Read a single number, or null, as a list of one."""
    return value if isinstance(value, list | tuple) else [value]


class Targets(Strict):
    """What every arm's trained parts are trained further on: each language by itself."""

    languages: str | tuple[str, ...] = Field(min_length=1)
    """Target languages, each with train, validation and test examples: names, codes, groups, or a list of them."""
    max_train_examples: Annotated[
        tuple[Annotated[Int, Field(ge=1)] | None, ...], BeforeValidator(_list_caps), Field(min_length=1)
    ] = (None,)
    """How many examples of a target are trained on, several for a learning curve; null is all."""
    from_scratch: bool = False
    """Whether every arm is trained on each target also without a source set, for comparison."""
    base: dict[str, object] = {}
    """Fields that are otherwise than on the source set.

    Without them these are the recipe's: 6,000 steps, a warm-up of 5 %, a patience of 30 evaluations, no dropout.
    """


class Transfer(TrainedArms):
    """Every arm is trained on every source set, and then further on each target language."""

    kind: Literal["transfer"]
    """Supervised transfer."""
    targets: Targets
    """What is trained further, on which languages, and how."""

    def _check_kind(self) -> None:
        if not self.arms:
            raise ValueError(
                "arms is missing: a transfer names at least one, such as arms: {low: {learning_rate: 1e-4}}"
            )
        if self.keep == "best":
            raise ValueError("keep=best: a transfer has no single best configuration; allowed are all and none")
        caps = self.targets.max_train_examples
        if len(set(caps)) < len(caps):
            raise ValueError(f"targets: max_train_examples {list(caps)} holds a number twice")
        for name in self.targets.base:
            _check_field(name)
        super()._check_kind()
        for arm, config in zip((arm for arm, _ in self.cells), self.corners, strict=True):
            self.go_on(arm, config, caps[0])

    def go_on(self, arm: str, config: RunConfig, cap: int | None) -> RunConfig:
        """Return what an arm's configuration is trained further with, on `cap` examples of a target (None: all)."""
        dropped = {name: 0.0 for name in config.values if is_marked(FIELDS[name], Mark.DROPOUT)}
        said = {**RECIPE, **dropped, **self.targets.base}
        own = {name: value for name, value in said.items() if name in config.values}
        values = {**config.set_values, **own, "max_train_examples": cap}
        try:
            return build_config(RunConfig, values, "targets")
        except InputError as error:
            raise ValueError(f"{error} (arms.{arm})") from None

    def start_anew(self, arm: str, config: RunConfig, cap: int | None, language: str) -> RunConfig:
        """Return what an arm's configuration is trained with on a target alone, from its seed's own weights."""
        return self.go_on(arm, config, cap).with_values(source_set=language)


def _check_field(name: str) -> None:
    """Refuse what decides the shape or meaning of what is trained, which the second stage takes over from the first."""
    if name not in FIELDS:
        raise ValueError(f"targets.base: {nearest(name, FIELDS)}")
    if name == "max_train_examples":
        raise ValueError("targets.base: max_train_examples stands beside base, in targets")
    kinds = [kind for part in ("tuning", "readout") for kind in CHOICES[part].values()]
    free = [
        kind.model_fields[name]
        for kind in kinds
        if name in kind.model_fields
        if not any(is_marked(kind.model_fields[name], mark) for mark in (Mark.SHARED, Mark.COMPUTED))
    ]
    if name not in TrainingConfig.model_fields and not free:
        raise ValueError(f"targets.base: {name} is that of the run which is trained further, and cannot differ")
