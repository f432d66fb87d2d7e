"""The fields of the classification head."""

from typing import Annotated, Literal

from pydantic import Field

from xpe_core.fields import Float, Mark
from xpe_core.readouts.readout import ReadoutConfig


class HeadConfig(ReadoutConfig):
    """A classification head."""

    readout: Annotated[Literal["head"], Mark.SHARED, Mark.LATER] = "head"
    """What turns hidden states into an answer."""
    head_dropout: Annotated[Float, Mark.DROPOUT] = Field(0.1, ge=0, lt=1)
    """Dropout before both layers of the classification head (XLM-R's own head: 0.1)."""
    pooling: Annotated[Literal["first", "mean"], Mark.SHARED, Mark.COMPUTED] = "first"
    """What the head reads: the first position (recipe: that of the first virtual token), or the mean over all."""
