"""Validation examples for data that have train and test only: a part of train, the same for every run.

What belongs together (pairs of one premise, questions of one article, the same text twice) is held out together.

N examples.
"""

from collections import Counter, defaultdict

import numpy as np

from xpe_core.data.examples import SPLITS

HELD_OUT_SHARE = 0.1
"""Of a class's train examples in a language: what is validated on and not trained on; at least one of two."""


def hold_out(
    split_ids: np.ndarray, language_ids: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return the splits [N] with validation examples in every language that has train ones, and where some were made.

    Which examples these are is drawn once for all; a class keeps an example for training. `groups` [N] are numbers of
    what belongs together; None: every example stands alone.
    """
    groups = np.arange(len(labels)) if groups is None else groups
    train, validation = SPLITS.index("train"), SPLITS.index("validation")
    with_train, with_validation = (set(language_ids[split_ids == split].tolist()) for split in (train, validation))
    changed, held_out = split_ids.copy(), []
    for language in sorted(with_train - with_validation):
        own = np.flatnonzero((language_ids == language) & (split_ids == train))
        if len(rows := _draw(own, labels, groups)):
            changed[rows] = validation
            held_out.append(language)
    return changed, tuple(held_out)


def _draw(own: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return which of a language's train rows are held out, whole groups of them."""
    generator, members = np.random.default_rng(0), defaultdict[int, list[int]](list)
    for row in own.tolist():
        members[int(groups[row])].append(row)
    left = Counter(labels[own].tolist())
    wanted = {label: max(round(HELD_OUT_SHARE * count), 1) if count > 1 else 0 for label, count in left.items()}
    taken, drawn = Counter[int](), list[int]()
    for label in sorted(wanted):
        for row in generator.permutation(own[labels[own] == label]).tolist():
            if taken[label] >= wanted[label]:
                break
            group = members.pop(int(groups[row]), [])
            of_group = Counter(labels[group].tolist())
            if any(left[one] <= count for one, count in of_group.items()):
                continue  # a class would have nothing to train on
            drawn += group
            taken, left = taken + of_group, left - of_group
    return np.array(drawn, dtype=np.int64)
