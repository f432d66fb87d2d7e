"""The loss of spans, and the best one.

R runs, B windows of each, T text tokens.
"""

import torch
from torch import Tensor
from torch.nn import functional

from xpe_core.data.asked import Asked


def lose(outputs: Tensor, asked: Asked) -> Tensor:
    """Return the mean of the cross-entropies of start and end [R, B] of logits [R, B, T, 2].

    Probabilities are over all tokens of a window, the question's, too, and not over padding.
    """
    positions = torch.arange(outputs.shape[2], device=outputs.device)
    inside = positions < asked.lengths[..., None]  # [R|1, B, T]
    logits = outputs.masked_fill(~inside[..., None], -torch.inf).movedim(-1, 2).flatten(0, 2)  # [R * B * 2, T]
    targets = asked.targets.expand(*outputs.shape[:2], 2)
    losses = functional.cross_entropy(logits, targets.flatten(), reduction="none")
    return losses.unflatten(0, targets.shape).mean(-1)


def choose(outputs: Tensor, asked: Asked, max_answer_length: int) -> Tensor:
    """Return the best span of every window as its first token, its last one and the sum of their logits [R, B, 3].

    Spans lie in the passage and have `max_answer_length` tokens at most; all of them are compared, so there is no list
    of n best starts and ends. Of equally good ones it is the shortest, then the first.
    """
    assert asked.places is not None
    masked = outputs.masked_fill(~asked.places[..., None], -torch.inf)
    starts, ends = masked[..., 0], masked[..., 1]  # [R, B, T]
    num_tokens = starts.shape[-1]
    best, first, last = starts[..., 0] + ends[..., 0], *torch.zeros_like(starts[..., :2]).unbind(-1)
    for further in range(min(max_answer_length, num_tokens)):
        scores, places = (starts[..., : num_tokens - further] + ends[..., further:]).max(-1)  # [R, B]
        better = scores > best
        best = torch.where(better, scores, best)
        first = torch.where(better, places.to(first.dtype), first)
        last = torch.where(better, (places + further).to(last.dtype), last)
    return torch.stack([first, last, best], dim=-1)
