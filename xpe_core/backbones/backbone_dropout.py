"""The dropout that a frozen backbone has of its own, in training: drawn for each run from seeds, no mask is kept.

A row of numbers is decided by the exclusive or of two rows out of fixed tables of random numbers, at offsets that are a
hash of the example's seed and step, the place in the backbone and the row. That is a tenth of the time of hashing every
number, and has what counters have: a repeated or a split pass draws the same, on a CPU as on a GPU.

R runs, B examples, S = R * B sequences, L tokens, H hidden size, N rows of a sequence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from xpe_core.backbones.counted_dropout import mix

BITS = 16
"""Of a random number; as many are the bits of an offset in a table."""
TABLES = (0x1D872B41, 0x2545F491)
"""What the two tables are hashes of, beside the index."""
ROWS = 1 << 13
"""What numbers of rows count in, one dimension over the other: more than any backbone has positions."""
FIRST_SALT = 1 << 20
"""Of the places; smaller ones belong to what a tuning drops in its layers."""
ATTENTION, ATTENTION_OUTPUT, OUTPUT = range(3)
"""Where a layer drops: attention's weights, attention's output, the layer's output."""
EMBEDDINGS = 0
"""The place before all layers."""


@dataclass(frozen=True)
class Place:
    """One place in the backbone where numbers are dropped."""

    rate: float
    """Probability of a zero."""
    seeds: Tensor
    """[S], int32: one a sequence, of this place."""

    @property
    def scale(self) -> float:
        """What a number that is not dropped is multiplied with."""
        return 1 / (1 - self.rate)

    def draw(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return 0 where a number is dropped and 1 elsewhere, of `shape` [S, ..., I].

        A number's fate depends on its position alone, so padding and cut batches change nothing.
        """
        *rows, size = shape[1:]
        hashes = mix(_hash_rows(tuple(rows), self.seeds.device) ^ self.seeds[:, None]).flatten()  # [SN]
        first, second = (table.unfold(0, size, 1) for table in _tables(self.seeds.device, _round_up(size)))
        numbers = first.index_select(0, hashes & (1 << BITS) - 1)
        numbers ^= second.index_select(0, hashes >> BITS & (1 << BITS) - 1)
        kept = torch.empty(numbers.shape, dtype=dtype, device=numbers.device)
        return torch.ge(numbers, self._limit, out=kept).view(tuple(shape))

    @property
    def _limit(self) -> int:
        """The least of the random numbers, from -32768 to 32767, that are not dropped."""
        return min(round(self.rate * 2**BITS) - 2 ** (BITS - 1), 2 ** (BITS - 1) - 1)


@dataclass(frozen=True)
class BackboneDropout:
    """What the backbone drops in one pass."""

    rate: float
    """Probability of a zero, the same at all places and in all runs of a pack."""
    seeds: Tensor
    """[R, B], int32: one an example and step."""
    run_seeds: Tensor
    """[R], int32: one a run and step, for what a model computes once for all of its texts."""

    def at(self, place: int) -> Place:
        """Return the dropout of texts at a place, by its number."""
        return Place(self.rate, mix(self.seeds.flatten() ^ FIRST_SALT + place))

    def in_layer(self, layer: int) -> "LayerPlaces":
        """Return the dropout of a BERT-shaped layer."""
        attention, attention_output, output = (self.at(EMBEDDINGS + 1 + 3 * layer + place) for place in range(3))
        return LayerPlaces(attention, attention_output, output)

    def beside_texts(self, place: int) -> Place:
        """Return the dropout at a place of what is computed once for all texts of the first run."""
        return Place(self.rate, mix(self.run_seeds[:1] ^ FIRST_SALT + place))

    def take(self, runs: slice, examples: slice = slice(None)) -> "BackboneDropout":
        """Return that of some runs and examples."""
        return BackboneDropout(self.rate, self.seeds[runs, examples], self.run_seeds[runs])


@dataclass(frozen=True)
class LayerPlaces:
    """The places of one BERT-shaped layer."""

    attention: Place
    """The weights of attention."""
    attention_output: Place
    """What attention adds to the states."""
    output: Place
    """What the wide layers add to the states."""


def drop_at(place: Place | None, inputs: Tensor) -> Tensor:
    """Return inputs [S, ..., I] with numbers dropped, and the others divided by what is kept of them."""
    if place is None:
        return inputs
    dropped: Tensor = _Drop.apply(inputs, place)
    return dropped


def attend_at(place: Place, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """Return attention [S, A, Q, D] over values [S, A, L, D] with weights dropped; `bias` is added to the scores."""
    scores = query @ key.mT * scale
    weights = torch.softmax(scores if bias is None else scores + bias, dim=-1, dtype=torch.float32)
    return drop_at(place, weights.to(value.dtype)) @ value


class _Context(FunctionCtx):
    """What a forward pass keeps for the backward pass."""

    place: Place


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, inputs: Tensor, place: Place) -> Tensor:
        ctx.place = place
        return place.draw(inputs.shape, inputs.dtype).mul_(inputs).mul_(place.scale)

    @staticmethod
    def backward(ctx: _Context, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.place.draw(gradient.shape, gradient.dtype).mul_(gradient).mul_(ctx.place.scale), None


@lru_cache(maxsize=128)
def _hash_rows(sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """Return hashes [N], int32, of the rows in dimensions of these sizes; a row's own does not depend on the sizes."""
    numbers = torch.zeros(1, dtype=torch.int32, device=device)
    for size in sizes:
        numbers = (numbers[:, None] * ROWS + torch.arange(size, dtype=torch.int32, device=device)).flatten()
    return mix(numbers)


@lru_cache(maxsize=8)
def _tables(device: torch.device, most_numbers: int) -> tuple[Tensor, Tensor]:
    """Return two tables of random int16, from any offset of `BITS` bits on so many numbers long; they begin alike."""
    with torch.inference_mode(False):
        indices = torch.arange((1 << BITS) + most_numbers, dtype=torch.int32)
        first, second = (mix(mix(indices) ^ salt).to(torch.int16).to(device) for salt in TABLES)
    return first, second


def _round_up(size: int) -> int:
    """Return the next power of two, so that there are few sizes of tables."""
    return 1 << (size - 1).bit_length()
