"""Full fine-tuning as a tuning: what it puts into the backbone are weights in the place of the frozen ones."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from xpe_core.errors import InputError
from xpe_core.fields import FieldValues
from xpe_core.tunings.full.config import FullConfig
from xpe_core.tunings.peft_format import PeftFormat
from xpe_core.tunings.tuning import TuningConfig
from xpe_core.tunings.words import Words

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xpe_core.backbones.backbone import Backbone
    from xpe_core.backbones.insertion import Insertion
    from xpe_core.backbones.shape import Shape
    from xpe_core.config import RunConfig
    from xpe_core.tunings.tuning import Output

UNDECAYED = re.compile(r"bias|layer_?norm|rmsnorm|(?:^|\.)(?:norm|ln)(?:$|\.)|_norm(?:$|\.)")
"""In the small letters of a weight's name: it does not decay under transformers' Trainer either, by name or class."""


class FullTuning:
    """See `Tuning`."""

    Config: ClassVar[type[TuningConfig]] = FullConfig
    methods: ClassVar[Mapping[str, str]] = {"full": "full fine-tuning"}
    sharing: ClassVar[Literal["pack", "alone"]] = "alone"
    inserts: ClassVar[bool] = True
    baselines: ClassVar[Mapping[str, FieldValues]] = {}
    peft: ClassVar[PeftFormat | None] = None
    drops_in_layers: ClassVar[bool] = False

    def check(self, config: "RunConfig", shape: "Shape") -> None:
        """Raise InputError where layers are to be computed again, and the backbone's cannot be."""
        if _own(config).gradient_checkpointing and not shape.can_repeat_layers:
            raise InputError(f"gradient_checkpointing=True: the layers of {shape.name} cannot be computed again")

    def num_tokens(self, config: "RunConfig") -> int:
        """Return 0."""
        return 0

    def num_keys(self, config: "RunConfig", num_layers: int) -> "Sequence[int]":
        """Return none."""
        return ()

    def build(self, config: "RunConfig", shape: "Shape") -> "nn.Module":
        """Return tensors of the backbone's sizes, on no device: what they hold is the backbone's."""
        from xpe_core.tunings.full.weights import Weights

        return Weights(shape.weights)

    def start(self, config: "RunConfig", backbone: "Backbone") -> "Mapping[str, Tensor]":
        """Return the backbone's own weights."""
        weights = backbone.model.state_dict()
        return {name: weights[name] for name in backbone.shape.weights}

    def dropout_rate(self, config: "RunConfig") -> float:
        """Return 0."""
        return 0.0

    def mask_shapes(self, config: "RunConfig", num_examples: int, shape: "Shape") -> "Sequence[tuple[int, ...]]":
        """Return none."""
        return []

    def insert(self, output: "Output", configs: "Sequence[RunConfig]", seeds: "Tensor | None" = None) -> "Insertion":
        """Return the weights."""
        from xpe_core.backbones.insertion import Insertion

        assert isinstance(output, Mapping)
        return Insertion(weights=output, checkpointing=_own(configs[0]).gradient_checkpointing)

    def linears(self, parameters: "Mapping[str, Tensor]") -> Mapping[str, tuple[int, int]]:
        """Return nothing: weights are compared by their own names and sizes."""
        return {}

    def rate_and_decay(self, parameter: str, config: "RunConfig") -> tuple[float, float]:
        """Return the rate of the backbone's weights; biases and norms do not decay."""
        own, training = _own(config), config.training
        rate = training.learning_rate if own.backbone_learning_rate is None else own.backbone_learning_rate
        return rate, 0.0 if UNDECAYED.search(parameter.lower()) else training.weight_decay

    def describe(self, config: "RunConfig") -> Words:
        """Return that everything is trained."""
        return Words(
            title="full fine-tuning",
            size="",
            sentence="All weights of the encoder are trained, with those of the head; no token is added.",
            tags=("full-fine-tuning",),
            why_unpublished="tuning is full",
        )


def _own(config: "RunConfig") -> FullConfig:
    assert isinstance(config.tuning, FullConfig)
    return config.tuning
