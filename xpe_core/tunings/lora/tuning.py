"""LoRA as a tuning: its matrices are what the backbone adds to its linear layers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from xpe_core.errors import InputError
from xpe_core.fields import FieldValues
from xpe_core.tunings.lora.config import LoraConfig
from xpe_core.tunings.lora.in_peft import LoraInPeft
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


class LoraTuning:
    """See `Tuning`."""

    Config: ClassVar[type[TuningConfig]] = LoraConfig
    methods: ClassVar[Mapping[str, str]] = {"lora": "LoRA"}
    sharing: ClassVar[Literal["pack", "alone"]] = "pack"
    inserts: ClassVar[bool] = True
    baselines: ClassVar[Mapping[str, FieldValues]] = {}
    peft: ClassVar[PeftFormat | None] = LoraInPeft()
    drops_in_layers: ClassVar[bool] = True

    def check(self, config: "RunConfig", shape: "Shape") -> None:
        """Raise InputError where the backbone has no layers of a role."""
        choose_linears(_own(config), shape)

    def num_tokens(self, config: "RunConfig") -> int:
        """Return 0."""
        return 0

    def num_keys(self, config: "RunConfig", num_layers: int) -> "Sequence[int]":
        """Return none."""
        return ()

    def build(self, config: "RunConfig", shape: "Shape") -> "nn.Module":
        """Return the matrices of one run."""
        from xpe_core.tunings.lora.updates import Updates

        own = _own(config)
        return Updates(choose_linears(own, shape), own.rank)

    def start(self, config: "RunConfig", backbone: "Backbone") -> "Mapping[str, Tensor]":
        """Return none."""
        return {}

    def dropout_rate(self, config: "RunConfig") -> float:
        """Return the config's `lora_dropout`."""
        return _own(config).lora_dropout

    def mask_shapes(self, config: "RunConfig", num_examples: int, shape: "Shape") -> "Sequence[tuple[int, ...]]":
        """Return none: the layers draw their dropout themselves."""
        return []

    def insert(self, output: "Output", configs: "Sequence[RunConfig]", seeds: "Tensor | None" = None) -> "Insertion":
        """Return the matrices as deltas, scaled by alpha / rank."""
        import torch

        from xpe_core.backbones.counted_dropout import LayerDropout
        from xpe_core.backbones.insertion import Delta, Insertion

        assert isinstance(output, Mapping)
        first = next(iter(output.values()))
        scales = [_own(config).alpha / _own(config).rank for config in configs]
        scale = torch.tensor(scales, dtype=first.dtype, device=first.device)[:, None, None]
        names = [name.removesuffix(".down") for name in output if name.endswith(".down")]
        rates = torch.tensor([self.dropout_rate(config) for config in configs], device=first.device)
        deltas = {}
        for salt, name in enumerate(names, start=1):
            dropout = None if seeds is None else LayerDropout(rates, seeds, salt)
            deltas[name] = Delta(down=output[f"{name}.down"], up=output[f"{name}.up"] * scale, dropout=dropout)
        return Insertion(deltas=deltas)

    def linears(self, parameters: "Mapping[str, Tensor]") -> Mapping[str, tuple[int, int]]:
        """Return those of the layers that have an update."""
        downs = {name.removesuffix(".down"): value for name, value in parameters.items() if name.endswith(".down")}
        ups = {name: parameters[f"{name}.up"] for name in downs if f"{name}.up" in parameters}
        return {name.removeprefix("layers."): (downs[name].shape[-1], up.shape[0]) for name, up in ups.items()}

    def rate_and_decay(self, parameter: str, config: "RunConfig") -> tuple[float, float]:
        """Return the run's rate and decay."""
        return config.training.learning_rate, config.training.weight_decay

    def describe(self, config: "RunConfig") -> Words:
        """Return rank and layers."""
        own = _own(config)
        layers = "all linear layers" if own.roles is None else f"the linear layers {', '.join(own.roles)}"
        return Words(
            title=f"low-rank update (LoRA) of rank {own.rank}",
            size=f"rank {own.rank}",
            sentence=f"The product of two small matrices (rank {own.rank}, alpha {own.alpha:g}) is added to {layers} "
            "of every block; the encoder's own weights are not changed.",
            tags=("lora", "arxiv:2106.09685"),
            why_unpublished="tuning is lora",
        )


def choose_linears(config: LoraConfig, shape: "Shape") -> dict[str, tuple[int, int]]:
    """Return numbers in and out of the layers that are updated; InputError where the backbone has none of a role."""
    roles = shape.roles if config.roles is None else config.roles
    if missing := [role for role in roles if role not in shape.roles]:
        allowed = f"allowed are {', '.join(shape.roles)}, or all" if shape.roles else "it has none that can be updated"
        raise InputError(
            f"target_modules={config.target_modules}: {shape.name} has no linear layers of the role {missing[0]}; "
            f"{allowed}"
        )
    return {name: size for name, size in shape.linears.items() if name.split(".")[1] in roles}


def _own(config: "RunConfig") -> LoraConfig:
    assert isinstance(config.tuning, LoraConfig)
    return config.tuning
