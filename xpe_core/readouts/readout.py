"""What a readout is: the part of a run that turns hidden states into an answer.

R runs, B examples, H the backbone's hidden size, C classes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from xpe_core.fields import FieldValues, Part

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xpe_core.backbones.shape import Shape
    from xpe_core.config import RunConfig


class ReadoutConfig(Part):
    """The fields of a readout."""

    readout: str
    """Which it is."""


class Readout(Protocol):
    """How an answer is read; stateless, one object a readout."""

    Config: ClassVar[type[ReadoutConfig]]
    """Field names are unique over all parts."""

    def read_as(self, reads: Literal["first", "mean"]) -> FieldValues:
        """Return the fields of a readout that reads these states."""

    def reads(self, config: "RunConfig") -> Literal["first", "mean"]:
        """Return which states are read: the first position's, or the mean over all that is no padding."""

    def build(self, config: "RunConfig", shape: "Shape", num_classes: int) -> "nn.Module":
        """Return one run's module, drawn from torch's generator: from states [B, H] and masks to outputs [B, C]."""

    def dropout_rate(self, config: "RunConfig") -> float:
        """Return the probability of a zero in the masks."""

    def mask_shapes(self, config: "RunConfig", num_examples: int, shape: "Shape") -> "Sequence[tuple[int, ...]]":
        """Return the shapes of one run's dropout masks; the first dimension is the examples."""

    def rate_and_decay(self, parameter: str, config: "RunConfig") -> tuple[float, float]:
        """Return the learning rate and the weight decay of a parameter of the module."""

    def losses(self, outputs: "Tensor", labels: "Tensor") -> "Tensor":
        """Return one loss an example [R, B], in nats, of outputs [R, B, C] and labels [R, B]."""

    def predictions(self, outputs: "Tensor") -> "Tensor":
        """Return the ids of the predicted classes [R, B] of outputs [R, B, C]."""
