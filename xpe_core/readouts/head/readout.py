"""The classification head as a readout: cross-entropy in training, the most probable class as the answer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from xpe_core.fields import FieldValues
from xpe_core.readouts.head.config import HeadConfig
from xpe_core.readouts.readout import ReadoutConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xpe_core.backbones.shape import Shape
    from xpe_core.config import RunConfig


class HeadReadout:
    """See `Readout`."""

    Config: ClassVar[type[ReadoutConfig]] = HeadConfig

    def read_as(self, reads: Literal["first", "mean"]) -> FieldValues:
        """Return the `pooling`."""
        return {"pooling": reads}

    def reads(self, config: "RunConfig") -> Literal["first", "mean"]:
        """Return the config's `pooling`."""
        return _own(config).pooling

    def build(self, config: "RunConfig", shape: "Shape", num_classes: int) -> "nn.Module":
        """Return XLM-R's own head, from scratch."""
        from xpe_core.readouts.head.head import ClassificationHead

        return ClassificationHead(shape.hidden_size, num_classes)

    def dropout_rate(self, config: "RunConfig") -> float:
        """Return the config's `head_dropout`."""
        return _own(config).head_dropout

    def mask_shapes(self, config: "RunConfig", num_examples: int, shape: "Shape") -> "Sequence[tuple[int, ...]]":
        """Return two of [B, H]: one before each layer."""
        return [(num_examples, shape.hidden_size)] * 2

    def rate_and_decay(self, parameter: str, config: "RunConfig") -> tuple[float, float]:
        """Return the run's rate and decay; biases do not decay, as under transformers' Trainer."""
        training = config.training
        return training.learning_rate, 0.0 if "bias" in parameter else training.weight_decay

    def losses(self, outputs: "Tensor", labels: "Tensor") -> "Tensor":
        """Return the cross-entropy of every example [R, B]."""
        from torch.nn import functional

        losses = functional.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none")
        return losses.unflatten(0, labels.shape)

    def predictions(self, outputs: "Tensor") -> "Tensor":
        """Return the classes of the largest logits [R, B]."""
        return outputs.argmax(-1)


def _own(config: "RunConfig") -> HeadConfig:
    assert isinstance(config.readout, HeadConfig)
    return config.readout
