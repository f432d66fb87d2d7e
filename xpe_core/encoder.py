"""The layers of a frozen BERT-shaped encoder (BERT, RoBERTa, XLM-R), computed without what only training them needs.

Weights are cast once and never have a gradient, the three projections of attention are one product, the scale of the
scores is in the queries' weights, the biases of keys and values are folded away (a constant shift of all scores, and of
the output), and where only the first position's state is asked for, the last layer computes nothing else. The numbers
are transformers' own up to rounding.

S sequences, L tokens, H hidden size, A attention heads, D = H / A.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

MODEL_TYPES = ("bert", "camembert", "roberta", "xlm-roberta")
MASKED = -1e9
"""Added to the scores of padding; not the least number, so that sums with it stay finite."""


@dataclass(frozen=True)
class _Layer:
    """One layer's weights, in the order of use."""

    projection: Tensor
    """[3H, H]: queries (scaled), keys, values."""
    projection_bias: Tensor
    """[3H]: of the queries, and zeros."""
    attention_out: Tensor
    attention_bias: Tensor
    """Of the output, with what the values' bias adds to it."""
    attention_norm: tuple[Tensor, Tensor, float]
    widen: Tensor
    widen_bias: Tensor
    narrow: Tensor
    narrow_bias: Tensor
    out_norm: tuple[Tensor, Tensor, float]


class FrozenEncoder:
    """An encoder's layers in one number format, for forward and backward passes through frozen weights."""

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        """Copy what is needed of `model`'s weights, cast to `dtype`; `can_encode(model)` must hold."""
        self.dtype = dtype
        self.num_heads: int = model.config.num_attention_heads
        self._embeddings = model.embeddings
        with torch.no_grad():
            self._layers = [_read_layer(layer, dtype) for layer in model.encoder.layer]

    def __call__(self, embeddings: Tensor, mask: Tensor | None, only_first: bool = False) -> Tensor:
        """Return last hidden states [S, L, H] of embeddings [S, L, H], or [S, 1, H] of the first position.

        `mask` is [S, L], 0 at padding, or None where there is none.
        """
        hidden = self._embeddings(inputs_embeds=embeddings).to(self.dtype)
        on_cpu = hidden.device.type == "cpu"
        bias = None if mask is None or on_cpu else _mask_scores(mask, self.dtype)
        for place, layer in enumerate(self._layers):
            num_queried = 1 if only_first and place == len(self._layers) - 1 else hidden.shape[1]
            if on_cpu:
                hidden = _CpuLayer.apply(hidden, layer, mask, self.num_heads, num_queried)
            else:
                queried = hidden if num_queried == hidden.shape[1] else hidden[:, :num_queried]
                hidden = _run_layer(layer, queried, hidden, bias, self.num_heads)
        return hidden


def can_encode(model: PreTrainedModel) -> bool:
    """Return whether `FrozenEncoder` computes what this model computes."""
    config = model.config
    return (
        config.model_type in MODEL_TYPES
        and config.hidden_act == "gelu"
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
    )


def _run_layer(layer: _Layer, queried: Tensor, hidden: Tensor, bias: Tensor | None, num_heads: int) -> Tensor:
    """Return a layer's output [S, Q, H] at the positions of `queried`, the first ones of `hidden` [S, L, H]."""
    size = hidden.shape[-1]
    if queried is hidden:
        query, key, value = functional.linear(hidden, layer.projection, layer.projection_bias).chunk(3, dim=-1)
    else:
        query = functional.linear(queried, layer.projection[:size], layer.projection_bias[:size])
        key, value = functional.linear(hidden, layer.projection[size:]).chunk(2, dim=-1)
    query, key, value = (part.unflatten(-1, (num_heads, -1)).transpose(1, 2) for part in (query, key, value))
    if bias is not None:
        bias = bias.expand(-1, num_heads, query.shape[2], -1)
    attended = functional.scaled_dot_product_attention(query, key, value, bias, scale=1.0).transpose(1, 2).flatten(2)
    mixed = functional.linear(attended, layer.attention_out, layer.attention_bias) + queried
    mixed = functional.layer_norm(mixed, [size], *layer.attention_norm)
    wide = functional.gelu(functional.linear(mixed, layer.widen, layer.widen_bias))
    out = functional.linear(wide, layer.narrow, layer.narrow_bias) + mixed
    return functional.layer_norm(out, [size], *layer.out_norm)


