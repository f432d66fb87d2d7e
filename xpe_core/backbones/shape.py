"""What a tuning and a readout must know of a backbone before they are built: sizes, and its linear layers by role."""

from collections.abc import Iterator, Mapping
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
    keys: tuple[int, ...] | None = None
    """N of each layer: heads times head size of its keys. Empty where none can be put before them; None: not known."""
    takes_past: bool = False
    """Whether the model's own class takes `past_key_values`, as peft's prefixes need."""
    weights: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Sizes of all weights, by their names in the model without a pooler."""
    can_repeat_layers: bool = True
    """Whether a backward pass can compute the layers again."""

    def find_size(self, name: str) -> tuple[int, int] | None:
        """Return the numbers in and out of a linear layer, or out of a part of one (`3.key`); None: there is none."""
        layer, _, role = name.partition(".")
        if name in self.linears or role not in ("key", "value") or int(layer) >= len(self.keys or ()):
            return self.linears.get(name)
        return self.hidden_size, (self.keys or ())[int(layer)]

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that there are, in one order."""
        known = {name.split(".")[1] for name in self.linears}
        return tuple(role for role in ROLES if role in known)


def find_position_embeddings(model: nn.Module) -> Iterator[nn.Embedding]:
    """Yield a model's tables of absolute positions."""
    for name, module in model.named_modules():
        if name.split(".")[-1] == "position_embeddings" and isinstance(module, nn.Embedding):
            yield module


def find_first_position(model: nn.Module) -> int:
    """Return the number of the first position: behind that of the padding, where there is one, as in XLM-R."""
    tables = [table for table in find_position_embeddings(model) if table.padding_idx is not None]
    return max((table.padding_idx + 1 for table in tables if table.padding_idx is not None), default=0)


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
