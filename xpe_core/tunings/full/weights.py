"""A run's own weights of the backbone, for one run."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class Weights(nn.Module):
    """Tensors of a backbone's sizes, by their names there; the pack fills them with the backbone's own."""

    def __init__(self, sizes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        for name, size in sizes.items():
            module: nn.Module = self
            *path, last = name.split(".")
            for part in path:
                if part not in module._modules:
                    module.add_module(part, nn.Module())
                module = module.get_submodule(part)
            module.register_parameter(last, nn.Parameter(torch.empty(size, device="meta")))

    def forward(self, masks: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the weights by name."""
        return dict(self.named_parameters())