class _CpuLayer(torch.autograd.Function):
    """The same layer for CPUs, where memory traffic decides: buffers are reused, sums go into matrix products.

    Attention is written out as batched products of exponentials with the values, whose sums are one more column. At
    these lengths PyTorch's fused kernel for CPUs is slower, and its backward pass in bfloat16 took most of a step.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, layer: _Layer, mask: Tensor | None, num_heads: int, num_queried: int
    ) -> Tensor:
        """Return the output [S, Q, H] at the first `num_queried` positions of `hidden` [S, L, H]; mask is [S, L]."""
        num_sequences, _, size = hidden.shape
        queried = hidden[:, :num_queried].flatten(0, 1)  # [SQ, H]
        if num_queried == hidden.shape[1]:
            projected = torch.addmm(layer.projection_bias, queried, layer.projection.T)
            query, key, value = _split_heads(projected.unflatten(0, (num_sequences, -1)), 3, num_heads)
        else:
            query = torch.addmm(layer.projection_bias[:size], queried, layer.projection[:size].T)
            (query,) = _split_heads(query.unflatten(0, (num_sequences, -1)), 1, num_heads)
            key, value = _split_heads(functional.linear(hidden, layer.projection[size:]), 2, num_heads)
        value = _append_column(value, mask, num_heads)
        weights, attended, sums = _attend(query, key, value)
        mixed = queried.add(layer.attention_bias)
        mixed.addmm_(_join_heads([attended], num_heads), layer.attention_out.T)
        normed, *mixed_moments = torch.native_layer_norm(mixed, [size], *layer.attention_norm)
        wide = torch.addmm(layer.widen_bias, normed, layer.widen.T)
        out = normed.add(layer.narrow_bias).addmm_(functional.gelu(wide), layer.narrow.T)
        result, *out_moments = torch.native_layer_norm(out, [size], *layer.out_norm)
        of_attention = query, key, value, weights, attended, sums
        ctx.save_for_backward(*of_attention, mixed, *mixed_moments, wide, out, *out_moments)
        ctx.layer, ctx.num_heads, ctx.shape = layer, num_heads, hidden.shape
        return result.unflatten(0, (num_sequences, -1))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights, attended, sums, *rest = ctx.saved_tensors
        mixed, mixed_mean, mixed_scale, wide, out, out_mean, out_scale = rest
        layer, num_heads, size = ctx.layer, ctx.num_heads, ctx.shape[-1]
        of_out = _differentiate_norm(gradient.flatten(0, 1), out, out_mean, out_scale, layer.out_norm)
        of_wide = torch.mm(of_out, layer.narrow)
        torch.ops.aten.gelu_backward.grad_input(of_wide, wide, grad_input=of_wide)
        of_normed = of_out.addmm_(of_wide, layer.widen)
        of_mixed = _differentiate_norm(of_normed, mixed, mixed_mean, mixed_scale, layer.attention_norm)
        of_attended = torch.mm(of_mixed, layer.attention_out).unflatten(0, (ctx.shape[0], -1))
        (of_attended,) = _split_heads(of_attended, 1, num_heads)  # [SA, Q, D]
        of_attended /= sums
        of_sums = (of_attended * attended).sum(-1, keepdim=True).neg_()
        of_scores = torch.bmm(torch.cat([of_attended, of_sums], dim=-1), value.mT).mul_(weights)
        of_query = torch.bmm(of_scores, key)
        of_value = torch.bmm(weights.mT, of_attended).mul_(value[..., -1:])
        of_key_value = [torch.bmm(of_scores.mT, query), of_value]
        if query.shape[1] == ctx.shape[1]:
            of_projected = _join_heads([of_query, *of_key_value], num_heads)
            return of_mixed.addmm_(of_projected, layer.projection).view(ctx.shape), None, None, None, None
        of_hidden = torch.mm(_join_heads(of_key_value, num_heads), layer.projection[size:]).view(ctx.shape)
        of_queried = of_mixed.addmm_(_join_heads([of_query], num_heads), layer.projection[:size])
        of_hidden[:, : query.shape[1]] += of_queried.unflatten(0, (ctx.shape[0], -1))
        return of_hidden, None, None, None, None


def _append_column(value: Tensor, mask: Tensor | None, num_heads: int) -> Tensor:
    """Return values [SA, L, D + 1] whose last column is 1; all of padding is 0, so that it counts for nothing."""
    value = functional.pad(value, (0, 1), value=1.0)
    if mask is not None:
        value.unflatten(0, (-1, num_heads)).mul_(mask[:, None, :, None])
    return value


def _attend(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return exponentials of the scores [SA, Q, L], the mean of the values they weigh [SA, Q, D], and their sums.

    The greatest score is subtracted only where there is need: exponentials of up to 88, and sums of them, are finite.
    """
    weights = torch.bmm(query, key.mT).exp_()
    weighed = torch.bmm(weights, value)
    least, greatest = weighed[..., -1].aminmax()
    if not (least > 0 and greatest < math.inf):
        scores = torch.bmm(query, key.mT).masked_fill_(value[..., -1][:, None] == 0, -math.inf)
        weights = scores.sub_(scores.amax(-1, keepdim=True)).exp_()
        weighed = torch.bmm(weights, value)
    sums = weighed[..., -1:]
    return weights, weighed[..., :-1] / sums, sums


