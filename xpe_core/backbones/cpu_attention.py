"""Attention on CPUs: batched products of exponentials with the values, whose sums are one more column.

At these lengths PyTorch's fused kernel for CPUs is slower, and its backward pass in bfloat16 took most of a step.

S sequences, L tokens, Q of them queried, P keys before them, H hidden size, A attention heads, D = H / A.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

LARGE = 1e15
"""Sums of exponentials are used as they are up to here, and down to its inverse."""


def split_heads(states: Tensor, num_heads: int) -> Tensor:
    """Return a view [S, A, L, D] of states [S, L, H]."""
    return states.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def put_first(
    key: Tensor, value: Tensor, mask: Tensor | None, before: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return keys and values [S, A, P + L, D] and a mask [S, P + L]; `before` are those [S, A, P, D] before a text."""
    if before is None:
        return key, value, mask
    keys, values = before
    if mask is not None:
        mask = torch.cat([mask.new_ones(len(mask), keys.shape[2]), mask], dim=1)
    return torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2), mask


def join_heads(parts: Sequence[Tensor], num_heads: int) -> Tensor:
    """Return K tensors [SA, L, D] side by side [SL, KH]."""
    by_position = [part.unflatten(0, (-1, num_heads)).transpose(1, 2) for part in parts]
    return torch.stack(by_position, dim=2).flatten(2).flatten(0, 1)


def append_column(value: Tensor, mask: Tensor | None) -> Tensor:
    """Return values [S, A, L, D] as [SA, L, D + 1]: the last column is 1, and all of padding (`mask` [S, L]) is 0."""
    extended = value.new_empty(*value.shape[:-1], value.shape[-1] + 1)
    if mask is None:
        extended[..., :-1], extended[..., -1] = value, 1
    else:
        seen = mask.to(value.dtype)[:, None, :, None]
        torch.mul(value, seen, out=extended[..., :-1])
        extended[..., -1:] = seen
    return extended.flatten(0, 1)


def attend(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return exponentials of the scores [SA, Q, L], and the sums of values that they weigh [SA, Q, D + 1].

    The greatest score is subtracted only where the sums are so large or small that they, or what is divided by them on
    the backward pass, would come near the ends of float32's range.
    """
    weights = torch.bmm(query, key.mT).exp_()
    weighed = torch.bmm(weights, value)
    least, greatest = weighed[..., -1].aminmax()
    if not (least > 1 / LARGE and greatest < LARGE):
        scores = torch.bmm(query, key.mT).masked_fill_(value[..., -1][:, None] == 0, -math.inf)
        weights = scores.sub_(scores.amax(-1, keepdim=True)).exp_()
        weighed = torch.bmm(weights, value)
    return weights, weighed


def differentiate_attention(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weights: Tensor,
    attended: Tensor,
    sums: Tensor,
    is_padded: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of queries [SA, Q, D], keys and values [SA, L, D], given that of the output [SQ, H].

    Values weighed with exponentials, and their sums, are one tensor here too, of D + 1 columns.
    """
    num_heads = sums.shape[2]  # of [S, Q, A, 1]
    of_sums = (gradient * attended).unflatten(-1, (num_heads, -1)).sum(-1, keepdim=True).neg_().view_as(sums)
    gradient = gradient.unflatten(0, sums.shape[:2])  # [S, Q, H]
    sums = sums.transpose(1, 2)
    of_weighed = query.new_empty(*sums.shape[:-1], value.shape[-1])  # [S, A, Q, D + 1]
    torch.div(split_heads(gradient, num_heads), sums, out=of_weighed[..., :-1])
    torch.div(of_sums.transpose(1, 2), sums, out=of_weighed[..., -1:])
    of_weighed = of_weighed.flatten(0, 1)
    of_scores = torch.bmm(of_weighed, value.mT).mul_(weights)
    of_value = torch.bmm(weights.mT, of_weighed[..., :-1])
    if is_padded:
        of_value *= value[..., -1:]
    return torch.bmm(of_scores, key), torch.bmm(of_scores.mT, query), of_value
