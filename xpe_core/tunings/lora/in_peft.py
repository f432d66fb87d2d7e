"""LoRA in peft's format, without importing Torch before it is needed."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from xpe_core.tunings.lora.config import LoraConfig
from xpe_core.tunings.peft_format import PeftFields, PeftPart

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xpe_core.config import RunConfig


class LoraInPeft:
    """See `PeftFormat`."""

    types: ClassVar[tuple[str, ...]] = ("LORA",)

    def write(self, config: "RunConfig", module: "nn.Module", modules: "Callable[[], Mapping[str, str]]") -> PeftPart:
        """Return the matrices by the names of the layers."""
        from xpe_core.tunings.lora.peft import write_updates

        assert isinstance(config.tuning, LoraConfig)
        return write_updates(config.tuning, dict(module.state_dict()), modules())

    def read(
        self, values: Mapping[str, object], tensors: "dict[str, Tensor]", trained: "RunConfig | None", where: str
    ) -> PeftFields:
        """Return the matrices by block and role."""
        from xpe_core.tunings.lora.peft import read_updates

        return read_updates(values, tensors, trained, where)
