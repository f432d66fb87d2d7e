"""Best spans of windows as answers to questions.

M rows of one language, each a window.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xpe_core.tasks.metrics import Predictions, References
from xpe_core.tasks.qa.words import find_words

if TYPE_CHECKING:
    from xpe_core.data.tokens import TokenisedData


def pair_spans(
    data: "TokenisedData", rows: NDArray[np.int64], predictions: NDArray[np.generic]
) -> tuple[Predictions, References]:
    """Return the words of each example's answer, and of all answers that are right.

    `predictions` [M, 3] are first token, last token and score; an example's answer is its window's with the best score.
    """
    windows = data.windows
    assert windows is not None
    numbers = predictions.astype(np.float64)
    owners = windows.owners[rows]
    examples, best = best_windows(owners, numbers[:, 2])
    answered, right = np.empty(len(examples), dtype=object), np.empty(len(examples), dtype=object)
    for place, (example, window) in enumerate(zip(examples, best, strict=True)):
        row = rows[window]
        language = data.languages[data.language_ids[row]]
        tokens = data.offsets[row] + numbers[window, :2].astype(np.int64)
        text = windows.cut(row, windows.starts[tokens[0]], windows.ends[tokens[1]])
        answered[place] = find_words(text, language)
        right[place] = tuple(find_words(answer, language) for answer in windows.answers(example))
    return answered, right


def best_windows(owners: NDArray[np.int64], scores: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the examples in order, and the place of each one's window with the best score; of equal ones the first.

    `owners` [M] are the examples that the windows are of.
    """
    order = np.lexsort((-scores, owners))
    examples, firsts = np.unique(owners[order], return_index=True)
    return examples, order[firsts]
