"""The nearest label name as a readout: zero-shot classification by the encoder's own states."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from xpe_core.answers import AnswerKind
from xpe_core.fields import FieldValues
from xpe_core.readouts.classes import lose
from xpe_core.readouts.model_class import ModelClass
from xpe_core.readouts.nearest_label.config import NearestLabelConfig
from xpe_core.readouts.readout import ReadoutConfig, States

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from xpe_core.backbones.shape import Shape
    from xpe_core.config import RunConfig
    from xpe_core.data.asked import Asked
    from xpe_core.data.tokens import TokenisedData
    from xpe_core.readouts.readout import ReadStates


class NearestLabelReadout:
    """See `Readout`."""

    Config: ClassVar[type[ReadoutConfig]] = NearestLabelConfig
    gives: ClassVar[AnswerKind] = "class"
    hidden_weight: ClassVar[str] = "weight"
    class_tensors: ClassVar[tuple[str, ...]] = ("weight",)
    in_transformers: ClassVar[ModelClass | None] = None
    trains: ClassVar[bool] = False
    method: ClassVar[str | None] = "nearest"
    title: ClassVar[str] = "nearest label name"
    sentence: ClassVar[str] = (
        "The answer is the label whose name has the mean state nearest to the text's, by the cosine; no step is taken."
    )

    def read_as(self, reads: States) -> FieldValues:
        """Return no fields: what is read is always the same."""
        return {}

    def reads(self, config: "RunConfig") -> States:
        """Return the mean over all that is no padding."""
        return "mean"

    def build(self, config: "RunConfig", shape: "Shape", num_classes: int) -> "nn.Module":
        """Return a module whose tensors `fit` fills in."""
        from xpe_core.readouts.untrained import Names

        return Names(shape.hidden_size, num_classes)

    def fit(
        self, config: "RunConfig", data: "TokenisedData", rows: "np.ndarray", read: "ReadStates"
    ) -> "Mapping[str, Tensor]":
        """Return the states of the names, each in the template."""
        from xpe_core.readouts.nearest_label.config import PLACE

        assert isinstance(config.readout, NearestLabelConfig)
        template = config.readout.label_template
        return {"weight": read([template.replace(PLACE, name) for name in data.label_names])}

    def dropout_rate(self, config: "RunConfig") -> float:
        """Return 0."""
        return 0.0

    def mask_shapes(self, config: "RunConfig", num_examples: int, shape: "Shape") -> "Sequence[tuple[int, ...]]":
        """Return none."""
        return []

    def rate_and_decay(self, parameter: str, config: "RunConfig") -> tuple[float, float]:
        """Return 0: nothing is trained."""
        return 0.0, 0.0

    def losses(self, outputs: "Tensor", asked: "Asked") -> "Tensor":
        """Return the cross-entropy of every example [R, B], of outputs [R, B, C]."""
        return lose(outputs, asked)

    def predictions(self, outputs: "Tensor", asked: "Asked", config: "RunConfig") -> "Tensor":
        """Return the classes of the largest logits [R, B]."""
        return outputs.argmax(-1)
