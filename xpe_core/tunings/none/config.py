"""No tuning has no fields."""

from typing import Annotated, Literal

from xpe_core.fields import Mark
from xpe_core.tunings.tuning import TuningConfig


class NoConfig(TuningConfig):
    """The readout alone is trained."""

    tuning: Annotated[Literal["none"], Mark.SHARED] = "none"
    """Nothing is trained but the readout."""

    @property
    def method(self) -> str:
        """`head`."""
        return "head"
