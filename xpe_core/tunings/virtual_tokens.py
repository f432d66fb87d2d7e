"""The one field that several tunings share: they mean the same, so that one line says it for all arms of a grid."""

from typing import Annotated

from pydantic import Field

from xpe_core.fields import Mark, SharedInt
from xpe_core.tunings.tuning import TuningConfig


class VirtualTokens(TuningConfig):
    """What stands before the text."""

    num_virtual_tokens: Annotated[SharedInt, Mark.COMPUTED, Mark.SAID] = Field(20, ge=1, le=256)
    """Virtual tokens before the text, of a prompt or a prefix (recipe: 20)."""
