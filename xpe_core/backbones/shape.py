"""What a tuning and a readout must know of a backbone before they are built: sizes, and its linear layers by role."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from xpe_core.backbones.roles import ROLES, find_role


@dataclass(frozen=True)
class Shape:
    """Sizes of a backbone."""

    name: str
    hidden_size: int
    max_positions: int
    """Most tokens of prompt and text together."""
    linears: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Numbers in and out of the blocks' linear layers, by `layer.role`, such as `3.query`, in the model's order."""
    drops: bool = True
    """Whether the dropout that the model has of its own can be drawn for each run."""

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that there are, in one order."""
        known = {name.split(".")[1] for name in self.linears}
        return tuple(role for role in ROLES if role in known)


def find_linears(model: nn.Module) -> dict[str, tuple[str, nn.Linear]]:
    """Return the linear layers of a model's blocks by `layer.role`, each with its name in the model."""
    linears: dict[str, tuple[str, nn.Linear]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and (found := find_role(name)):
            linears.setdefault(f"{found[0]}.{found[1]}", (name, module))
    return linears


def measure_linears(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Return the numbers in and out of the layers that `find_linears` finds."""
    return {key: (module.in_features, module.out_features) for key, (_, module) in find_linears(model).items()}
