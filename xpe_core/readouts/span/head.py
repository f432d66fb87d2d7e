"""The layer behind spans. B windows, T text tokens, H hidden size."""

from collections.abc import Sequence

from torch import Tensor, nn


class SpanHead(nn.Module):
    """A linear layer as in transformers' classes for question answering: weights from N(0, 0.02), biases from 0."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.out = nn.Linear(hidden_size, 2)
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.out.bias)

    def forward(self, states: Tensor, masks: Sequence[Tensor]) -> Tensor:
        """Return start and end logits [B, T, 2] of hidden states [B, T, H]; there are no masks."""
        return self.out(states)
