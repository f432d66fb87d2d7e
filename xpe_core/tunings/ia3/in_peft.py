"""IA3 in peft's format: `ia3_l` of every scaled layer, [O, 1] of what comes out of it or [1, I] of what goes in."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from xpe_core.backbones.roles import find_role
from xpe_core.errors import InputError
from xpe_core.tunings.ia3.sides import INPUT, SCALED
from xpe_core.tunings.peft_format import PeftFields, PeftPart

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xpe_core.config import RunConfig

BASE, END = "base_model.", ".ia3_l"


class Ia3InPeft:
    """See `PeftFormat`."""

    types: ClassVar[tuple[str, ...]] = ("IA3",)
    wraps: ClassVar[bool] = True

    def write(self, config: "RunConfig", module: "nn.Module", modules: "Callable[[], Mapping[str, str]]") -> PeftPart:
        """Return the vectors by the names of the layers."""
        names = modules()
        vectors = {key.removeprefix("layers."): value for key, value in module.state_dict().items()}
        inner = [names[key] for key in vectors if _scales_input(key)]
        settings = {"target_modules": [names[key] for key in vectors], "feedforward_modules": inner}
        tensors = {
            f"{BASE}{names[key]}{END}": value[None] if _scales_input(key) else value[:, None]
            for key, value in vectors.items()
        }
        return PeftPart(settings, tensors, "IA3", "Scaling vectors", "the vectors")

    def read(
        self, values: Mapping[str, object], tensors: "dict[str, Tensor]", trained: "RunConfig | None", where: str
    ) -> PeftFields:
        """Return the vectors by block and role; InputError where a layer is scaled that IA3 here leaves alone."""
        parameters: dict[str, Tensor] = {}
        for name in [name for name in tensors if name.endswith(END)]:
            layer = name.removesuffix(END).removeprefix(BASE)
            block, role = find_role(layer) or (0, "")
            vector = tensors.pop(name)
            if role not in SCALED or vector.ndim != 2 or vector.shape[0 if SCALED[role] == INPUT else 1] != 1:
                raise InputError(
                    f"{where}: {layer} is scaled on another side, or is of no role of these: {', '.join(SCALED)}"
                )
            parameters[f"layers.{block}.{role}"] = vector.flatten()
        if not parameters:
            raise InputError(f"{where}: it holds no tensor that ends in {END}")
        return PeftFields({**({} if trained is None else trained.set_values), "tuning": "ia3"}, parameters)


def _scales_input(key: str) -> bool:
    return SCALED[key.split(".")[1]] == INPUT
