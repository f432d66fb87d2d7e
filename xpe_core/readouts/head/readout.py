"""The classification head as a readout: cross-entropy in training, the most probable class as the answer."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from xpe_core.answers import AnswerKind
from xpe_core.fields import FieldValues
from xpe_core.readouts.classes import lose
from xpe_core.readouts.head.config import HeadConfig
from xpe_core.readouts.head.in_transformers import CLASSIFICATION
from xpe_core.readouts.model_class import ModelClass
from xpe_core.readouts.readout import ReadoutConfig, States

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from xpe_core.backbones.shape import Shape
    from xpe_core.config import RunConfig
    from xpe_core.data.asked import Asked
    from xpe_core.data.tokens import TokenisedData
    from xpe_core.readouts.readout import ReadStates


class HeadReadout:
    """See `Readout`."""

    Config: ClassVar[type[ReadoutConfig]] = HeadConfig
    gives: ClassVar[AnswerKind] = "class"
    hidden_weight: ClassVar[str] = "dense.weight"
    class_tensors: ClassVar[tuple[str, ...]] = ("out.weight", "out.bias")
    in_transformers: ClassVar[ModelClass | None] = CLASSIFICATION
    trains: ClassVar[bool] = True
    method: ClassVar[str | None] = None
    title: ClassVar[str] = "classification head"
    sentence: ClassVar[str] = "A classification head over one state."

    def read_as(self, reads: States) -> FieldValues:
        """Return the `pooling`."""
        return {"pooling": reads}

    def reads(self, config: "RunConfig") -> States:
        """Return the config's `pooling`."""
        return _own(config).pooling

    def build(self, config: "RunConfig", shape: "Shape", num_classes: int) -> "nn.Module":
        """Return XLM-R's own head, from scratch."""
        from xpe_core.readouts.head.head import ClassificationHead

        return ClassificationHead(shape.hidden_size, num_classes)

    def fit(
        self, config: "RunConfig", data: "TokenisedData", rows: "np.ndarray", read: "ReadStates"
    ) -> "Mapping[str, Tensor]":
        """Return nothing: everything is trained."""
        return {}

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

    def losses(self, outputs: "Tensor", asked: "Asked") -> "Tensor":
        """Return the cross-entropy of every example [R, B], of outputs [R, B, C]."""
        return lose(outputs, asked)

    def predictions(self, outputs: "Tensor", asked: "Asked", config: "RunConfig") -> "Tensor":
        """Return the classes of the largest logits [R, B]."""
        return outputs.argmax(-1)


def _own(config: "RunConfig") -> HeadConfig:
    assert isinstance(config.readout, HeadConfig)
    return config.readout
