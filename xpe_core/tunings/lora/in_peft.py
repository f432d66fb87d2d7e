"""LoRA in peft's format: `lora_A` [r, I] and `lora_B` [O, r] of every updated layer, by the layer's name in the model.

Settings of peft that change what is computed (rslora, dora, ranks that differ, trained biases) are refused, and so are
starts that take something out of the frozen weights: PiSSA, OLoRA, CorDA, LoftQ.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from xpe_core.backbones.roles import ROLES, find_role
from xpe_core.errors import InputError
from xpe_core.fields import FieldValues
from xpe_core.json_types import JsonObject
from xpe_core.tunings.lora.config import LoraConfig
from xpe_core.tunings.peft_format import PeftFields, PeftPart
from xpe_core.validation import build_config

if TYPE_CHECKING:  # Torch takes seconds to import
    from torch import Tensor, nn

    from xpe_core.config import RunConfig

PARTS = {"down": "lora_A.weight", "up": "lora_B.weight"}
"""What our matrices are called in peft."""
BASE = "base_model."


class Settings(BaseModel):
    """The keys of `adapter_config.json` that decide what the updates compute."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)

    r: int = Field(ge=1, le=1024)
    lora_alpha: float = Field(gt=0, strict=False)
    bias: Literal["none"] = "none"
    use_rslora: Literal[False] = False
    use_dora: Literal[False] = False
    lora_bias: Literal[False] = False
    rank_pattern: dict[str, int] = Field({}, max_length=0)
    alpha_pattern: dict[str, int] = Field({}, max_length=0)
    init_lora_weights: Literal[True, False, "gaussian", "eva", "orthogonal"] | None = True
    """peft writes others, which change the base model, too, as LoRA of a higher rank that does not: by
    `save_pretrained(..., path_initial_model_for_weight_conversion=...)`."""


class LoraInPeft:
    """See `PeftFormat`."""

    types: ClassVar[tuple[str, ...]] = ("LORA",)
    wraps: ClassVar[bool] = True

    def write(self, config: "RunConfig", module: "nn.Module", modules: "Callable[[], Mapping[str, str]]") -> PeftPart:
        """Return the matrices by the names of the layers."""
        assert isinstance(config.tuning, LoraConfig)
        return write_updates(config.tuning, module.state_dict(), modules())

    def read(
        self, values: Mapping[str, object], tensors: "dict[str, Tensor]", trained: "RunConfig | None", where: str
    ) -> PeftFields:
        """Return the matrices by block and role."""
        return read_updates(values, tensors, trained, where)


def write_updates(config: LoraConfig, parameters: "Mapping[str, Tensor]", modules: Mapping[str, str]) -> PeftPart:
    """Return what is written of the updates; `modules` are the names of the model's linear layers by `layer.role`."""
    keys = list(dict.fromkeys(name.removeprefix("layers.").rpartition(".")[0] for name in parameters))
    tensors = {
        f"{BASE}{modules[key]}.{theirs}": parameters[f"layers.{key}.{ours}"]
        for key in keys
        for ours, theirs in PARTS.items()
    }
    settings: JsonObject = {
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": config.lora_dropout,
        "target_modules": _name_targets([modules[key] for key in keys], list(modules.values())),
        "bias": "none",
        "fan_in_fan_out": False,
    }
    roles = " and ".join(role for role in ROLES if any(key.endswith(f".{role}") for key in keys))
    return PeftPart(settings, tensors, "LoRA", f"Low-rank updates (rank {config.rank}) of {roles}", "the updates")


def read_updates(
    values: Mapping[str, object], tensors: "dict[str, Tensor]", trained: "RunConfig | None", where: str
) -> PeftFields:
    """Move the updates out of a folder's tensors and return them; InputError that names `where`."""
    settings = build_config(Settings, values, f"{where}: adapter_config.json")
    parameters: dict[str, Tensor] = {}
    roles: set[str] = set()
    for ours, theirs in PARTS.items():
        for name in [name for name in tensors if name.endswith(f".{theirs}")]:
            module = name.removesuffix(f".{theirs}").removeprefix(BASE)
            if not (found := find_role(module)):
                raise InputError(f"{where}: the layer {module} has no role of these: {', '.join(ROLES)}")
            roles.add(found[1])
            parameters[f"layers.{found[0]}.{found[1]}.{ours}"] = tensors.pop(name)
    if not parameters:
        raise InputError(f"{where}: it holds no tensor that ends in {PARTS['down']}")
    known = {} if trained is None else trained.set_values
    own: FieldValues = {"rank": settings.r, "alpha": settings.lora_alpha, "target_modules": ",".join(sorted(roles))}
    return PeftFields({**known, "tuning": "lora", **own}, parameters)


def _name_targets(chosen: list[str], every: list[str]) -> list[str]:
    """Return the last words of the layers' names where these name no other layer, else the whole names."""
    words = list(dict.fromkeys(name.rpartition(".")[2] for name in chosen))
    return words if {name for name in every if name.rpartition(".")[2] in words} == set(chosen) else chosen
