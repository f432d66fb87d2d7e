"""What readouts have in common whose answers are classes.

R runs, B examples, C classes.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from xpe_core.data.asked import Asked


def lose(outputs: "Tensor", asked: "Asked") -> "Tensor":
    """Return the cross-entropy of every example [R, B], of outputs [R, B, C]."""
    from torch.nn import functional

    labels = asked.targets.expand(outputs.shape[:2])  # [R, B]
    losses = functional.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none")
    return losses.unflatten(0, labels.shape)
