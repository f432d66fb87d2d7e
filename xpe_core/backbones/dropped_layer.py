"""One frozen layer of a BERT-shaped encoder on a CPU, with the dropout that the encoder has of its own.

Masks are drawn again for the backward pass. Weights that are dropped no longer sum to 1, so the bias of the values is
not folded away here.

S sequences, L tokens, Q of them queried, H hidden size, A attention heads, D = H / A.
"""

import math

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from xpe_core.backbones.backbone_dropout import LayerPlaces, Place
from xpe_core.backbones.cpu_attention import LARGE, join_heads, split_heads
from xpe_core.backbones.layer import Layer, differentiate_norm


class _Context(FunctionCtx):
    """What a layer's forward pass keeps for its backward pass."""

    saved_tensors: tuple[Tensor, ...]
    layer: Layer
    places: LayerPlaces
    num_heads: int
    shape: torch.Size
    is_padded: bool


class DroppedLayer(torch.autograd.Function):
    """The layer for CPUs: buffers are reused, and the scale of what is kept goes into products and sums."""

    @staticmethod
    def forward(
        ctx: _Context,
        hidden: Tensor,
        layer: Layer,
        mask: Tensor | None,
        num_heads: int,
        num_queried: int,
        places: LayerPlaces,
    ) -> Tensor:
        """Return the output [S, Q, H] at the first `num_queried` positions of `hidden` [S, L, H]; mask is [S, L]."""
        size = hidden.shape[-1]
        queried = hidden[:, :num_queried].flatten(0, 1)  # [SQ, H]
        projected = _project(hidden, layer, num_queried)
        query, key, value = (split_heads(part, num_heads).flatten(0, 1) for part in projected)
        seen = _see(key, mask)
        if mask is not None:  # on the small tensors, so that it takes no pass over the weights
            key, value = key * seen, value * seen
        weights, sums = _weigh(query, key, seen)
        weighed = torch.bmm(_draw_for(weights, places, num_heads).mul_(weights), value)
        attended = join_heads([weighed.div_(sums * (1 - places.attention.rate))], num_heads)  # [SQ, H]
        added = torch.addmm(layer.attention_out_bias, attended, layer.attention_out.T)
        mixed = _drop_and_add(added, queried, places.attention_output, hidden.shape[0])
        normed, *mixed_moments = torch.native_layer_norm(mixed, [size], *layer.attention_norm)
        wide = torch.addmm(layer.widen_bias, normed, layer.widen.T)
        added = torch.addmm(layer.narrow_bias, functional.gelu(wide), layer.narrow.T)
        out = _drop_and_add(added, normed, places.output, hidden.shape[0])
        result, *out_moments = torch.native_layer_norm(out, [size], *layer.out_norm)
        of_attention = query, key, value, seen, weights, attended, sums
        ctx.save_for_backward(*of_attention, mixed, *mixed_moments, wide, out, *out_moments)
        ctx.layer, ctx.places, ctx.num_heads, ctx.shape = layer, places, num_heads, hidden.shape
        ctx.is_padded = mask is not None
        return result.unflatten(0, (hidden.shape[0], -1))

    @staticmethod
    def backward(ctx: _Context, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient at `hidden`."""
        query, key, value, seen, weights, attended, sums, *rest = ctx.saved_tensors
        mixed, mixed_mean, mixed_scale, wide, out, out_mean, out_scale = rest
        layer, places, num_heads, size = ctx.layer, ctx.places, ctx.num_heads, ctx.shape[-1]
        of_out = differentiate_norm(gradient.flatten(0, 1), out, out_mean, out_scale, layer.out_norm)
        of_wide = torch.mm(_drop(of_out, places.output, ctx.shape[0]), layer.narrow)
        torch.ops.aten.gelu_backward.grad_input(of_wide, wide, grad_input=of_wide)
        of_normed = of_out.addmm_(of_wide, layer.widen, alpha=places.output.scale)
        of_mixed = differentiate_norm(of_normed, mixed, mixed_mean, mixed_scale, layer.attention_norm)
        of_attended = torch.mm(_drop(of_mixed, places.attention_output, ctx.shape[0]), layer.attention_out)
        of_attended *= places.attention_output.scale
        kept = _draw_for(weights, places, num_heads)
        of_query, *of_key_value = _differentiate_attention(
            of_attended, query, key, value, weights, attended, sums, kept, 1 - places.attention.rate
        )
        if ctx.is_padded:
            of_key_value = [part.mul_(seen) for part in of_key_value]
        if query.shape[1] == ctx.shape[1]:
            of_projected = join_heads([of_query, *of_key_value], num_heads)
            return of_mixed.addmm_(of_projected, layer.projection).view(ctx.shape), *[None] * 5
        of_hidden = torch.mm(join_heads(of_key_value, num_heads), layer.projection[size:]).view(ctx.shape)
        of_queried = of_mixed.addmm_(join_heads([of_query], num_heads), layer.projection[:size])
        of_hidden[:, : query.shape[1]] += of_queried.unflatten(0, (ctx.shape[0], -1))
        return of_hidden, *[None] * 5


def _project(hidden: Tensor, layer: Layer, num_queried: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries [S, Q, H], keys and values [S, L, H]; the bias of keys, which shifts all scores alike, is out."""
    size = hidden.shape[-1]
    bias = torch.cat([layer.projection_bias[: 2 * size], layer.value_bias])
    if num_queried == hidden.shape[1]:
        query, key, value = functional.linear(hidden, layer.projection, bias).chunk(3, dim=-1)
    else:
        query = functional.linear(hidden[:, :num_queried], layer.projection[:size], bias[:size])
        key, value = functional.linear(hidden, layer.projection[size:], bias[size:]).chunk(2, dim=-1)
    return query, key, value


def _see(key: Tensor, mask: Tensor | None) -> Tensor:
    """Return 1 for keys [SA, L, D], and 0 for those of padding (`mask` [S, L]): [SA, L, 1]."""
    if mask is None:
        return key.new_ones(*key.shape[:2], 1)
    return mask.to(key.dtype).repeat_interleave(len(key) // len(mask), 0)[..., None]


def _weigh(query: Tensor, key: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Return exponentials of the scores [SA, Q, L], and the sums [SA, Q, 1] of those that are `seen` [SA, L, 1].

    The greatest score is subtracted only where the sums would come near the ends of float32's range.
    """
    weights = torch.bmm(query, key.mT).exp_()
    sums = torch.bmm(weights, seen)
    least, greatest = sums.aminmax()
    if not (least > 1 / LARGE and greatest < LARGE):
        scores = torch.bmm(query, key.mT).masked_fill_(seen.mT == 0, -math.inf)
        weights = scores.sub_(scores.amax(-1, keepdim=True)).exp_()
        sums = torch.bmm(weights, seen)
    return weights, sums


def _differentiate_attention(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weights: Tensor,
    attended: Tensor,
    sums: Tensor,
    kept: Tensor,
    share: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of queries [SA, Q, D], keys and values [SA, L, D], given that of the output [SQ, H].

    `kept` [SA, Q, L] is what was dropped, with 0 and 1; `share` is what is kept on average.
    """
    num_heads = attended.shape[1] // query.shape[-1]

    def by_head(rows: Tensor) -> Tensor:
        """Return rows [SQ, ...] of all heads as [SA, Q, ...]."""
        return split_heads(rows.unflatten(0, (-1, query.shape[1])), num_heads).flatten(0, 1)

    of_sums = by_head((gradient * attended).unflatten(-1, (num_heads, -1)).sum(-1)).div_(sums).neg_()
    of_weighed = by_head(gradient).div_(sums * share)
    of_scores = torch.bmm(of_weighed, value.mT)
    of_scores = torch.addcmul(of_sums, of_scores, kept, out=of_scores).mul_(weights)
    of_value = torch.bmm(kept.mul_(weights).mT, of_weighed)
    return torch.bmm(of_scores, key), torch.bmm(of_scores.mT, query), of_value


def _drop_and_add(added: Tensor, rows: Tensor, place: Place, num_sequences: int) -> Tensor:
    """Return rows [SQ, H] with what is kept of `added` [SQ, H]."""
    kept = place.draw((num_sequences, len(rows) // num_sequences, rows.shape[1]), rows.dtype).flatten(0, 1)
    return torch.addcmul(rows, added, kept, value=place.scale, out=kept)


def _drop(rows: Tensor, place: Place, num_sequences: int) -> Tensor:
    """Return what is kept of rows [SQ, H], not scaled."""
    shape = num_sequences, len(rows) // num_sequences, rows.shape[1]
    return place.draw(shape, rows.dtype).flatten(0, 1).mul_(rows)


def _draw_for(weights: Tensor, places: LayerPlaces, num_heads: int) -> Tensor:
    """Return what is kept of attention's weights [SA, Q, L]."""
    shape = len(weights) // num_heads, num_heads, *weights.shape[1:]
    return places.attention.draw(shape, weights.dtype).flatten(0, 1)
