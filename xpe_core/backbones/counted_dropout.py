"""Dropout inside layers, computed from counters: no mask is kept, and a repeated pass draws the same.

Whether a number is dropped is a hash of its index and of a seed of its own text, layer and step. Integers wrap around
the same on every device, so the masks are the same on a CPU and a GPU, whatever else is in the batch.

S sequences, L tokens, I numbers a token.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

FIRST, SECOND = 0x7FEB352D, 0x846CA68B - 2**32
"""Multipliers of lowbias32, a hash of 32 bits by Chris Wellons (hash-prospector)."""
BITS = 24
"""Of the hash that are compared with the rate."""


@dataclass(frozen=True)
class LayerDropout:
    """What one layer drops."""

    rates: Tensor
    """[R]: probabilities of a zero."""
    seeds: Tensor
    """[R, B], int32: one an example and step."""
    salt: int
    """Another one for every layer."""


def drop(inputs: Tensor, dropout: LayerDropout) -> Tensor:
    """Return inputs [S, L, I], S = R * B, with numbers dropped, and the others divided by what is kept of them."""
    num_examples = dropout.seeds.shape[1]
    seeds = mix(dropout.seeds.flatten() ^ dropout.salt)
    dropped: Tensor = _Drop.apply(inputs, seeds, dropout.rates.repeat_interleave(num_examples))
    return dropped


def draw_keep(shape: torch.Size, seeds: Tensor, rates: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a mask [S, L, I]: 0, or 1 / (1 - rate)."""
    _, num_tokens, size = shape
    indices = torch.arange(num_tokens * size, dtype=torch.int32, device=seeds.device).view(num_tokens, size)
    hashes = mix(mix(indices) ^ seeds[:, None, None])
    limits = (rates * 2**BITS).to(torch.int32)[:, None, None]
    keep = (hashes >> (32 - BITS) & (2**BITS - 1)) >= limits
    return keep.to(dtype) / (1 - rates)[:, None, None].to(dtype)


class _Context(FunctionCtx):
    """What a forward pass keeps for the backward pass."""

    saved_tensors: tuple[Tensor, ...]


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, inputs: Tensor, seeds: Tensor, rates: Tensor) -> Tensor:
        ctx.save_for_backward(seeds, rates)
        return inputs * draw_keep(inputs.shape, seeds, rates, inputs.dtype)

    @staticmethod
    def backward(ctx: _Context, gradient: Tensor) -> tuple[Tensor | None, ...]:
        seeds, rates = ctx.saved_tensors
        return gradient * draw_keep(gradient.shape, seeds, rates, gradient.dtype), None, None


def mix(values: Tensor) -> Tensor:
    """Return hashes of int32 values, each by itself."""
    values = values ^ _shift(values, 16)
    values = values * FIRST
    values = values ^ _shift(values, 15)
    values = values * SECOND
    return values ^ _shift(values, 16)


def _shift(values: Tensor, bits: int) -> Tensor:
    """Return int32 values shifted to the right, with zeros from the left."""
    return values >> bits & (1 << 32 - bits) - 1
