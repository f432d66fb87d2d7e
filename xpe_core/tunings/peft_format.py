"""What a tuning has in the format of the library peft: settings and tensors, beside those of the readout.

Tensors have peft's names with `base_model.` before the names of the model's own modules. Where peft puts modules of its
own into the model, its files say `base_model.model.` instead, which is added and taken away when files are written and
read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from xpe_core.fields import FieldValues
from xpe_core.json_types import JsonObject

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xpe_core.config import RunConfig


class PeftSettings(BaseModel):
    """The keys of `adapter_config.json` that all adapters have."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)

    peft_type: str
    task_type: str | None = None
    base_model_name_or_path: str | None = None
    num_transformer_submodules: int | None = None


@dataclass(frozen=True)
class PeftPart:
    """What is written of a tuning."""

    settings: JsonObject
    """Keys of `adapter_config.json`."""
    tensors: "Mapping[str, Tensor]"
    title: str
    """What it is, as a title begins: `A prompt`."""
    words: str
    """The same in a sentence: `20 virtual tokens`."""
    name: str
    """The same in few words: `the prompt`."""


@dataclass(frozen=True)
class PeftFields:
    """What is read of a tuning."""

    values: FieldValues
    """Fields of `RunConfig`, those of the tuning and what else is known of the run."""
    parameters: "Mapping[str, Tensor]"
    """By the names in the tuning's module."""
    is_whole: bool = True
    """Whether this is all that was trained: an encoder is no part of a written prompt."""


class PeftFormat(Protocol):
    """How a tuning is written and read; stateless, one object a tuning that peft has."""

    types: ClassVar[tuple[str, ...]]
    """What peft calls it in `peft_type`: the first is written, all are read."""
    wraps: ClassVar[bool]
    """Whether peft puts modules of its own into the model; otherwise it puts tokens, or keys, before the text."""

    def write(self, config: "RunConfig", module: "nn.Module", modules: "Callable[[], Mapping[str, str]]") -> PeftPart:
        """Return what is written of a run's module.

        `modules` gives the names of the linear layers in transformers' class, by `layer.role`.
        """

    def read(
        self, values: Mapping[str, object], tensors: "dict[str, Tensor]", trained: "RunConfig | None", where: str
    ) -> PeftFields:
        """Move what belongs to the tuning out of an adapter's tensors and return it.

        `values` are those of `adapter_config.json`; `trained` is the run's configuration, where it is known. Raises
        InputError that names `where`.
        """
