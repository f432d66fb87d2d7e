"""The fields of prefix tuning (arXiv:2101.00190; in every layer as in P-tuning v2, arXiv:2110.07602)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from xpe_core.fields import Float, Mark, SharedInt
from xpe_core.tunings.virtual_tokens import VirtualTokens

TEXT = "text"
PARTS = ("key", "value")
"""What a layer has."""


class PrefixConfig(VirtualTokens):
    """Keys and values before those of the text, in the layers' own attention."""

    tuning: Annotated[Literal["prefix"], Mark.SHARED] = "prefix"
    """Keys and values are trained."""
    prefix_layers: Annotated[SharedInt | None, Mark.SHARED, Mark.SAID] = Field(None, ge=1)
    """Layers that have them, counted from the top; null is all."""
    prefix_init: Annotated[Literal["normal", "zero", "text"], Mark.SAID] = "text"
    """What they start from: the backbone's own keys and values of `prefix_text`, N(0, 1) as in peft, or zeros.

    Keys and values that start from zeros stay the same for all virtual tokens of a layer. With a projection, `normal`
    is what goes into the MLP, and `zero` its last layer, as in peft.
    """
    prefix_text: str = Field("Read the text and say what it is about.", min_length=1)
    """The text of `prefix_init: text`: as many of its tokens as there are virtual ones; a shorter one is repeated."""
    prefix_projection: Annotated[SharedInt | None, Mark.SHARED] = Field(None, ge=1)
    """Width of an MLP that keys and values come from in training; null trains them directly.

    In peft it is `prefix_projection` with `encoder_hidden_size`.
    """
    prefix_learning_rate: Float = Field(5e-3, gt=0)
    """Rate of keys and values, or of the MLP that they come from."""
    prefix_weight_decay: Float = Field(0.0, ge=0)
    """Decay of the same; biases do not decay."""

    @model_validator(mode="after")
    def _start_directly(self) -> "PrefixConfig":
        if self.prefix_init == TEXT and self.prefix_projection is not None:
            raise ValueError(
                f"prefix_init=text with prefix_projection={self.prefix_projection}: keys and values of a text are no "
                "weights of an MLP; allowed are prefix_projection=null, or prefix_init=normal or zero"
            )
        return self
