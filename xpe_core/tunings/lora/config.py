"""The fields of LoRA (arXiv:2106.09685)."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from xpe_core.backbones.roles import ROLES
from xpe_core.fields import Float, Mark, SharedInt, join_names
from xpe_core.lists import split_list
from xpe_core.tunings.tuning import TuningConfig

ALL = "all"


class LoraConfig(TuningConfig):
    """Low-rank updates of linear layers."""

    tuning: Annotated[Literal["lora"], Mark.SHARED] = "lora"
    """Low-rank updates are trained."""
    rank: Annotated[SharedInt, Mark.COMPUTED, Mark.SAID] = Field(8, ge=1, le=1024)
    """Rank of every layer's update (peft's `r`)."""
    alpha: Annotated[Float, Mark.COMPUTED] = Field(16.0, gt=0)
    """The update is multiplied with alpha / rank (peft's `lora_alpha`)."""
    lora_dropout: Annotated[Float, Mark.DROPOUT] = Field(0.0, ge=0, lt=1)
    """Dropout of what goes into the updates."""
    target_modules: Annotated[str, BeforeValidator(join_names), Mark.SHARED, Mark.COMPUTED, Mark.SAID] = "query,value"
    """Linear layers that are updated, by role: query, key, value, attention_output, gate, up, down; or `all`."""

    @field_validator("target_modules")
    @classmethod
    def _order_roles(cls, value: str) -> str:
        """Write the roles in one order, so that equal ones are one configuration."""
        roles = split_list(value)
        if roles == [ALL]:
            return ALL
        if unknown := [role for role in roles if role not in ROLES]:
            raise ValueError(f"{unknown[0]!r} is no role of a linear layer; allowed are {', '.join(ROLES)}, or all")
        if not roles or len(set(roles)) < len(roles):
            raise ValueError(f"must name roles, each once ({', '.join(ROLES)}), or be all")
        return ",".join(role for role in ROLES if role in roles)

    @property
    def roles(self) -> tuple[str, ...] | None:
        """The roles of the updated layers; None: whatever roles the backbone has."""
        return None if self.target_modules == ALL else tuple(split_list(self.target_modules))
