"""What one training step drops: masks of the trained parts, and seeds of what layers of the backbone drop themselves.

Everything is drawn from a run's own stream, so that it does not depend on who else is trained.

R runs, B examples of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xpe_core.backbones.backbone_dropout import BackboneDropout

Masks = Sequence[Tensor]
"""What dropout multiplies its inputs with: 0, or 1 / (1 - probability); none in evaluation."""


@dataclass(frozen=True)
class Dropout:
    """The masks of one training step, each [R, B, ...]; none where nothing is dropped in any run."""

    tuning: Masks = ()
    readout: Masks = ()
    seeds: Tensor | None = None
    """[R, B]: what a tuning's updates in layers of the backbone draw their dropout from."""
    backbone: BackboneDropout | None = None
    """What the backbone drops itself."""

    def take(self, runs: slice, examples: slice) -> "Dropout":
        """Return those of some runs and examples."""
        tuning, readout = ([mask[runs, examples] for mask in masks] for masks in (self.tuning, self.readout))
        seeds = None if self.seeds is None else self.seeds[runs, examples]
        return Dropout(tuning, readout, seeds, self.backbone and self.backbone.take(runs, examples))


NO_DROPOUT = Dropout()


def draw_mask(shape: tuple[int, ...], rates: Sequence[float], generators: Sequence[torch.Generator]) -> Tensor:
    """Return a dropout mask [R, *shape]: per run 0 at its `rate` of the numbers, 1 / (1 - rate) at the others.

    Each run's numbers come from its own generator.
    """
    mask = torch.ones((len(rates), *shape), device=generators[0].device)
    for index, (rate, generator) in enumerate(zip(rates, generators, strict=True)):
        if rate:
            mask[index].bernoulli_(1 - rate, generator=generator).div_(1 - rate)
    return mask


def draw_seeds(num_examples: int, rates: Sequence[float], generators: Sequence[torch.Generator]) -> Tensor:
    """Return one seed an example of each run [R, B], from the run's own generator; 0 where its rate is 0."""
    seeds = torch.zeros(len(rates), num_examples, dtype=torch.int32, device=generators[0].device)
    for index, (rate, generator) in enumerate(zip(rates, generators, strict=True)):
        if rate:
            seeds[index].random_(2**31 - 1, generator=generator)
    return seeds
