"""The weights of one frozen layer of a BERT-shaped encoder."""

from dataclasses import dataclass

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
