"""The trained keys and values of one run: trained directly, or the output of an MLP.

P virtual tokens, H the backbone's hidden size, W the MLP's width, N numbers in a layer's keys.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from xpe_core.tunings.prefix.config import PARTS, PrefixConfig


class Prefix(nn.Module):
    """Keys and values are parameters."""

    def __init__(self, config: PrefixConfig, sizes: Mapping[int, int]) -> None:
        """Start with N(0, 1) or zeros; a text's are filled in where the backbone is at hand."""
        super().__init__()
        self.layers = nn.ModuleDict({str(layer): _Layer(config, size) for layer, size in sizes.items()})

    def forward(self, masks: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return `layer.key` and `layer.value`, each [P, N]."""
        return {name.removeprefix("layers."): value for name, value in self.named_parameters()}


class _Layer(nn.Module):
    """Those of one layer."""

    def __init__(self, config: PrefixConfig, size: int) -> None:
        super().__init__()
        draw = torch.zeros if config.prefix_init == "zero" else torch.randn
        self.key = nn.Parameter(draw(config.num_virtual_tokens, size))
        self.value = nn.Parameter(draw(config.num_virtual_tokens, size))


class ProjectedPrefix(nn.Module):
    """Keys and values are the output of an MLP with one hidden layer and tanh (arXiv:2101.00190, section 4.3)."""

    def __init__(self, config: PrefixConfig, hidden_size: int, sizes: Mapping[int, int]) -> None:
        super().__init__()
        width = config.prefix_projection
        assert width is not None
        self.embedding = nn.Embedding(config.num_virtual_tokens, hidden_size)
        self.dense = nn.Linear(hidden_size, width)
        self.layers = nn.ModuleDict({str(layer): nn.Linear(width, 2 * size) for layer, size in sizes.items()})
        if config.prefix_init == "zero":
            for parameter in self.layers.parameters():
                nn.init.zeros_(parameter)

    def forward(self, masks: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return `layer.key` and `layer.value`, each [P, N]."""
        inner = self.dense(self.embedding.weight).tanh()  # [P, W]
        output: dict[str, Tensor] = {}
        for layer, dense in self.layers.items():
            for part, values in zip(PARTS, dense(inner).chunk(2, dim=-1), strict=True):
                output[f"{layer}.{part}"] = values
        return output


def build_prefix(config: PrefixConfig, hidden_size: int, sizes: Mapping[int, int]) -> nn.Module:
    """Return the keys and values of one run, for N by layer; the weights come from torch's global generator."""
    if config.prefix_projection is None:
        return Prefix(config, sizes)
    return ProjectedPrefix(config, hidden_size, sizes)
