"""What is asked of the texts of a batch, beside the texts: the answers to learn, and where an answer may stand.

R runs (1 where all have the same texts), B examples of each, T text tokens.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Asked:
    """Of the texts of a batch."""

    targets: "Tensor"
    """What would be right: ids of classes [R, B], or the first and the last token of an answer [R, B, 2]."""
    lengths: "Tensor"
    """Tokens of each text that are no padding [R, B]."""
    places: "Tensor | None" = None
    """Whether an answer may hold a token [R, B, T]; None where answers are no spans."""

    def to(self, device: "torch.device") -> "Asked":
        """Return the same on a device."""
        places = None if self.places is None else self.places.to(device)
        return Asked(self.targets.to(device), self.lengths.to(device), places)
