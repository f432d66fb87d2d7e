"""Validation examples for data that have train and test only: a part of train, the same for every run.

N examples.
"""

import numpy as np

from xpe_core.data.examples import SPLITS

HELD_OUT_SHARE = 0.1
"""Of a class's train examples in a language: what is validated on and not trained on; at least one of two."""


def hold_out(split_ids: np.ndarray, language_ids: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return the splits [N] with validation examples in every language that has train ones, and where some were made.

    Which examples these are is drawn once for all; a class with a single example keeps it for training.
    """
    train, validation = SPLITS.index("train"), SPLITS.index("validation")
    with_train, with_validation = (set(language_ids[split_ids == split].tolist()) for split in (train, validation))
    changed, held_out = split_ids.copy(), []
    for language in sorted(with_train - with_validation):
        own = np.flatnonzero((language_ids == language) & (split_ids == train))
        generator = np.random.default_rng(0)
        parts = []
        for label in np.unique(labels[own]):
            of_label = generator.permutation(own[labels[own] == label])
            count = max(round(HELD_OUT_SHARE * len(of_label)), 1) if len(of_label) > 1 else 0
            parts.append(of_label[:count])
        if len(rows := np.concatenate(parts)):
            changed[rows] = validation
            held_out.append(language)
    return changed, tuple(held_out)
