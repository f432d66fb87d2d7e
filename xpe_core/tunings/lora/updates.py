"""The trained matrices of LoRA, for one run.

O and I: the numbers out of and into a layer; r the rank.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class Update(nn.Module):
    """Of one layer: x goes through `down` and then through `up`. Drawn as in peft: uniform, and zeros."""

    def __init__(self, num_in: int, num_out: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(rank, num_in))
        self.up = nn.Parameter(torch.zeros(num_out, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))


class Updates(nn.Module):
    """Of all layers, by block and role."""

    def __init__(self, linears: Mapping[str, tuple[int, int]], rank: int) -> None:
        super().__init__()
        blocks: dict[str, dict[str, nn.Module]] = {}
        for name, (num_in, num_out) in linears.items():
            block, role = name.split(".")
            blocks.setdefault(block, {})[role] = Update(num_in, num_out, rank)
        self.layers = nn.ModuleDict({block: nn.ModuleDict(roles) for block, roles in blocks.items()})

    def forward(self, masks: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the matrices by `layer.role.down` [r, I] and `layer.role.up` [O, r]."""
        return {name.removeprefix("layers."): value for name, value in self.named_parameters()}
