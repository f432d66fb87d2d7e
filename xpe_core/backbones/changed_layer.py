"""One frozen layer of a BERT-shaped encoder with something added to its linear layers, run by run.

S = R * B sequences, L tokens, Q of them queried, H hidden size, A attention heads; a delta's tensors are [R, ...].
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from xpe_core.backbones.backbone_dropout import LayerPlaces, attend_at, drop_at
from xpe_core.backbones.counted_dropout import drop
from xpe_core.backbones.insertion import Delta, KeysValues
from xpe_core.backbones.layer import Layer

ROLES = ("query", "key", "value", "attention_output", "up", "down")
"""The linear layers that can be changed here."""


def run_changed_layer(
    layer: Layer,
    hidden: Tensor,
    num_queried: int,
    bias: Tensor | None,
    num_heads: int,
    deltas: Mapping[str, Delta],
    places: LayerPlaces | None = None,
    keys_values: KeysValues | None = None,
) -> Tensor:
    """Return the output [S, Q, H] at the first `num_queried` positions of `hidden` [S, L, H].

    `bias` [S, 1, 1, L] is added to the scores; `deltas` are by role; `places` are where the layer drops, if it does;
    `keys_values` stand before the layer's own, if there are any.
    """
    size = hidden.shape[-1]
    queried = hidden if num_queried == hidden.shape[1] else hidden[:, :num_queried]
    weights = layer.projection.split(size)
    biases = (layer.projection_bias[:size], layer.key_bias, layer.value_bias)
    inputs = {"query": queried, "key": hidden, "value": hidden}
    projected = [
        change_linear(functional.linear(inputs[role], weight, bias_of), inputs[role], weight, deltas.get(role), scale)
        for (role, weight, bias_of, scale) in zip(inputs, weights, biases, (layer.query_scale, 1.0, 1.0), strict=True)
    ]
    query, key, value = (part.unflatten(-1, (num_heads, -1)).transpose(1, 2) for part in projected)
    if keys_values is not None:
        key, value, bias = put_before(key, value, bias, keys_values)
    attended = _attend(query, key, value, bias, places).transpose(1, 2).flatten(2)
    added = _run(layer.attention_out, layer.attention_out_bias, attended, deltas.get("attention_output"))
    mixed = drop_at(places.attention_output if places else None, added) + queried
    mixed = functional.layer_norm(mixed, [size], *layer.attention_norm)
    wide = functional.gelu(_run(layer.widen, layer.widen_bias, mixed, deltas.get("up")))
    added = _run(layer.narrow, layer.narrow_bias, wide, deltas.get("down"))
    out = drop_at(places.output if places else None, added) + mixed
    return functional.layer_norm(out, [size], *layer.out_norm)


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, places: LayerPlaces | None) -> Tensor:
    """Return [S, A, Q, D] of queries [S, A, Q, D], keys and values [S, A, L, D]."""
    if places:
        return attend_at(places.attention, query, key, value, bias, 1.0)
    if bias is not None:
        bias = bias.expand(-1, query.shape[1], query.shape[2], -1)
    return functional.scaled_dot_product_attention(query, key, value, bias, scale=1.0)


def put_before(
    key: Tensor, value: Tensor, bias: Tensor | None, keys_values: KeysValues
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return keys and values [S, A, P + L, D] of those [S, A, L, D] of the text, and what is added to the scores.

    `bias` [S, 1, 1 or Q, L] may be of truth values, too: true where a position is attended to.
    """
    keys, values = keys_values.split_heads(len(key), key.shape[-1], key.dtype)
    if bias is not None:
        seen = bias.new_full((1,), bias.dtype == torch.bool).expand(*bias.shape[:-1], keys.shape[2])
        bias = torch.cat([seen, bias], dim=-1)
    return torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2), bias


def change_linear(
    output: Tensor, inputs: Tensor, weight: Tensor, delta: Delta | None, output_scale: float = 1.0
) -> Tensor:
    """Return a linear layer's `output` [S, L, O] of `inputs` [S, L, I] as a delta changes it.

    `output_scale` is a constant that is already in `output` and `weight` [O, I].
    """
    if delta is None:
        return output
    if delta.input_scale is not None:
        scaled = inputs * _spread(delta.input_scale - 1, inputs)
        output = output + functional.linear(scaled, weight)
    if delta.scale is not None:
        output = output * _spread(delta.scale, output)
    if delta.down is not None and delta.up is not None:
        dropped = inputs if delta.dropout is None else drop(inputs, delta.dropout)
        rows = dropped.unflatten(0, (len(delta.down), -1)).flatten(1, -2)  # [R, BL, I]
        low = rows @ delta.down.to(rows.dtype).mT
        added = (low @ (delta.up * output_scale).to(rows.dtype).mT).view(output.shape)
        output = output + added
    if delta.bias is not None:
        output = output + _spread(delta.bias * output_scale, output)
    return output


def _run(weight: Tensor, bias: Tensor, inputs: Tensor, delta: Delta | None) -> Tensor:
    return change_linear(functional.linear(inputs, weight, bias), inputs, weight, delta)


def _spread(values: Tensor, like: Tensor) -> Tensor:
    """Return one row of values a run [R, N] as [S, 1, N], in the number format of `like`."""
    return values.to(like.dtype).repeat_interleave(len(like) // len(values), 0)[:, None]


def mask_scores(mask: Tensor, dtype: torch.dtype, masked: float) -> Tensor:
    """Return what is added to the scores [S, 1, 1, L], `masked` where the mask [S, L] is 0."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(mask == 0, masked)[:, None, None]
