"""The layers of a frozen BERT-shaped encoder (BERT, RoBERTa, XLM-R), computed without what only training them needs.

Weights are cast once and never have a gradient, the three projections of attention are one product, the scale of the
scores is in the queries' weights, the biases of keys and values are folded away (a constant shift of all scores, and of
the output), and where only the first position's state is asked for, the last layer computes nothing else. The numbers
are transformers' own up to rounding.

S sequences, L tokens, H hidden size, A attention heads, D = H / A.
"""

import threading
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional
from transformers import PreTrainedModel

from xpe_core.backbones.backbone_dropout import EMBEDDINGS, drop_at
from xpe_core.backbones.changed_layer import mask_scores, run_changed_layer
from xpe_core.backbones.cpu_attention import (
    append_column,
    attend,
    differentiate_attention,
    join_heads,
    put_first,
    split_heads,
)
from xpe_core.backbones.dropped_layer import DroppedLayer
from xpe_core.backbones.insertion import NOTHING, Insertion, KeysValues
from xpe_core.backbones.layer import Layer, differentiate_norm
from xpe_core.backbones.packed_layer import PackedLayer, can_pack
from xpe_core.backbones.shape import find_first_position

MODEL_TYPES = ("bert", "camembert", "roberta", "xlm-roberta")
MASKED = -1e9
"""Added to the scores of padding; not the least number, so that sums with it stay finite."""

_PACKING = threading.Lock()


class FrozenEncoder:
    """An encoder's layers in one number format, for forward and backward passes through frozen weights."""

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        """Copy what is needed of `model`'s weights, cast to `dtype`; `can_encode(model)` must hold."""
        self.dtype = dtype
        self.num_heads: int = model.config.num_attention_heads
        self._embeddings = model.embeddings
        self._first_position = find_first_position(model)
        with torch.no_grad():
            self._layers = [_read_layer(layer, dtype) for layer in model.encoder.layer]
        self._packed: list[PackedLayer] = []

    def __call__(
        self,
        embeddings: Tensor,
        mask: Tensor | None,
        only_first: bool = False,
        insertion: Insertion = NOTHING,
    ) -> Tensor:
        """Return last hidden states [S, L, H] of embeddings [S, L, H], or [S, 1, H] of the first position.

        `mask` is [S, L], 0 at padding, or None where there is none; tokens of `insertion` are in the embeddings.
        """
        positions = self._first_position + insertion.num_positions
        position_ids = torch.arange(positions, positions + embeddings.shape[1], device=embeddings.device)[None]
        hidden = self._embeddings(inputs_embeds=embeddings, position_ids=position_ids).to(self.dtype)
        on_cpu, dropout = hidden.device.type == "cpu", insertion.dropout
        if dropout is not None:
            hidden = drop_at(dropout.at(EMBEDDINGS), hidden)
        packed = self._pack() if on_cpu and torch.is_inference_mode_enabled() and dropout is None else []
        changes = insertion.by_layer()
        needs_bias = mask is not None and (changes or insertion.keys_values or not on_cpu)
        bias = mask_scores(mask, self.dtype, MASKED) if mask is not None and needs_bias else None
        for number, layer in enumerate(self._layers):
            num_queried = 1 if only_first and number == len(self._layers) - 1 else hidden.shape[1]
            places = None if dropout is None else dropout.in_layer(number)
            change, before = changes.get(number, {}), insertion.keys_values.get(number)
            if change or (places and (before or not on_cpu)) or (before and not on_cpu):
                hidden = run_changed_layer(layer, hidden, num_queried, bias, self.num_heads, change, places, before)
            elif places:
                hidden = DroppedLayer.apply(hidden, layer, mask, self.num_heads, num_queried, places)
            elif packed:
                pair = _fold(before, layer, hidden, self.num_heads)
                hidden = packed[number](hidden, mask, self.num_heads, num_queried, pair)
            elif on_cpu:
                pair = _fold(before, layer, hidden, self.num_heads)
                hidden = _CpuLayer.apply(hidden, layer, mask, self.num_heads, num_queried, *(pair or ()))
            else:
                queried = hidden if num_queried == hidden.shape[1] else hidden[:, :num_queried]
                hidden = _run_layer(layer, queried, hidden, bias, self.num_heads)
        return hidden

    def _pack(self) -> list[PackedLayer]:
        """Return the layers for answers on this CPU, or none where it has no faster ones; made the first time."""
        with _PACKING:
            if not self._packed and self.dtype == torch.bfloat16 and can_pack():
                self._packed = [PackedLayer(layer) for layer in self._layers]
        return self._packed


