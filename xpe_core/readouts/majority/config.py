"""The readout of the most frequent class has no fields."""

from typing import Annotated, Literal

from xpe_core.fields import Mark
from xpe_core.readouts.readout import ReadoutConfig


class MajorityConfig(ReadoutConfig):
    """The most frequent class."""

    readout: Annotated[Literal["majority"], Mark.SHARED, Mark.LATER] = "majority"
    """The most frequent class of the training examples is every answer."""
