"""What the runs of a pass put into the frozen backbone.

R runs, B examples, P virtual tokens, H hidden size; O and I are the numbers out of and into a linear layer, N those of
a layer's keys: heads times their size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from xpe_core.backbones.backbone_dropout import BackboneDropout
from xpe_core.backbones.counted_dropout import LayerDropout


@dataclass(frozen=True)
class Delta:
    """What is added to one linear layer y = W x + b of the backbone, each [R, ...]; None is nothing.

    y = (W (x * input_scale) + b) * scale + up (down dropout(x)) + bias
    """

    down: Tensor | None = None
    """[R, r, I]."""
    up: Tensor | None = None
    """[R, O, r], with everything in it that the product is scaled by."""
    scale: Tensor | None = None
    """[R, O]: what the layer's output is multiplied with."""
    input_scale: Tensor | None = None
    """[R, I]."""
    bias: Tensor | None = None
    """[R, O]."""
    dropout: LayerDropout | None = None
    """Of what goes into `down`."""

    @property
    def num_runs(self) -> int:
        """R."""
        return next(len(value) for value in self._tensors.values())

    def take(self, run: int) -> "Delta":
        """Return what is added in one run, with R = 1."""
        dropout = self.dropout and replace(
            self.dropout, rates=self.dropout.rates[run, None], seeds=self.dropout.seeds[run, None]
        )
        return Delta(**{name: value[run, None] for name, value in self._tensors.items()}, dropout=dropout)

    @property
    def _tensors(self) -> dict[str, Tensor]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}


@dataclass(frozen=True)
class KeysValues:
    """What stands before a layer's own keys and values, in the same softmax: every position attends to it."""

    keys: Tensor
    """[R, P, N], as they are scored: with what a projection's bias would add, and without rotary positions."""
    values: Tensor
    """[R, P, N]."""

    def take(self, run: int) -> "KeysValues":
        """Return those of one run, with R = 1."""
        return KeysValues(self.keys[run, None], self.values[run, None])

    def split_heads(self, num_sequences: int, head_size: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return keys and values for S sequences, which lie as r * B + b: each [S, A, P, D]."""
        keys, values = (
            part.to(dtype)
            .unflatten(-1, (-1, head_size))
            .transpose(1, 2)
            .repeat_interleave(num_sequences // len(part), 0)
            for part in (self.keys, self.values)
        )
        return keys, values


@dataclass(frozen=True)
class Insertion:
    """What the runs of a pass put into the frozen backbone; sequences lie as r * B + b."""

    tokens: Tensor | None = None
    """[R, B, P, H] or [R, 1, P, H]: embeddings before the text."""
    deltas: Mapping[str, Delta] = field(default_factory=dict)
    """By `layer.role`, such as `3.query`: what is added to a linear layer."""
    keys_values: Mapping[int, KeysValues] = field(default_factory=dict)
    """By layer: what stands before its keys and values. Positions of the text begin behind them."""
    dropout: BackboneDropout | None = None
    """What the backbone drops; None in evaluation, and where it drops nothing."""
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    """[R, ...]: all of the backbone's weights, by their names there, in the place of the frozen ones."""
    checkpointing: bool = False
    """Whether the backward pass computes layers with such weights again, so that their inner states are not kept."""

    @property
    def num_runs_in_layers(self) -> int:
        """R of what is put into the layers; 1 where nothing is."""
        if self.dropout is not None:
            return len(self.dropout.seeds)
        counts = [delta.num_runs for delta in self.deltas.values()]
        counts += [len(one.keys) for one in self.keys_values.values()]
        return max((*counts, *map(len, self.weights.values())), default=1)

    @property
    def num_positions(self) -> int:
        """P of `keys_values`: positions that these take before the text; 0 where there are none."""
        return max((one.keys.shape[1] for one in self.keys_values.values()), default=0)

    def take_layers(self, run: int) -> "Insertion":
        """Return what is put into the layers in one run, with R = 1."""
        return Insertion(
            deltas={name: delta.take(run) for name, delta in self.deltas.items()},
            keys_values={layer: one.take(run) for layer, one in self.keys_values.items()},
            dropout=self.dropout and self.dropout.take(slice(run, run + 1)),
            weights={name: value[run : run + 1] for name, value in self.weights.items()},
            checkpointing=self.checkpointing,
        )

    def by_layer(self) -> dict[int, dict[str, Delta]]:
        """Return the deltas by the number of the layer, then by role."""
        layers: dict[int, dict[str, Delta]] = {}
        for name, delta in self.deltas.items():
            number, role = name.split(".")
            layers.setdefault(int(number), {})[role] = delta
        return layers


NOTHING = Insertion()
"""No insertion: the backbone as it is."""
