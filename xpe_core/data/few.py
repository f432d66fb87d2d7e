"""Few training examples: the same number of every class, drawn with a run's own seed.

M rows of the data.
"""

from collections.abc import Iterable

import numpy as np

from xpe_core.data.labelled_data import LabelledData
from xpe_core.seeds import stream_seed


def draw_train_rows(
    data: LabelledData, languages: Iterable[str], seed: int, max_examples: int | None = None
) -> np.ndarray:
    """Return the rows that a run trains on [M], language by language, at most `max_examples` of each; None is all.

    Classes take turns in giving an example, so a multiple of the number of classes is as many of each. A higher cap
    only adds rows. Languages with equally many rows of each class, such as translations, give the same ones.
    """
    parts = [np.empty(0, dtype=np.int64)]
    for language in languages:
        rows = data.select([language], "train")
        if max_examples is not None and len(rows) > max_examples:
            order = _take_turns(data.labels[rows], np.random.default_rng(stream_seed(seed, "examples")))
            rows = rows[np.sort(order[:max_examples])]
        parts.append(rows)
    return np.concatenate(parts)


def _take_turns(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return all places [M] of `labels`, drawn class by class in turns; in every turn the classes are shuffled."""
    turns, places = np.empty(len(labels), dtype=np.int64), generator.random(len(labels))
    for label in np.unique(labels):
        of_label = np.flatnonzero(labels == label)
        turns[of_label] = generator.permutation(len(of_label))
    return np.lexsort((places, turns))
