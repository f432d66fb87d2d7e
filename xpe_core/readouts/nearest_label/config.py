"""The fields of the readout of label names."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from xpe_core.fields import Mark
from xpe_core.readouts.readout import ReadoutConfig

PLACE = "{label}"


class NearestLabelConfig(ReadoutConfig):
    """The nearest label name."""

    readout: Annotated[Literal["nearest_label"], Mark.SHARED, Mark.LATER] = "nearest_label"
    """The label whose name is nearest to the text, by the mean states of both, is the answer."""
    label_template: Annotated[str, Mark.SHARED, Mark.LATER] = Field(PLACE, min_length=1)
    """The text that a label's name becomes, such as `query: this text is about {label}`."""

    @field_validator("label_template")
    @classmethod
    def _check_place(cls, value: str) -> str:
        if value.count(PLACE) != 1:
            raise ValueError(f"must hold {PLACE} once")
        return value
