"""A module of no parameters."""

from collections.abc import Sequence

from torch import Tensor, nn


class Nothing(nn.Module):
    """Trains nothing and inserts nothing."""

    def forward(self, masks: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return nothing."""
        return {}
