"""XLM-R's classification head. B examples, H hidden size, C classes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ClassificationHead(nn.Module):
    """XLM-R's own head, from scratch: dropout, dense, tanh, dropout, out; weights from N(0, 0.02), biases from 0."""

    def __init__(self, hidden_size: int, num_classes: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, num_classes)
        for layer in (self.dense, self.out):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor, masks: Sequence[Tensor]) -> Tensor:
        """Return logits [B, C] of pooled hidden states [B, H], with two dropout masks [B, H] or none."""
        if masks:
            pooled = pooled * masks[0]
        states = torch.tanh(self.dense(pooled))
        if masks:
            states = states * masks[1]
        return self.out(states)
