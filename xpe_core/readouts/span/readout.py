"""Spans as a readout: a start and an end logit a token, as transformers' classes for question answering have them.

R runs, B windows of each, T text tokens, H hidden size. Virtual tokens are no text: the first token is the text's.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from xpe_core.answers import AnswerKind
from xpe_core.fields import FieldValues
from xpe_core.readouts.model_class import ModelClass
from xpe_core.readouts.readout import ReadoutConfig, States
from xpe_core.readouts.span.config import SpanConfig
from xpe_core.readouts.span.in_transformers import QUESTION_ANSWERING

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from xpe_core.backbones.shape import Shape
    from xpe_core.config import RunConfig
    from xpe_core.data.asked import Asked
    from xpe_core.data.tokens import TokenisedData
    from xpe_core.readouts.readout import ReadStates


class SpanReadout:
    """See `Readout`."""

    Config: ClassVar[type[ReadoutConfig]] = SpanConfig
    gives: ClassVar[AnswerKind] = "span"
    hidden_weight: ClassVar[str] = "out.weight"
    class_tensors: ClassVar[tuple[str, ...]] = ()
    in_transformers: ClassVar[ModelClass | None] = QUESTION_ANSWERING
    trains: ClassVar[bool] = True
    method: ClassVar[str | None] = None
    title: ClassVar[str] = "spans"
    sentence: ClassVar[str] = "A start and an end logit a token."

    def read_as(self, reads: States) -> FieldValues:
        """Return no fields: what is read is always the same."""
        return {}

    def reads(self, config: "RunConfig") -> States:
        """Return those of all of the text's tokens."""
        return "text"

    def build(self, config: "RunConfig", shape: "Shape", num_classes: int) -> "nn.Module":
        """Return one linear layer from a state to two logits; there are no classes."""
        from xpe_core.readouts.span.head import SpanHead

        return SpanHead(shape.hidden_size)

    def fit(
        self, config: "RunConfig", data: "TokenisedData", rows: "np.ndarray", read: "ReadStates"
    ) -> "Mapping[str, Tensor]":
        """Return nothing: everything is trained."""
        return {}

    def dropout_rate(self, config: "RunConfig") -> float:
        """Return 0: there is none before the layer."""
        return 0.0

    def mask_shapes(self, config: "RunConfig", num_examples: int, shape: "Shape") -> "Sequence[tuple[int, ...]]":
        """Return none."""
        return []

    def rate_and_decay(self, parameter: str, config: "RunConfig") -> tuple[float, float]:
        """Return the run's rate and decay; biases do not decay, as under transformers' Trainer."""
        training = config.training
        return training.learning_rate, 0.0 if "bias" in parameter else training.weight_decay

    def losses(self, outputs: "Tensor", asked: "Asked") -> "Tensor":
        """Return the mean of both cross-entropies [R, B], each over all tokens of a window."""
        from xpe_core.readouts.span.choosing import lose

        return lose(outputs, asked)

    def predictions(self, outputs: "Tensor", asked: "Asked", config: "RunConfig") -> "Tensor":
        """Return the best span of every window: its first token, its last one, and its score [R, B, 3]."""
        from xpe_core.readouts.span.choosing import choose

        assert isinstance(config.readout, SpanConfig)
        return choose(outputs, asked, config.readout.max_answer_length)
