"""In which order a run visits its training examples, and which of them make a batch."""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from xpe_core.config import RunConfig
from xpe_core.seeds import stream_seed

LENGTH_NOISE = 0.02
"""Relative noise on lengths before they are sorted into batches: other companions every epoch, little padding."""


def draw_batches(indices: np.ndarray, lengths: np.ndarray, config: RunConfig) -> Iterator[np.ndarray]:
    """Yield batches of rows [B] for ever, epoch after epoch.

    Of an epoch's examples, as many as do not fill a batch (drawn anew each time) are left out; every other one is seen
    once. B is `batch_size`, or all examples where there are fewer.
    """
    generator = np.random.default_rng(stream_seed(config.seed, "order"))
    batch_size = min(config.training.batch_size, len(indices))
    num_batches = len(indices) // batch_size
    epoch = 0
    while True:
        kept = generator.permutation(len(indices))[: num_batches * batch_size]
        noise = generator.uniform(1 - LENGTH_NOISE, 1 + LENGTH_NOISE, len(kept))
        by_length = kept[np.argsort(lengths[kept] * noise, kind="stable")].reshape(num_batches, batch_size)
        # drawn from the epoch alone: runs of a pack visit short and long batches together
        for batch in np.random.default_rng(epoch).permutation(num_batches):
            yield indices[by_length[batch]]
        epoch += 1


def list_visited(indices: np.ndarray, lengths: np.ndarray, config: RunConfig) -> np.ndarray:
    """Return the rows that a run's steps visit, of rows that it may train on: all, if its steps can see them all."""
    num_steps, batch_size = config.training.max_steps, config.training.batch_size
    if num_steps * batch_size >= len(indices):
        return indices
    return np.unique(np.concatenate(list(islice(draw_batches(indices, lengths, config), num_steps))))