def _differentiate_norm(
    gradient: Tensor, values: Tensor, mean: Tensor, scale: Tensor, norm: tuple[Tensor, Tensor, float]
) -> Tensor:
    """Return the gradient of a layer norm's input."""
    weight, bias, _ = norm
    shape, wanted = [values.shape[-1]], [True, False, False]
    return torch.ops.aten.native_layer_norm_backward(gradient, values, shape, mean, scale, weight, bias, wanted)[0]


def _split_heads(states: Tensor, num_parts: int, num_heads: int) -> Tensor:
    """Return K tensors [SA, L, D] as one [K, SA, L, D], of K side by side [S, L, KH]."""
    return states.unflatten(-1, (num_parts, num_heads, -1)).permute(2, 0, 3, 1, 4).flatten(1, 2).contiguous()


def _join_heads(parts: Sequence[Tensor], num_heads: int) -> Tensor:
    """Return K tensors [SA, L, D] side by side [SL, KH]."""
    by_position = [part.unflatten(0, (-1, num_heads)).transpose(1, 2) for part in parts]
    return torch.stack(by_position, dim=2).flatten(2).flatten(0, 1)


def _mask_scores(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what is added to the scores [S, 1, 1, L]."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(mask == 0, MASKED)[:, None, None]


def _read_layer(layer: Any, dtype: torch.dtype) -> _Layer:
    attention, after = layer.attention.self, layer.attention.output
    scale = attention.attention_head_size**-0.5
    projection = torch.cat([attention.query.weight * scale, attention.key.weight, attention.value.weight])
    projection_bias = torch.cat([attention.query.bias * scale, torch.zeros_like(attention.query.bias).repeat(2)])
    attention_bias = after.dense.bias + after.dense.weight @ attention.value.bias

    def cast(weight: Tensor) -> Tensor:
        return weight.detach().to(dtype)

    def read_norm(norm: nn.LayerNorm) -> tuple[Tensor, Tensor, float]:
        return cast(norm.weight), cast(norm.bias), norm.eps

    return _Layer(
        projection=cast(projection),
        projection_bias=cast(projection_bias),
        attention_out=cast(after.dense.weight),
        attention_bias=cast(attention_bias),
        attention_norm=read_norm(after.LayerNorm),
        widen=cast(layer.intermediate.dense.weight),
        widen_bias=cast(layer.intermediate.dense.bias),
        narrow=cast(layer.output.dense.weight),
        narrow_bias=cast(layer.output.dense.bias),
        out_norm=read_norm(layer.output.LayerNorm),
    )
