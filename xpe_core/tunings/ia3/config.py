"""The fields of IA3: it has none but its name."""

from typing import Annotated, Literal

from xpe_core.fields import Mark
from xpe_core.tunings.tuning import TuningConfig


class Ia3Config(TuningConfig):
    """Scales of keys, values and the feed-forward layer's inner states (arXiv:2205.05638)."""

    tuning: Annotated[Literal["ia3"], Mark.SHARED] = "ia3"
    """Keys, values and inner states of the feed-forward layers are scaled."""
