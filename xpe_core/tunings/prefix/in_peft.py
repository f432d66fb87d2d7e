"""Prefixes in peft's format: PREFIX_TUNING's `prompt_embeddings` [P, L * 2 * N], keys and values by turns.

However they were trained, keys and values are a table in what is saved. peft puts them into all L layers, and only into
models whose own class takes `past_key_values`: BERT and XLM-R do, DeBERTa and ModernBERT do not.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from xpe_core.errors import InputError
from xpe_core.fields import FieldValue
from xpe_core.json_types import JsonObject
from xpe_core.tunings.peft_format import PeftFields, PeftPart
from xpe_core.tunings.prefix.config import PARTS, PrefixConfig
from xpe_core.validation import build_config

if TYPE_CHECKING:  # Torch takes seconds to import
    from torch import Tensor, nn

    from xpe_core.config import RunConfig

TABLE = "prompt_embeddings"
LARGEST = 1 << 16
"""Of any size in a config, so that a made-up one is refused before a tensor of it is."""


class Settings(BaseModel):
    """The keys of `adapter_config.json` that decide what a prefix computes."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)

    num_virtual_tokens: int = Field(ge=1, le=LARGEST)
    num_layers: int = Field(ge=1, le=LARGEST)
    token_dim: int = Field(ge=1, le=LARGEST)


class PrefixInPeft:
    """See `PeftFormat`."""

    types: ClassVar[tuple[str, ...]] = ("PREFIX_TUNING",)
    wraps: ClassVar[bool] = False

    def write(self, config: "RunConfig", module: "nn.Module", modules: "Callable[[], Mapping[str, str]]") -> PeftPart:
        """Return keys and values as a table; InputError where peft cannot put them where they are."""
        from xpe_core.backbones.backbone import find_shape

        shape = find_shape(config.backbone)
        if not shape.takes_past:
            raise InputError(
                f"tuning=prefix: peft cannot put keys into {config.backbone}, whose class takes no past_key_values; "
                "allowed is the project's own format"
            )
        assert isinstance(config.tuning, PrefixConfig)
        chosen, num_layers = config.tuning.prefix_layers, len(shape.keys or ())
        if chosen not in (None, num_layers):
            raise InputError(
                f"prefix_layers={chosen}: peft puts keys into all {num_layers} layers; allowed are null, or the "
                "project's own format"
            )
        return write_prefix(module, num_layers)

    def read(
        self, values: Mapping[str, object], tensors: "dict[str, Tensor]", trained: "RunConfig | None", where: str
    ) -> PeftFields:
        """Return keys and values by layer, trained directly."""
        return read_prefix(values, tensors, trained, where)


def write_prefix(prefix: "nn.Module", num_layers: int) -> PeftPart:
    """Return what is written of a prefix in all layers."""
    import torch

    with torch.inference_mode():
        output: dict[str, Tensor] = prefix([])
        table = torch.cat([output[f"{layer}.{part}"] for layer in range(num_layers) for part in PARTS], dim=1).clone()
    settings: JsonObject = {
        "num_virtual_tokens": len(table),
        "token_dim": table.shape[1] // (2 * num_layers),
        "num_transformer_submodules": 1,
        "prefix_projection": False,
    }
    words = f"{len(table)} keys and values in every layer"
    return PeftPart(settings, {TABLE: table}, "A prefix", words, "the prefix")


def read_prefix(
    values: Mapping[str, object], tensors: "dict[str, Tensor]", trained: "RunConfig | None", where: str
) -> PeftFields:
    """Move a prefix out of a folder's tensors and return it; InputError that names `where`."""
    settings = build_config(Settings, values, f"{where}: adapter_config.json")
    if TABLE not in tensors:
        raise InputError(f"{where}: the tensor {TABLE} is missing")
    table = tensors.pop(TABLE)
    wanted = [settings.num_virtual_tokens, 2 * settings.num_layers * settings.token_dim]
    if list(table.shape) != wanted:
        raise InputError(
            f"{where}: its keys and values have the shape {list(table.shape)}; adapter_config.json wants {wanted}"
        )
    names = [f"layers.{layer}.{part}" for layer in range(settings.num_layers) for part in PARTS]
    parts = table.chunk(len(names), dim=1)
    parameters = {name: part.contiguous() for name, part in zip(names, parts, strict=True)}
    fields: dict[str, FieldValue] = {} if trained is None else dict(trained.set_values)
    is_whole = fields.pop("prefix_projection", None) is None  # an MLP is no part of what is read
    fields |= {"tuning": "prefix", "num_virtual_tokens": settings.num_virtual_tokens}
    return PeftFields(fields, parameters, is_whole)