def can_encode(model: PreTrainedModel) -> bool:
    """Return whether `FrozenEncoder` computes what this model computes."""
    config = model.config
    return (
        config.model_type in MODEL_TYPES
        and config.hidden_act == "gelu"
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
    )


def _run_layer(layer: Layer, queried: Tensor, hidden: Tensor, bias: Tensor | None, num_heads: int) -> Tensor:
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


class _Context(FunctionCtx):
    """What a layer's forward pass keeps for its backward pass."""

    saved_tensors: tuple[Tensor, ...]
    layer: Layer
    num_heads: int
    shape: torch.Size
    is_padded: bool
    num_before: int


class _CpuLayer(torch.autograd.Function):
    """The same layer for CPUs, where memory traffic decides: buffers are reused, sums go into matrix products."""

    @staticmethod
    def forward(
        ctx: _Context,
        hidden: Tensor,
        layer: Layer,
        mask: Tensor | None,
        num_heads: int,
        num_queried: int,
        *before: Tensor,
    ) -> Tensor:
        """Return the output [S, Q, H] at the first `num_queried` positions of `hidden` [S, L, H]; mask is [S, L].

        `before` are keys and values [S, A, P, D] without their biases, which stand before the layer's own, or nothing.
        """
        num_sequences, _, size = hidden.shape
        queried = hidden[:, :num_queried].flatten(0, 1)  # [SQ, H]
        if num_queried == hidden.shape[1]:
            projected = torch.addmm(layer.projection_bias, queried, layer.projection.T)
            query, key, value = projected.unflatten(0, (num_sequences, -1)).chunk(3, dim=-1)
        else:
            query = torch.addmm(layer.projection_bias[:size], queried, layer.projection[:size].T)
            query = query.unflatten(0, (num_sequences, -1))
            key, value = functional.linear(hidden, layer.projection[size:]).chunk(2, dim=-1)
        query, key, value = (split_heads(part, num_heads) for part in (query, key, value))
        if before:
            key, value, mask = put_first(key, value, mask, (before[0], before[1]))
        query, key, value = query.flatten(0, 1), key.flatten(0, 1), append_column(value, mask)
        weights, weighed = attend(query, key, value)
        weighed = weighed.unflatten(0, (num_sequences, num_heads)).transpose(1, 2)  # [S, Q, A, D + 1]
        attended, sums = torch.empty_like(weighed[..., :-1], memory_format=torch.contiguous_format), weighed[..., -1:]
        attended = torch.div(weighed[..., :-1], sums, out=attended).flatten(2).flatten(0, 1)  # [SQ, H]
        mixed = queried.add(layer.attention_bias).addmm_(attended, layer.attention_out.T)
        normed, *mixed_moments = torch.native_layer_norm(mixed, [size], *layer.attention_norm)
        wide = torch.addmm(layer.widen_bias, normed, layer.widen.T)
        out = normed.add(layer.narrow_bias).addmm_(functional.gelu(wide), layer.narrow.T)
        result, *out_moments = torch.native_layer_norm(out, [size], *layer.out_norm)
        of_attention = query, key, value, weights, attended, sums
        ctx.save_for_backward(*of_attention, mixed, *mixed_moments, wide, out, *out_moments)
        ctx.layer, ctx.num_heads, ctx.shape, ctx.is_padded = layer, num_heads, hidden.shape, mask is not None
        ctx.num_before = before[0].shape[2] if before else 0
        return result.unflatten(0, (num_sequences, -1))

    @staticmethod
    def backward(ctx: _Context, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights, attended, sums, *rest = ctx.saved_tensors
        mixed, mixed_mean, mixed_scale, wide, out, out_mean, out_scale = rest
        layer, num_heads, size = ctx.layer, ctx.num_heads, ctx.shape[-1]
        of_out = differentiate_norm(gradient.flatten(0, 1), out, out_mean, out_scale, layer.out_norm)
        of_wide = torch.mm(of_out, layer.narrow)
        torch.ops.aten.gelu_backward.grad_input(of_wide, wide, grad_input=of_wide)
        of_normed = of_out.addmm_(of_wide, layer.widen)
        of_mixed = differentiate_norm(of_normed, mixed, mixed_mean, mixed_scale, layer.attention_norm)
        of_attended = torch.mm(of_mixed, layer.attention_out)
        of_query, *of_key_value = differentiate_attention(
            of_attended, query, key, value, weights, attended, sums, ctx.is_padded
        )
        of_before = [of[:, : ctx.num_before].unflatten(0, (-1, num_heads)) for of in of_key_value if ctx.num_before]
        of_key_value = [of[:, ctx.num_before :] for of in of_key_value]
        if query.shape[1] == ctx.shape[1]:
            of_projected = join_heads([of_query, *of_key_value], num_heads)
            of_hidden = of_mixed.addmm_(of_projected, layer.projection).view(ctx.shape)
            return of_hidden, None, None, None, None, *of_before
        of_hidden = torch.mm(join_heads(of_key_value, num_heads), layer.projection[size:]).view(ctx.shape)
        of_queried = of_mixed.addmm_(join_heads([of_query], num_heads), layer.projection[:size])
        of_hidden[:, : query.shape[1]] += of_queried.unflatten(0, (ctx.shape[0], -1))
        return of_hidden, None, None, None, None, *of_before


def _fold(keys_values: KeysValues | None, layer: Layer, hidden: Tensor, num_heads: int) -> tuple[Tensor, Tensor] | None:
    """Return keys and values [S, A, P, D] for `hidden` [S, L, H], without the biases that are folded away."""
    if keys_values is None:
        return None
    folded = KeysValues(keys_values.keys - layer.key_bias, keys_values.values - layer.value_bias)
    return folded.split_heads(len(hidden), hidden.shape[-1] // num_heads, hidden.dtype)


def _read_layer(layer: Any, dtype: torch.dtype) -> Layer:
    attention, after = layer.attention.self, layer.attention.output
    scale = attention.attention_head_size**-0.5
    projection = torch.cat([attention.query.weight * scale, attention.key.weight, attention.value.weight])
    projection_bias = torch.cat([attention.query.bias * scale, torch.zeros_like(attention.query.bias).repeat(2)])
    attention_bias = after.dense.bias + after.dense.weight @ attention.value.bias

    def cast(weight: Tensor) -> Tensor:
        return weight.detach().to(dtype)

    def read_norm(norm: nn.LayerNorm) -> tuple[Tensor, Tensor, float]:
        return cast(norm.weight), cast(norm.bias), norm.eps

    return Layer(
        projection=cast(projection),
        projection_bias=cast(projection_bias),
        query_scale=scale,
        key_bias=cast(attention.key.bias),
        value_bias=cast(attention.value.bias),
        attention_out=cast(after.dense.weight),
        attention_bias=cast(attention_bias),
        attention_out_bias=cast(after.dense.bias),
        attention_norm=read_norm(after.LayerNorm),
        widen=cast(layer.intermediate.dense.weight),
        widen_bias=cast(layer.intermediate.dense.bias),
        narrow=cast(layer.output.dense.weight),
        narrow_bias=cast(layer.output.dense.bias),
        out_norm=read_norm(layer.output.LayerNorm),
    )
