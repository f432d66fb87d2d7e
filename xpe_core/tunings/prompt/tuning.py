"""Soft prompts as a tuning: virtual tokens before the text."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from xpe_core.errors import InputError
from xpe_core.fields import FieldValues
from xpe_core.tunings.peft_format import PeftFormat
from xpe_core.tunings.prompt.config import PromptConfig
from xpe_core.tunings.prompt.describe import describe_prompt
from xpe_core.tunings.prompt.in_peft import PromptInPeft
from xpe_core.tunings.tuning import TuningConfig
from xpe_core.tunings.words import Words

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xpe_core.backbones.backbone import Backbone
    from xpe_core.backbones.insertion import Insertion
    from xpe_core.backbones.shape import Shape
    from xpe_core.config import RunConfig
    from xpe_core.tunings.tuning import Output


class PromptTuning:
    """See `Tuning`."""

    Config: ClassVar[type[TuningConfig]] = PromptConfig
    methods: ClassVar[Mapping[str, str]] = {"spt": "SPT", "xpe": "XPE", "dual": "DUAL"}
    sharing: ClassVar[Literal["pack", "alone"]] = "pack"
    inserts: ClassVar[bool] = True
    baselines: ClassVar[Mapping[str, FieldValues]] = {
        "spt": {"encoder_ratio": 0.0},
        "xpe": {"encoder_ratio": 1.0},
    }
    peft: ClassVar[PeftFormat | None] = PromptInPeft()
    drops_in_layers: ClassVar[bool] = False

    def check(self, config: "RunConfig", shape: "Shape") -> None:
        """Raise InputError where prompt and text are too long, or an encoder does not fit the hidden size."""
        own = _own(config)
        tokens, length = own.num_virtual_tokens, config.data.max_length
        if tokens + length > shape.max_positions:
            raise InputError(
                f"num_virtual_tokens={tokens} and max_length={length} need {tokens + length} positions; "
                f"{config.backbone} has {shape.max_positions}"
            )
        if own.method == "spt":
            return
        size = own.encoder_input_size or shape.hidden_size
        if own.encoder_type == "attention" and size % own.encoder_num_heads:
            raise InputError(
                f"encoder_num_heads={own.encoder_num_heads}: must divide the size of the encoder's input embeddings, "
                f"which is {size}"
            )
        if own.encoder_type == "none" and size != shape.hidden_size:
            raise InputError(
                f"encoder_input_size={size}: must be {shape.hidden_size}, the hidden size of {shape.name}, "
                "with encoder_type=none"
            )

    def num_tokens(self, config: "RunConfig") -> int:
        """Return the config's `num_virtual_tokens`."""
        return _own(config).num_virtual_tokens

    def num_keys(self, config: "RunConfig", num_layers: int) -> "Sequence[int]":
        """Return none."""
        return ()

    def build(self, config: "RunConfig", shape: "Shape") -> "nn.Module":
        """Return the prompt that `encoder_ratio` means."""
        from xpe_core.tunings.prompt.prompts import build_prompt

        return build_prompt(_own(config), shape.hidden_size)

    def start(self, config: "RunConfig", backbone: "Backbone") -> "Mapping[str, Tensor]":
        """Return none."""
        return {}

    def dropout_rate(self, config: "RunConfig") -> float:
        """Return the config's `encoder_dropout`."""
        return _own(config).encoder_dropout

    def mask_shapes(self, config: "RunConfig", num_examples: int, shape: "Shape") -> "Sequence[tuple[int, ...]]":
        """Return those of the prompt's encoder."""
        from xpe_core.tunings.prompt.prompts import mask_shapes

        return mask_shapes(_own(config), num_examples, shape.hidden_size)

    def insert(self, output: "Output", configs: "Sequence[RunConfig]", seeds: "Tensor | None" = None) -> "Insertion":
        """Return the virtual tokens [R, B, P, H] or [R, 1, P, H]."""
        from xpe_core.backbones.insertion import Insertion

        assert not isinstance(output, Mapping)
        return Insertion(tokens=output)

    def linears(self, parameters: "Mapping[str, Tensor]") -> Mapping[str, tuple[int, int]]:
        """Return nothing: a prompt stands before the text."""
        return {}

    def rate_and_decay(self, parameter: str, config: "RunConfig") -> tuple[float, float]:
        """Return rate and decay: of the directly trained tokens, of the encoder's input, or the run's own.

        Biases and layer norms do not decay, as under transformers' Trainer, which the recipe was run with.
        """
        own = _own(config)
        if parameter == "soft.embedding.weight" or (parameter == "embedding.weight" and own.method == "spt"):
            return own.prompt_learning_rate, own.prompt_weight_decay
        if parameter in ("embedding.weight", "encoded.embedding.weight"):
            return own.encoder_prompt_learning_rate, own.encoder_prompt_weight_decay
        *_, module, last = ["", *parameter.split(".")]
        training = config.training
        return training.learning_rate, 0.0 if "bias" in last or module == "norm" else training.weight_decay

    def describe(self, config: "RunConfig") -> Words:
        """Return how its tokens come about."""
        return describe_prompt(_own(config))


def _own(config: "RunConfig") -> PromptConfig:
    assert isinstance(config.tuning, PromptConfig)
    return config.tuning
