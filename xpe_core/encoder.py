"""The layers of a frozen BERT-shaped encoder (BERT, RoBERTa, XLM-R), computed without what only training them needs.

Weights are cast once and never have a gradient, the three projections of attention are one product, the biases of keys
and values are folded away (a constant shift of all scores, and of the output), and where only the first position's
state is asked for, the last layer computes nothing else. The numbers are transformers' own up to rounding.

S sequences, L tokens, H hidden size, A attention heads, D = H / A.
"""

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
    """[3H, H]: queries, keys, values."""
    query_bias: Tensor
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
        bias = None if mask is None else _mask_scores(mask, self.dtype)
        for place, layer in enumerate(self._layers):
            num_queried = 1 if only_first and place == len(self._layers) - 1 else hidden.shape[1]
            if hidden.device.type == "cpu":
                hidden = _CpuLayer.apply(hidden, layer, bias, self.num_heads, num_queried)
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
        query, key, value = functional.linear(hidden, layer.projection).chunk(3, dim=-1)
    else:
        query = functional.linear(queried, layer.projection[:size])
        key, value = functional.linear(hidden, layer.projection[size:]).chunk(2, dim=-1)
    query = query + layer.query_bias
    query, key, value = (part.unflatten(-1, (num_heads, -1)).transpose(1, 2) for part in (query, key, value))
    if bias is not None:
        bias = bias.expand(-1, num_heads, query.shape[2], -1)
    attended = functional.scaled_dot_product_attention(query, key, value, bias).transpose(1, 2).flatten(2)
    mixed = functional.linear(attended, layer.attention_out, layer.attention_bias) + queried
    mixed = functional.layer_norm(mixed, [size], *layer.attention_norm)
    wide = functional.gelu(functional.linear(mixed, layer.widen, layer.widen_bias))
    out = functional.linear(wide, layer.narrow, layer.narrow_bias) + mixed
    return functional.layer_norm(out, [size], *layer.out_norm)


