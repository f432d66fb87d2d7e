"""Prefix tuning as a tuning: its keys and values stand before those of the text, in the layers' own attention."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from xpe_core.errors import InputError
from xpe_core.fields import FieldValues
from xpe_core.tunings.peft_format import PeftFormat
from xpe_core.tunings.prefix.config import PARTS, TEXT, PrefixConfig
from xpe_core.tunings.prefix.in_peft import PrefixInPeft
from xpe_core.tunings.tuning import TuningConfig
from xpe_core.tunings.words import Words

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xpe_core.backbones.backbone import Backbone
    from xpe_core.backbones.insertion import Insertion
    from xpe_core.backbones.shape import Shape
    from xpe_core.config import RunConfig
    from xpe_core.tunings.tuning import Output


class PrefixTuning:
    """See `Tuning`."""

    Config: ClassVar[type[TuningConfig]] = PrefixConfig
    methods: ClassVar[Mapping[str, str]] = {"prefix": "Prefix"}
    sharing: ClassVar[Literal["pack", "alone"]] = "pack"
    inserts: ClassVar[bool] = True
    baselines: ClassVar[Mapping[str, FieldValues]] = {}
    peft: ClassVar[PeftFormat | None] = PrefixInPeft()
    drops_in_layers: ClassVar[bool] = False

    def check(self, config: "RunConfig", shape: "Shape") -> None:
        """Raise InputError where no keys can be put in, there are fewer layers, or no positions are left."""
        choose_layers(_own(config), shape)
        tokens, length = _own(config).num_virtual_tokens, config.data.max_length
        if tokens + length > shape.max_positions:
            raise InputError(
                f"num_virtual_tokens={tokens} and max_length={length} need {tokens + length} positions; "
                f"{config.backbone} has {shape.max_positions}"
            )

    def num_tokens(self, config: "RunConfig") -> int:
        """Return 0: what stands before the text are keys and values alone."""
        return 0

    def num_keys(self, config: "RunConfig", num_layers: int) -> "Sequence[int]":
        """Return the config's `num_virtual_tokens` in the layers that have them."""
        own = _own(config)
        chosen = num_layers if own.prefix_layers is None else min(own.prefix_layers, num_layers)
        return [0] * (num_layers - chosen) + [own.num_virtual_tokens] * chosen

    def build(self, config: "RunConfig", shape: "Shape") -> "nn.Module":
        """Return the keys and values of one run, or the MLP that they come from."""
        from xpe_core.tunings.prefix.prefixes import build_prefix

        return build_prefix(_own(config), shape.hidden_size, choose_layers(_own(config), shape))

    def start(self, config: "RunConfig", backbone: "Backbone") -> "Mapping[str, Tensor]":
        """Return the keys and values of the config's text, where it starts from one."""
        if _own(config).prefix_init != TEXT:
            return {}
        from xpe_core.tunings.prefix.from_text import read_text

        layers = choose_layers(_own(config), backbone.shape)
        parameters = read_text(_own(config), backbone)
        return {name: value for name, value in parameters.items() if int(name.split(".")[1]) in layers}

    def dropout_rate(self, config: "RunConfig") -> float:
        """Return 0."""
        return 0.0

    def mask_shapes(self, config: "RunConfig", num_examples: int, shape: "Shape") -> "Sequence[tuple[int, ...]]":
        """Return none."""
        return []

    def insert(self, output: "Output", configs: "Sequence[RunConfig]", seeds: "Tensor | None" = None) -> "Insertion":
        """Return the keys and values by layer."""
        from xpe_core.backbones.insertion import Insertion, KeysValues

        assert isinstance(output, Mapping)
        layers = [int(name.removesuffix(".key")) for name in output if name.endswith(".key")]
        return Insertion(
            keys_values={layer: KeysValues(output[f"{layer}.key"], output[f"{layer}.value"]) for layer in layers}
        )

    def linears(self, parameters: "Mapping[str, Tensor]") -> Mapping[str, tuple[int, int]]:
        """Return how many numbers come out of the layers' keys and values; an MLP has those of both in one layer."""
        sizes: dict[str, tuple[int, int]] = {}
        for name, value in parameters.items():
            if name.startswith("layers.") and value.ndim == 2:
                _, layer, part = name.split(".")
                of_each = {part: value.shape[1]} if part != "weight" else dict.fromkeys(PARTS, value.shape[0] // 2)
                sizes |= {f"{layer}.{role}": (0, size) for role, size in of_each.items()}
        return sizes

    def rate_and_decay(self, parameter: str, config: "RunConfig") -> tuple[float, float]:
        """Return rate and decay of the prefix."""
        own = _own(config)
        return own.prefix_learning_rate, 0.0 if parameter.endswith(".bias") else own.prefix_weight_decay

    def describe(self, config: "RunConfig") -> Words:
        """Return where its keys and values stand, and how they come about."""
        own = _own(config)
        total = own.num_virtual_tokens
        layers = "every layer" if own.prefix_layers is None else f"the top {own.prefix_layers} layers"
        through = "" if own.prefix_projection is None else f", as the output of an MLP of width {own.prefix_projection}"
        unread = set() if own.prefix_init == TEXT else {"prefix_text"}
        return Words(
            title=f"prefix of {total} virtual token{'' if total == 1 else 's'} (prefix tuning)",
            size=f"{total} tokens",
            sentence=f"In {layers}, {total} trained pair{'' if total == 1 else 's'} of key and value "
            f"stand{'s' if total == 1 else ''} before those of the text{through}; the encoder itself is not changed.",
            tags=("prefix-tuning", "arxiv:2101.00190", "arxiv:2110.07602"),
            unread=frozenset(unread),
            why_unpublished="tuning is prefix",
        )


def choose_layers(config: PrefixConfig, shape: "Shape") -> dict[int, int]:
    """Return N of the layers that have a prefix; InputError where the backbone takes none, or has fewer layers."""
    sizes = dict(enumerate(shape.keys or ()))
    if shape.keys is None:  # an adapter's tensors say which layers there are
        sizes = {int(name.split(".")[0]): size for name, (_, size) in shape.linears.items() if name.endswith(".key")}
    elif not sizes:
        raise InputError(
            f"tuning=prefix: no keys can be put before those of {shape.name}; allowed are encoders whose attention is "
            "one of transformers' AttentionInterface, such as BERT, XLM-R and ModernBERT"
        )
    if config.prefix_layers is not None and config.prefix_layers > len(sizes):
        raise InputError(f"prefix_layers={config.prefix_layers}: {shape.name} has {len(sizes)} layers")
    return dict(sorted(sizes.items())[-(config.prefix_layers or len(sizes)) :])


def _own(config: "RunConfig") -> PrefixConfig:
    assert isinstance(config.tuning, PrefixConfig)
    return config.tuning
