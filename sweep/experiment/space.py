"""What may vary in a search: the values of one field, fields tied to others, and fields that only sometimes matter.

A point of the space is a mapping from names to values: of the searched fields, and of `+`-joined names for lists that
are zipped together. `values_at` makes a point into values of `RunConfig`'s fields.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sweep.experiment.fields import holds
from xpe_core.config import FIELDS
from xpe_core.fields import FieldValue, Float, Int, join_names
from xpe_core.validation import nearest

BACKBONE_SIZE = "hidden_size"
"""What a field may be tied to beside other fields: the size of the backbone's hidden states."""
SEPARATOR = "+"
"""Between the names of fields that are zipped together."""


class Strict(BaseModel):
    """A part of an experiment file: frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


def join_lists(value: object) -> object:
    """Write a list of languages among the choices as one string, as `RunConfig` does."""
    if not isinstance(value, list | tuple):
        return value  # refused by the field's own type
    return [join_names(one) if isinstance(one, list) else one for one in value]


class Dimension(Strict):
    """The values of one field: exactly one of `choice`, `uniform`, `log_uniform`, `integers`, `tied`."""

    choice: Annotated[Annotated[tuple[FieldValue, ...], Field(min_length=1)] | None, BeforeValidator(join_lists)] = None
    """The values, one as likely as the other."""
    uniform: tuple[Float, Float] | None = None
    """The two ends of a range of numbers."""
    log_uniform: tuple[Float, Float] | None = None
    """The two ends of a range of positive numbers, whose logarithms are uniform."""
    integers: tuple[Int, Int] | None = None
    """The two ends of a range of whole numbers, both included."""
    step: Float | None = Field(None, gt=0)
    """Distance between the values of `uniform` or `integers`, counted from the lower end."""
    tied: str | None = None
    """Another field, or `hidden_size` of the backbone, whose value this one follows."""
    times: Float = Field(1.0, gt=0)
    """What the value of `tied` is multiplied with; whole numbers are rounded."""
    when: dict[str, object] = {}
    """Where the field is searched at all: other fields and what holds of them (`"> 0"`, a value, or a list of values).

    Elsewhere it has its default.
    """

    @model_validator(mode="after")
    def _check(self) -> "Dimension":
        kinds = ("choice", "uniform", "log_uniform", "integers", "tied")
        given = [kind for kind in kinds if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError("needs exactly one of choice, uniform, log_uniform, integers, tied")
        if self.times != 1.0 and self.tied is None:
            raise ValueError("times goes with tied")
        for name in self.when:
            if name not in FIELDS:
                raise ValueError(f"when: {nearest(name, FIELDS)}")
        if self.tied is not None and self.tied not in (*FIELDS, BACKBONE_SIZE):
            raise ValueError(f"tied: {nearest(self.tied, [*FIELDS, BACKBONE_SIZE])}")
        if self.choice is not None or self.tied is not None:
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
    def needs(self) -> set[str]:
        """The fields that must be known before this one."""
        return set(self.when) | ({self.tied} if self.tied and self.tied != BACKBONE_SIZE else set())

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value of a range."""
        bounds = self.uniform or self.log_uniform or self.integers
        assert bounds is not None
        return bounds

    @property
    def extremes(self) -> tuple[FieldValue, ...]:
        """All choices, or the two ends and the centre."""
        return self.choice if self.choice is not None else (*self.bounds, self.centre)

    @property
    def num_values(self) -> int | None:
        """How many values may be drawn; None of a range without steps."""
        if self.choice is not None:
            return len(self.choice)
        step = self.step or (1 if self.integers else 0)
        low, high = self.bounds
        return int((high - low) / step + 1e-8) + 1 if step else None

    @property
    def centre(self) -> FieldValue:
        """The middle choice, the middle of the range on its grid, or the geometric mean of a logarithmic range."""
        if self.choice is not None:
            return self.choice[len(self.choice) // 2]
        low, high = self.bounds
        if self.log_uniform:
            return math.sqrt(low * high)
        step = self.step or (1 if self.integers else 0)
        middle = low + ((high - low) / 2 // step * step if step else (high - low) / 2)
        return int(middle) if self.integers else middle

    def at(self, share: float) -> FieldValue:
        """Return the value at a `share` in [0, 1) of the way through the choices or the range."""
        if self.choice is not None:
            return self.choice[int(share * len(self.choice))]
        low, high = self.bounds
        if self.log_uniform:
            return low * (high / low) ** share
        if self.num_values is None:
            return low + share * (high - low)
        value = low + int(share * self.num_values) * (self.step or 1)
        return int(value) if self.integers else value

    def is_searched(self, values: Mapping[str, object]) -> bool:
        """Whether the field is searched where the others have these values."""
        return all(holds(name, condition, values[name]) for name, condition in self.when.items())


def zip_dimension(lists: Mapping[str, Sequence[FieldValue]]) -> tuple[str, Dimension]:
    """Return the name and the choices (places in the lists) of lists that are zipped together."""
    return SEPARATOR.join(lists), Dimension(choice=tuple(range(len(next(iter(lists.values()))))))
