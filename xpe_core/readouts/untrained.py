"""Modules of readouts that no step trains: what they hold is computed from the data or by the encoder.

B examples, H hidden size, C classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

TEMPERATURE = 0.01
"""What cosines are divided by (that of E5's training, arXiv:2402.05672); it changes losses, and no answer."""


class Frequencies(nn.Module):
    """Log frequencies of the classes; the weights of the states are 0."""

    def __init__(self, hidden_size: int, num_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_classes, hidden_size))
        self.bias = nn.Parameter(torch.zeros(num_classes))

    def forward(self, pooled: Tensor, masks: Sequence[Tensor]) -> Tensor:
        """Return the same logits [B, C] for all states [B, H]."""
        return functional.linear(pooled, self.weight, self.bias)


class Names(nn.Module):
    """States of the classes' names."""

    def __init__(self, hidden_size: int, num_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_classes, hidden_size))

    def forward(self, pooled: Tensor, masks: Sequence[Tensor]) -> Tensor:
        """Return the cosines with the names' states, over the temperature [B, C], of states [B, H]."""
        cosines = functional.normalize(pooled, dim=-1) @ functional.normalize(self.weight, dim=-1).T
        return cosines / TEMPERATURE
