"""An encoder's layer in bfloat16 on a CPU, for inference alone: nothing is kept for a backward pass.

Weights lie as oneDNN's products read them, which otherwise put them so in every call, and bias, GELU and residual are
part of the products, which otherwise take passes over memory of their own: in bfloat16, where products are fast, these
are a good part of a layer's time. In float32 they are not, and nothing is gained.

S sequences, L tokens, Q of them queried, H hidden size, A attention heads, D = H / A.
"""

import torch
from torch import Tensor
from torch.nn import functional

from xpe_core.backbones.cpu_attention import append_column, attend, put_first, split_heads
from xpe_core.backbones.layer import Layer

ROWS = 1_024
"""Rows of a product for which weights are laid out; others can be multiplied, too."""


def can_pack() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware and this PyTorch has the products."""
    has_products = hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(
        torch.ops.mkldnn, "_reorder_linear_weight"
    )
    return torch.backends.mkldnn.is_available() and has_products and has_bfloat16()


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; where it does not, float32 is faster."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


class PackedLayer:
    """One layer's weights, laid out for products."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._projection = _pack(layer.projection)
        self._attention_out = _pack(layer.attention_out)
        self._widen = _pack(layer.widen)
        self._narrow = _pack(layer.narrow)

    def __call__(
        self,
        hidden: Tensor,
        mask: Tensor | None,
        num_heads: int,
        num_queried: int,
        before: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Return the output [S, Q, H] at the first `num_queried` positions of `hidden` [S, L, H]; mask is [S, L].

        `before` are keys and values [S, A, P, D] without their biases, which stand before the layer's own.
        """
        layer, (num_sequences, _, size) = self._layer, hidden.shape
        projected = _multiply(hidden.flatten(0, 1), self._projection, layer.projection_bias)  # [SL, 3H]
        query, key, value = projected.unflatten(0, (num_sequences, -1)).chunk(3, dim=-1)
        query, key, value = (split_heads(part, num_heads) for part in (query[:, :num_queried], key, value))
        key, value, mask = put_first(key, value, mask, before)
        _, weighed = attend(query.flatten(0, 1), key.flatten(0, 1), append_column(value, mask))
        weighed = weighed.unflatten(0, (num_sequences, num_heads)).transpose(1, 2)  # [S, Q, A, D + 1]
        attended = torch.empty_like(weighed[..., :-1], memory_format=torch.contiguous_format)
        attended = torch.div(weighed[..., :-1], weighed[..., -1:], out=attended).flatten(2).flatten(0, 1)  # [SQ, H]
        queried = hidden[:, :num_queried].flatten(0, 1)
        mixed = _multiply_and_add(attended, queried, self._attention_out, layer.attention_bias)
        mixed = functional.layer_norm(mixed, [size], *layer.attention_norm)
        wide = _multiply(mixed, self._widen, layer.widen_bias, "gelu")
        out = _multiply_and_add(wide, mixed, self._narrow, layer.narrow_bias)
        return functional.layer_norm(out, [size], *layer.out_norm).unflatten(0, (num_sequences, -1))


def _pack(weight: Tensor) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
    return packed


def _multiply(rows: Tensor, weight: Tensor, bias: Tensor, activation: str = "none") -> Tensor:
    """Return activation(rows x weight + bias)."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, activation, [], "none")
    return product


def _multiply_and_add(rows: Tensor, other: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return rows x weight + bias + other."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise.binary(rows, other, weight, bias, "add")
    return product
