"""The weights of one frozen layer of a BERT-shaped encoder, and the gradient of its norms."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layer:
    """One layer's weights, in the order of use."""

    projection: Tensor
    """[3H, H]: queries (scaled), keys, values."""
    projection_bias: Tensor
    """[3H]: of the queries (scaled), and zeros."""
    query_scale: float
    """What queries are scaled with."""
    key_bias: Tensor
    value_bias: Tensor
    """Not folded away, for layers that something is added to."""
    attention_out: Tensor
    attention_bias: Tensor
    """Of the output, with what the values' bias adds to it."""
    attention_out_bias: Tensor
    """The same without."""
    attention_norm: tuple[Tensor, Tensor, float]
    widen: Tensor
    widen_bias: Tensor
    narrow: Tensor
    narrow_bias: Tensor
    out_norm: tuple[Tensor, Tensor, float]


def differentiate_norm(
    gradient: Tensor, values: Tensor, mean: Tensor, scale: Tensor, norm: tuple[Tensor, Tensor, float]
) -> Tensor:
    """Return the gradient of a layer norm's input."""
    weight, bias, _ = norm
    shape, wanted = [values.shape[-1]], [True, False, False]
    return torch.ops.aten.native_layer_norm_backward(gradient, values, shape, mean, scale, weight, bias, wanted)[0]
