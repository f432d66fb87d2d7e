"""The fields of full fine-tuning."""

from typing import Annotated, Literal

from pydantic import Field

from xpe_core.fields import Float, Mark
from xpe_core.tunings.tuning import TuningConfig


class FullConfig(TuningConfig):
    """All of the backbone's weights are trained."""

    tuning: Annotated[Literal["full"], Mark.SHARED] = "full"
    """All weights of the backbone are trained, in a copy of the run's own."""
    backbone_learning_rate: Float | None = Field(None, gt=0)
    """Rate of the backbone's weights; null is `learning_rate`, which is the head's."""
    gradient_checkpointing: Annotated[bool, Mark.SHARED] = False
    """Compute the layers again in the backward pass: less memory, about a third more time, the same numbers."""
