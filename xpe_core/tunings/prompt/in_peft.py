"""Prompts in peft's format: at inference any prompt is a fixed table, PROMPT_TUNING's `prompt_embeddings` [P, H].

Read are PROMPT_TUNING and peft's own P_TUNING, whose encoder is gone from what it saves. The prompt is then an SPT,
whatever it was trained as.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from xpe_core.errors import InputError
from xpe_core.json_types import JsonObject
from xpe_core.tunings.peft_format import PeftFields, PeftPart
from xpe_core.validation import build_config

if TYPE_CHECKING:  # Torch takes seconds to import
    from torch import Tensor, nn

    from xpe_core.config import RunConfig

TABLE = "prompt_embeddings"
LARGEST = 1 << 16
"""Of any size in a config, so that a made-up one is refused before a tensor of it is."""


class Settings(BaseModel):
    """The keys of `adapter_config.json` that decide what a prompt computes."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)

    num_virtual_tokens: int = Field(ge=1, le=LARGEST)
    token_dim: int | None = Field(None, ge=1, le=LARGEST)
    """Of the virtual tokens; null is that of the tensors."""


class PromptInPeft:
    """See `PeftFormat`."""

    types: ClassVar[tuple[str, ...]] = ("PROMPT_TUNING", "P_TUNING")
    wraps: ClassVar[bool] = False

    def write(self, config: "RunConfig", module: "nn.Module", modules: "Callable[[], Mapping[str, str]]") -> PeftPart:
        """Return the virtual tokens as a table."""
        return write_prompt(module)

    def read(
        self, values: Mapping[str, object], tensors: "dict[str, Tensor]", trained: "RunConfig | None", where: str
    ) -> PeftFields:
        """Return a table of virtual tokens as an SPT."""
        return read_prompt(values, tensors, trained, where)


def write_prompt(prompt: "nn.Module") -> PeftPart:
    """Return what is written of a prompt."""
    import torch

    with torch.inference_mode():
        table: Tensor = prompt([])[0].clone()
    settings: JsonObject = {
        "num_virtual_tokens": len(table),
        "token_dim": table.shape[1],
        "num_transformer_submodules": 1,
        "prompt_tuning_init": "RANDOM",
    }
    return PeftPart(settings, {TABLE: table}, "A prompt", f"{len(table)} virtual tokens", "the prompt")


def read_prompt(
    values: Mapping[str, object], tensors: "dict[str, Tensor]", trained: "RunConfig | None", where: str
) -> PeftFields:
    """Move a prompt out of a folder's tensors and return it; InputError that names `where`."""
    settings = build_config(Settings, values, f"{where}: adapter_config.json")
    if TABLE not in tensors:
        raise InputError(f"{where}: the tensor {TABLE} is missing")
    table = tensors.pop(TABLE)
    wanted = [settings.num_virtual_tokens, settings.token_dim or table.shape[-1]]
    if list(table.shape) != wanted:
        raise InputError(
            f"{where}: its virtual tokens have the shape {list(table.shape)}; adapter_config.json wants {wanted}"
        )
    known = {} if trained is None else trained.set_values
    is_whole = trained is None or trained.method == "spt"
    if not is_whole:  # of an encoder nothing is known, since it is no part of what is read
        known = {name: value for name, value in known.items() if not name.startswith("encoder_")}
    fields = {**known, "num_virtual_tokens": settings.num_virtual_tokens, "encoder_ratio": 0.0}
    return PeftFields(fields, {"embedding.weight": table}, is_whole)
