"""A trained adapter at work: texts, or pairs of texts, in any language in, labels and probabilities out.

Texts are tokenised as in training and classified in windows: within one, every text is computed once, those of similar
length together. What is held in memory is a window, however many texts there are.

N texts, B of them in a batch, C classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from xpe_core.adapters import Adapter
from xpe_core.adapters.adapter import check_classes
from xpe_core.backbones.backbone import Backbone
from xpe_core.data.tokenising import has_types
from xpe_core.tasks.texts import Text
from xpe_core.trained import (
    TOKENIZING,
    TrainedModel,
    as_tuple,
    check_characters,
    check_texts,
    cut_windows,
    prepare,
)
from xpe_core.training.batches import run_in_batches


class Prediction(NamedTuple):
    """What one text was classified as."""

    label: str
    probability: float
    """Of this label, in [0, 1]."""


class TextClassifier(TrainedModel):
    """An adapter that classifies; it may be used from several threads."""

    def __init__(self, adapter: Adapter, backbone: Backbone) -> None:
        """Put them together; InputError where the adapter does not belong on this backbone, or has no classes."""
        check_classes(adapter, "a classifier")
        super().__init__(adapter, backbone)
        self.label_names = adapter.label_names
        """The C classes in the order of the probabilities."""

    def predict(self, texts: Iterable[Text]) -> list[Prediction]:
        """Return the most probable label of every text, in their order; InputError where one is no string or pair."""
        return self.choose(self.probabilities(texts))

    def probabilities(self, texts: Iterable[Text]) -> np.ndarray:
        """Return the probabilities of all classes [N, C], float32; InputError where a text is no string."""
        parts = [np.empty((0, len(self.label_names)), dtype=np.float32)]
        start = 0
        for window in cut_windows(texts, grow=False):
            parts.append(self._classify(window, start))
            start += len(window)
        return np.concatenate(parts)

    def stream(self, texts: Iterable[Text]) -> Iterator[Prediction]:
        """Yield the predictions of texts of any number, in their order, reading no further than a window ahead.

        Raises InputError where one is no string; those of all windows before it have been given then.
        """
        start = 0
        for window in cut_windows(texts):
            yield from self.choose(self._classify(window, start))
            start += len(window)

    def choose(self, probabilities: np.ndarray) -> list[Prediction]:
        """Return the predictions that probabilities [N, C] stand for."""
        labels = probabilities.argmax(-1)
        chosen = np.take_along_axis(probabilities, labels[:, None], -1)[:, 0]
        return [
            Prediction(self.label_names[label], probability)
            for label, probability in zip(labels.tolist(), chosen.tolist(), strict=True)
        ]

    def _classify(self, texts: Sequence[Text], start: int) -> np.ndarray:
        """Return the probabilities [N, C] of one window, before whose first text `start` others stood."""
        check_texts(texts, start, self.texts)
        indices: dict[Text, int] = {}
        which = [indices.setdefault(text, len(indices)) for text in texts]
        rows, row_types = self._tokenize(list(indices), texts, start)
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        order = np.argsort(lengths, kind="stable")
        probabilities = np.empty((len(rows), len(self.label_names)), dtype=np.float32)

        @torch.inference_mode()
        def classify(batch: slice) -> None:
            chosen = order[batch]
            types = None if row_types is None else [row_types[row] for row in chosen]
            logits = self._outputs([rows[row] for row in chosen], types, lengths[chosen])  # [1, B, C]
            probabilities[chosen] = logits[0].softmax(-1).cpu().numpy()

        run_in_batches(lengths[order] + self._model.num_tokens, classify, self.device)
        return probabilities[which]

    def _tokenize(
        self, distinct: list[Text], texts: Sequence[Text], start: int
    ) -> tuple[list[list[int]], list[list[int]] | None]:
        """Return the token ids of every distinct text, cut off as in training, and where it says so, their types.

        Blanks around texts are left out, as they are of a data set's.
        """
        columns = [[text.strip() for text in column] for column in zip(*map(as_tuple, distinct), strict=True)]
        with_types = len(columns) > 1 and has_types(self._tokenizer)
        try:
            with TOKENIZING:
                encoded = self._tokenizer(
                    *columns,
                    truncation=True,
                    max_length=self.adapter.config.data.max_length,
                    return_attention_mask=False,
                    return_token_type_ids=with_types,
                )
        except (UnicodeEncodeError, TypeError):
            check_characters(texts, start)
            raise
        return encoded["input_ids"], encoded["token_type_ids"] if with_types else None


def load(
    adapter: str | Path | Adapter,
    device: str | None = None,
    precision: str | None = None,
    backbone: str | None = None,
    label_names: Sequence[str] | None = None,
) -> TextClassifier:
    """Return a classifier from an adapter: a file, a folder, or what `read_adapter` takes or returns.

    `device` is `cpu`, `cuda` or `cuda:1` (None: a GPU where there is one); `precision` is `float32` or `bfloat16`
    (None: as it was trained, but float32 on a CPU without bfloat16); `backbone` is a folder or hub name that holds
    the adapter's backbone (None: the name in the adapter); `label_names` are the classes in the order of the logits,
    for an adapter that does not say them. Raises InputError where one of them cannot be used.
    """
    return TextClassifier(*prepare(adapter, device, precision, backbone, label_names))
