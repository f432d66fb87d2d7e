"""What training cost: tokens, padding, and how much of the machine was used.

The yardstick is the rate of one plain matrix product of the backbone's widest shape, in the run's own number format,
measured on the machine at hand.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from transformers import PreTrainedConfig

from xpe_core.backbones.backbone import Backbone
from xpe_core.config import RunConfig
from xpe_core.pack import Pack
from xpe_core.tunings import is_alone

MEASURED_SECONDS = 0.2
ROWS = {"cpu": 2_048, "cuda": 16_384}
"""Rows of the measured product: about the tokens of one pass."""


@dataclass
class Work:
    """What was computed so far, by all runs of a pack."""

    num_tokens: int = 0
    """Text tokens, padding and prompts not counted."""
    num_positions: int = 0
    """What went through the backbone: text, prompts and padding."""
    num_padding: int = 0
    num_operations: float = 0.0
    """Floating-point operations of the backbone's matrix products, forward and backward."""
    seconds: float = 0.0
    """Spent in training steps; evaluations are not counted."""

    def count(self, pack: Pack, lengths: np.ndarray, through_backbone: bool = True) -> None:
        """Add one training step over texts of these lengths [R, B]; without the backbone only the texts count."""
        if not through_backbone:
            self.num_tokens += int(lengths.sum())
            return
        width = int(lengths.max()) + pack.num_tokens
        self.num_tokens += int(lengths.sum())
        self.num_positions += lengths.size * width
        self.num_padding += int((lengths.max() - lengths).sum())
        config = pack.backbone.model.config
        keys = pack.tuning.num_keys(pack.configs[0], config.num_hidden_layers)
        forward = count_operations(config, lengths.size, width, pack.reads_first, keys)
        self.num_operations += count_passes(pack.configs[0]) * forward

    @property
    def tokens_per_second(self) -> float:
        """Text tokens a second."""
        return self.num_tokens / max(self.seconds, 1e-9)

    @property
    def padding_share(self) -> float:
        """Padding among all positions, in [0, 1]."""
        return self.num_padding / max(self.num_positions, 1)

    def peak_share(self, rate: float) -> float:
        """Operations a second over the measured `rate` of a matrix product, in operations a second."""
        return self.num_operations / max(self.seconds, 1e-9) / rate


def count_passes(config: RunConfig) -> int:
    """Return how many times a forward pass's operations a step takes: 2, or 3 where weights have gradients, too."""
    return 3 if is_alone(config) else 2


def count_operations(
    config: PreTrainedConfig, num_sequences: int, width: int, only_first: bool, keys: Sequence[int] = ()
) -> float:
    """Return the floating-point operations of a forward pass over sequences of `width` positions.

    `keys` are how many stand before the text's own in each layer; empty is none. Counted are matrix products alone,
    two operations a multiplication: of each layer the projections (4 H squared), the two wide ones (2 H x I) and
    attention (2 H a position). A backward pass through frozen weights takes as many (that of attention, which is small,
    twice as many: not counted).
    """
    size, wide, num_layers = config.hidden_size, getattr(config, "intermediate_size", 0), config.num_hidden_layers
    dense = 2.0 * num_sequences * width * (4 * size**2 + 2 * size * wide)
    attention = 2.0 * num_sequences * width * width * 2 * size
    skipped = dense + attention - 2.0 * num_sequences * (2 * width * size**2 + 2 * size**2 + 2 * size * wide)
    queries = [width] * (num_layers - 1) + [1 if only_first else width]  # of each layer, the lowest first
    before = sum(4.0 * num_sequences * size * num * number for num, number in zip(queries, keys, strict=False))
    return num_layers * (dense + attention) + before - (skipped if only_first else 0.0)


def measure_peak(backbone: Backbone, precision: str) -> float:
    """Return the rate of a matrix product of the backbone's widest shape on its device, in operations a second.

    It is measured once a process, for each precision and number of threads.
    """
    config = backbone.model.config
    device = next(backbone.parameters()).device.type
    wide = getattr(config, "intermediate_size", config.hidden_size)
    return _measure_product(device, precision, config.hidden_size, wide, torch.get_num_threads())


@cache
def _measure_product(device: str, precision: str, size: int, wide: int, num_threads: int) -> float:
    rows = ROWS.get(device, ROWS["cuda"])
    dtype = getattr(torch, precision)
    left, right = torch.randn(rows, size, device=device).to(dtype), torch.randn(wide, size, device=device).to(dtype)
    times: list[float] = []
    while sum(times) < MEASURED_SECONDS or len(times) < 5:
        _wait(device)
        started = time.perf_counter()
        torch.mm(left, right.T)
        _wait(device)
        times.append(time.perf_counter() - started)
    return 2.0 * rows * size * wide / sorted(times)[len(times) // 2]


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
