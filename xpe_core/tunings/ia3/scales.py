"""The trained scales of one run."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class Scales(nn.Module):
    """A vector a layer, by block and role; ones leave the backbone as it is."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__()
        blocks: dict[str, nn.ParameterDict] = {}
        for name, size in sizes.items():
            block, role = name.split(".")
            blocks.setdefault(block, nn.ParameterDict())[role] = nn.Parameter(torch.ones(size))
        self.layers = nn.ModuleDict(blocks)

    def forward(self, masks: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the vectors by `layer.role`."""
        return {name.removeprefix("layers."): value for name, value in self.named_parameters()}
