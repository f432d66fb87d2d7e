"""The fields of the readout of spans."""

from typing import Annotated, Literal

from pydantic import Field

from xpe_core.fields import Int, Mark
from xpe_core.readouts.readout import ReadoutConfig


class SpanConfig(ReadoutConfig):
    """Where an answer begins and ends in a passage."""

    readout: Annotated[Literal["span"], Mark.SHARED, Mark.LATER] = "span"
    """What turns hidden states into an answer."""
    max_answer_length: Annotated[Int, Mark.SHARED, Mark.COMPUTED] = Field(30, ge=1)
    """Tokens of an answer at most (transformers' run_qa: 30)."""
