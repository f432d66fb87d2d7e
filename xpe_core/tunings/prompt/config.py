"""The fields of soft prompts: SPT, XPE and DUAL, one by the other's `encoder_ratio` (arXiv:2508.10352)."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from xpe_core.fields import Float, Mark, Published, SharedFloat, SharedInt
from xpe_core.tunings.virtual_tokens import VirtualTokens

SOFT, ENCODED, BOTH = "spt", "xpe", "dual"


class PromptConfig(VirtualTokens):
    """Virtual tokens before the text."""

    tuning: Annotated[Literal["prompt"], Mark.SHARED, Mark.LATER] = "prompt"
    """What is trained inside or in front of the frozen backbone."""
    encoder_ratio: Annotated[SharedFloat, Mark.COMPUTED, Published((0.0, 0.3, 0.7, 1.0))] = Field(0.3, ge=0, le=1)
    """Share of the virtual tokens that come from the encoder: 0 is SPT, 1 is XPE, between them DUAL."""
    encoder_hidden_size: Annotated[SharedInt, Mark.SAID] = Field(256, ge=1)
    """Width of the encoder's hidden layers (recipe: 256, a quarter of the backbone's)."""
    encoder_num_layers: SharedInt = Field(2, ge=1, le=16)
    """Hidden layers of the encoder; 2 means Linear, Linear, Linear with ReLU and dropout between (recipe: 2).

    Of an `lstm` its layers; `attention` and `none` do not read it.
    """
    encoder_dropout: Annotated[Float, Mark.DROPOUT] = Field(0.1, ge=0, lt=1)
    """Dropout after each of the encoder's hidden layers (recipe: 0.1)."""
    encoder_type: Annotated[Literal["mlp", "lstm", "attention", "none"], Mark.SHARED, Mark.COMPUTED, Mark.LATER] = "mlp"
    """What the input embeddings go through: `mlp` (recipe), `lstm`, `attention`, or `none`."""
    encoder_num_heads: Annotated[SharedInt, Mark.LATER] = Field(8, ge=1)
    """Heads of `encoder_type: attention`; the others do not read it (micm-nlp: 8)."""
    encoder_input_size: Annotated[SharedInt | None, Mark.SHARED, Mark.LATER] = Field(None, ge=1)
    """Size of the encoder's input embeddings; null is the backbone's hidden size (recipe)."""
    prompt_learning_rate: Float = Field(5e-3, gt=0)
    """Rate of the directly trained virtual tokens (recipe: 5e-3)."""
    encoder_prompt_learning_rate: Annotated[Float, Published((5e-5, 5e-3))] = Field(5e-5, gt=0)
    """Rate of the encoder's input embeddings (recipe: 5e-5 in arm A, 5e-3 in arm C)."""
    prompt_weight_decay: Float = Field(0.0, ge=0)
    """Decay of the directly trained virtual tokens (recipe: 0)."""
    encoder_prompt_weight_decay: Annotated[Float, Published((0.01, 0.0))] = Field(0.01, ge=0)
    """Decay of the encoder's input embeddings (recipe: 0.01 in arm A, 0 in arm C)."""

    @model_validator(mode="after")
    def _leave_tokens_for_both_halves(self) -> "PromptConfig":
        if self.num_virtual_tokens == 1 and 0 < self.encoder_ratio < 1:
            raise ValueError(
                f"num_virtual_tokens=1 with encoder_ratio={self.encoder_ratio:g} leaves no token for one half of DUAL; "
                "allowed are at least 2 tokens, or a ratio of 0 (SPT) or 1 (XPE)"
            )
        return self

    @property
    def method(self) -> str:
        """`spt`, `xpe` or `dual`, as the ratio says."""
        return {0.0: SOFT, 1.0: ENCODED}.get(self.encoder_ratio, BOTH)

    @property
    def shares(self) -> Mapping[str, float]:
        """The ratio of a DUAL."""
        return {"encoder_ratio": self.encoder_ratio} if self.method == BOTH else {}

    @property
    def num_encoder_tokens(self) -> int:
        """Virtual tokens that come from the encoder: int(tokens x ratio), for DUAL at least 1 and at most all but 1."""
        if self.method != BOTH:
            return int(self.encoder_ratio) * self.num_virtual_tokens
        # 1e-9: 10 x 0.7 must be 7 even where the product falls a rounding error short of it
        return min(max(int(self.num_virtual_tokens * self.encoder_ratio + 1e-9), 1), self.num_virtual_tokens - 1)
