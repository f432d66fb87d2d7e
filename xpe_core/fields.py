"""What the parts of a run's configuration have in common: how numbers are read, and what a field is marked with."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.fields import FieldInfo

FieldValue: TypeAlias = str | int | float | bool | None
"""What a field of a run's configuration can hold."""
FieldValues: TypeAlias = Mapping[str, FieldValue]
"""Values by the flat names of fields; not all fields need be there."""
NUMBER = re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?", re.ASCII)
"""A number as people write it: 20, 1_000, .5, 5e-3."""


class Mark(Enum):
    """What is true of a field beside its type; it stands in the field's `Annotated`."""

    SHARED = "shared"
    """Equal in all runs of a pack: these share the backbone's batch, the shapes of parameters and the steps."""
    LATER = "later"
    """Older experiments lack it and had its default, so the default is no part of a run's id."""
    COMPUTED = "computed"
    """Decides what an adapter computes, beside its tensors."""
    SAID = "said"
    """Told in the summary of an experiment, also where it has its default."""
    DATA = "data"
    """Says how the data set is read."""
    DROPOUT = "dropout"
    """A share of numbers that training drops, and none when a trained run is trained further (recipe)."""
    IDENTITY = "identity"
    """Tells runs of the same settings apart, and is no setting."""


@dataclass(frozen=True)
class Published:
    """The values that the published recipe has of a field, where these are several; it stands in its `Annotated`."""

    values: tuple[FieldValue, ...]


def _read_number(value: object) -> object:
    """Refuse a bool, and read a number with a point or an exponent that is given as text."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()) and set(".eE") & set(value):
        return float(value)
    return value


def _round(value: object) -> object:
    """Round a float to 12 significant digits: a sampler's 0.30000000000000004 and a person's 0.3 are one run."""
    return float(f"{value:.12g}") if isinstance(value, float) and math.isfinite(value) else value


Float = Annotated[float, BeforeValidator(_round), BeforeValidator(_read_number)]
Int = Annotated[int, BeforeValidator(_read_number)]
SharedFloat = Annotated[Float, Mark.SHARED]
SharedInt = Annotated[Int, Mark.SHARED]


def join_names(value: object) -> object:
    """Write a list of languages as one string; ValueError where something in it is no name."""
    if not isinstance(value, list | tuple):
        return value
    if any(one is None or isinstance(one, list | tuple | Mapping) for one in value):
        raise ValueError("a list of languages holds names, each a text, and no lists, keys or empty places")
    return ",".join(map(str, value))


class Part(BaseModel):
    """One part of a run's configuration: frozen, strict, a docstring under each field."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


def published_values(field: FieldInfo) -> tuple[FieldValue, ...]:
    """Return the published recipe's values of a field: its default, unless it says several."""
    return next((one.values for one in field.metadata if isinstance(one, Published)), (field.default,))


def is_marked(field: FieldInfo, mark: Mark) -> bool:
    """Whether a field bears a mark."""
    return mark in field.metadata