class _CpuLayer(torch.autograd.Function):
    """The same layer for CPUs, where memory traffic decides: buffers are reused, sums go into matrix products.

    Attention is written out as batched products. PyTorch's fused kernel for CPUs is no faster at these lengths, and its
    backward pass in bfloat16 took most of a step.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, layer: _Layer, bias: Tensor | None, num_heads: int, num_queried: int
    ) -> Tensor:
        """Return the output [S, Q, H] at the first `num_queried` positions of `hidden` [S, L, H]."""
        num_sequences, _, size = hidden.shape
        queried = hidden[:, :num_queried].flatten(0, 1)  # [SQ, H]
        if num_queried == hidden.shape[1]:
            projected = torch.mm(queried, layer.projection.T).unflatten(0, (num_sequences, -1))  # [S, L, 3H]
            query, key, value = projected.chunk(3, dim=-1)
        else:
            query = torch.mm(queried, layer.projection[:size].T).unflatten(0, (num_sequences, -1))
            key, value = functional.linear(hidden, layer.projection[size:]).chunk(2, dim=-1)
        query.add_(layer.query_bias)
        query, key, value = (_split_heads(part, num_heads) for part in (query, key, value))
        scores = torch.bmm(query, key.mT).float().mul_(query.shape[-1] ** -0.5)  # exponentials are slow in bfloat16
        if bias is not None:
            scores.unflatten(0, (-1, num_heads)).add_(bias)
        weights = scores.softmax(-1).to(hidden.dtype)  # [SA, Q, L]
        attended = _join_heads(torch.bmm(weights, value), num_heads)
        mixed = torch.addmm(layer.attention_bias, attended, layer.attention_out.T).add_(queried)
        normed, *mixed_moments = torch.native_layer_norm(mixed, [size], *layer.attention_norm)
        wide = torch.addmm(layer.widen_bias, normed, layer.widen.T)
        out = torch.addmm(layer.narrow_bias, functional.gelu(wide), layer.narrow.T).add_(normed)
        result, *out_moments = torch.native_layer_norm(out, [size], *layer.out_norm)
        ctx.save_for_backward(query, key, value, weights, mixed, *mixed_moments, wide, out, *out_moments)
        ctx.layer, ctx.num_heads, ctx.shape = layer, num_heads, hidden.shape
        return result.unflatten(0, (num_sequences, -1))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights, mixed, mixed_mean, mixed_scale, wide, out, out_mean, out_scale = ctx.saved_tensors
        layer, num_heads, size = ctx.layer, ctx.num_heads, ctx.shape[-1]
        of_out = _differentiate_norm(gradient.flatten(0, 1), out, out_mean, out_scale, layer.out_norm)
        of_wide = torch.mm(of_out, layer.narrow)
        torch.ops.aten.gelu_backward.grad_input(of_wide, wide, grad_input=of_wide)
        of_normed = of_out.addmm_(of_wide, layer.widen)
        of_mixed = _differentiate_norm(of_normed, mixed, mixed_mean, mixed_scale, layer.attention_norm)
        of_attended = torch.mm(of_mixed, layer.attention_out).unflatten(0, (ctx.shape[0], -1))
        of_attended = _split_heads(of_attended, num_heads)  # [SA, Q, D]
        of_scores = torch.bmm(of_attended, value.mT)
        torch._softmax_backward_data(of_scores, weights, -1, of_scores.dtype, grad_input=of_scores)
        of_scores.mul_(query.shape[-1] ** -0.5)
        of_query = _join_heads(torch.bmm(of_scores, key), num_heads)
        of_key_value = [torch.bmm(of_scores.mT, query), torch.bmm(weights.mT, of_attended)]
        if query.shape[1] == ctx.shape[1]:
            parts = torch.cat([of_query, *(_join_heads(part, num_heads) for part in of_key_value)], dim=1)
            return of_mixed.addmm_(parts, layer.projection).view(ctx.shape), None, None, None, None
        parts = torch.cat([_join_heads(part, num_heads) for part in of_key_value], dim=1)
        of_hidden = torch.mm(parts, layer.projection[size:]).view(ctx.shape)
        of_queried = of_mixed.addmm_(of_query, layer.projection[:size])
        of_hidden[:, : query.shape[1]] += of_queried.unflatten(0, (ctx.shape[0], -1))
        return of_hidden, None, None, None, None


def _differentiate_norm(
    gradient: Tensor, values: Tensor, mean: Tensor, scale: Tensor, norm: tuple[Tensor, Tensor, float]
) -> Tensor:
    """Return the gradient of a layer norm's input."""
    weight, bias, _ = norm
    shape, wanted = [values.shape[-1]], [True, False, False]
    return torch.ops.aten.native_layer_norm_backward(gradient, values, shape, mean, scale, weight, bias, wanted)[0]


def _split_heads(states: Tensor, num_heads: int) -> Tensor:
    """Return [SA, L, D] of [S, L, H], contiguous."""
    return states.unflatten(-1, (num_heads, -1)).transpose(1, 2).flatten(0, 1).contiguous()


def _join_heads(states: Tensor, num_heads: int) -> Tensor:
    """Return [SL, H] of [SA, L, D]."""
    return states.unflatten(0, (-1, num_heads)).transpose(1, 2).flatten(2).flatten(0, 1)


def _mask_scores(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what is added to the scores [S, 1, 1, L]."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(mask == 0, MASKED)[:, None, None]


def _read_layer(layer: Any, dtype: torch.dtype) -> _Layer:
    attention, after = layer.attention.self, layer.attention.output
    projection = torch.cat([attention.query.weight, attention.key.weight, attention.value.weight])
    attention_bias = after.dense.bias + after.dense.weight @ attention.value.bias

    def cast(weight: Tensor) -> Tensor:
        return weight.detach().to(dtype)

    def read_norm(norm: nn.LayerNorm) -> tuple[Tensor, Tensor, float]:
        return cast(norm.weight), cast(norm.bias), norm.eps

    return _Layer(
        projection=cast(projection),
        query_bias=cast(attention.query.bias),
        attention_out=cast(after.dense.weight),
        attention_bias=cast(attention_bias),
        attention_norm=read_norm(after.LayerNorm),
        widen=cast(layer.intermediate.dense.weight),
        widen_bias=cast(layer.intermediate.dense.bias),
        narrow=cast(layer.output.dense.weight),
        narrow_bias=cast(layer.output.dense.bias),
        out_norm=read_norm(layer.output.LayerNorm),
    )
