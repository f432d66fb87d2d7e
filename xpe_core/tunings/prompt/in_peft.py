"""Prompts in peft's format, without importing Torch before it is needed."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from xpe_core.tunings.peft_format import PeftFields, PeftPart

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xpe_core.config import RunConfig


class PromptInPeft:
    """See `PeftFormat`."""

    types: ClassVar[tuple[str, ...]] = ("PROMPT_TUNING", "P_TUNING")

    def write(self, config: "RunConfig", module: "nn.Module", modules: "Callable[[], Mapping[str, str]]") -> PeftPart:
        """Return the virtual tokens as a table."""
        from xpe_core.tunings.prompt.peft import write_prompt

        return write_prompt(module)

    def read(
        self, values: Mapping[str, object], tensors: "dict[str, Tensor]", trained: "RunConfig | None", where: str
    ) -> PeftFields:
        """Return a table of virtual tokens as an SPT."""
        from xpe_core.tunings.prompt.peft import read_prompt

        return read_prompt(values, tensors, trained, where)
