"""A trained adapter that answers questions: a question and its passage in, a span of the passage out, in any language.

Passages are read as in training: in windows that share `doc_stride` tokens, of which the best span counts.

N questions, W windows of their passages, B of them in a batch.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from xpe_core.adapters import Adapter
from xpe_core.adapters.adapter import check_spans
from xpe_core.backbones.backbone import Backbone
from xpe_core.data.asked import Asked
from xpe_core.data.examples import Example
from xpe_core.data.tokenising import WindowPart
from xpe_core.data.windows import OUTSIDE, tokenise_windows
from xpe_core.tasks.qa.spans import best_windows
from xpe_core.tasks.texts import Text
from xpe_core.trained import TOKENIZING, TrainedModel, as_tuple, check_characters, check_texts, cut_windows, prepare
from xpe_core.training.batches import run_in_batches


class SpanAnswer(NamedTuple):
    """The span of a passage that answers a question."""

    text: str
    """As it stands in the passage; empty where the passage is."""
    start: int
    """The place of its first character in the passage."""
    score: float
    """The sum of its start and end logits, by which spans compare; no probability."""


class _Windows(NamedTuple):
    """The windows of some passages, as tokens."""

    token_ids: Sequence[np.ndarray]
    types: Sequence[np.ndarray] | None
    lengths: np.ndarray
    """int64 [W]"""
    offsets: np.ndarray
    """int64 [W + 1], the place of each window's first token among those of `part`."""
    part: WindowPart


class QuestionAnswerer(TrainedModel):
    """An adapter that answers questions about passages; it may be used from several threads."""

    def __init__(self, adapter: Adapter, backbone: Backbone) -> None:
        """Put them together; InputError where the adapter does not belong on this backbone, or has no spans."""
        check_spans(adapter, "an answerer")
        super().__init__(adapter, backbone)

    def answer(self, questions: Iterable[Text]) -> list[SpanAnswer]:
        """Return the answers to pairs (question, passage), in their order.

        Raises InputError where one is no pair of strings, or a question leaves no room for its passage.
        """
        answers: list[SpanAnswer] = []
        for window in cut_windows(questions, grow=False):
            answers += self._answer(window, len(answers))
        return answers

    def stream(self, questions: Iterable[Text]) -> Iterator[SpanAnswer]:
        """Yield the answers to any number of pairs, in their order, reading no further than a window ahead."""
        start = 0
        for window in cut_windows(questions):
            yield from self._answer(window, start)
            start += len(window)

    def _answer(self, pairs: Sequence[Text], start: int) -> list[SpanAnswer]:
        """Return the answers to some pairs, before whose first one `start` others stood."""
        check_texts(pairs, start, self.texts)
        indices: dict[Text, int] = {}
        which = [indices.setdefault(pair, len(indices)) for pair in pairs]
        distinct = [as_tuple(pair) for pair in indices]
        # blanks around the texts are left out, as they are of a data set's
        examples = [Example(question.strip(), "", "", "", "", passage.strip()) for question, passage in distinct]
        try:
            windows = self._tokenize(examples)
        except (UnicodeEncodeError, TypeError):
            check_characters(pairs, start)
            raise
        spans = self._find_spans(windows)
        answers: list[SpanAnswer] = []
        _, best = best_windows(windows.part.owners, spans[:, 2])
        for (_, passage), window in zip(distinct, best, strict=True):
            shift = len(passage) - len(passage.lstrip())
            first, last = windows.offsets[window] + spans[window, :2].astype(np.int64)
            if windows.part.starts[first] == OUTSIDE:  # the passage has no tokens
                answers.append(SpanAnswer("", 0, float("-inf")))
                continue
            begin, end = shift + int(windows.part.starts[first]), shift + int(windows.part.ends[last])
            text = passage[begin:end]  # tokens of some tokenizers have the blank before a word in them
            begin += len(text) - len(text.lstrip())
            answers.append(SpanAnswer(text.strip(), begin, float(spans[window, 2])))
        return [answers[place] for place in which]

    def _tokenize(self, examples: Sequence[Example]) -> _Windows:
        config = self.adapter.config
        with TOKENIZING:
            parts = list(tokenise_windows(self._tokenizer, examples, config.data.max_length, config.source.doc_stride))
        lengths = np.concatenate([part.lengths for part in parts])
        offsets = np.cumsum([0, *lengths])
        rows = [slice(*ends) for ends in pairwise(offsets.tolist())]
        token_ids = np.concatenate([part.token_ids for part in parts])
        types = [part.token_types for part in parts if part.token_types is not None]
        joined = np.concatenate(types) if types else None
        places = [part.windows for part in parts if part.windows is not None]
        return _Windows(
            [token_ids[row] for row in rows],
            None if joined is None else [joined[row] for row in rows],
            lengths,
            offsets,
            WindowPart(*map(np.concatenate, zip(*places, strict=True))),
        )

    def _find_spans(self, windows: _Windows) -> np.ndarray:
        """Return the best span of every window [W, 3]: first token, last token, score."""
        order = np.argsort(windows.lengths, kind="stable")
        inside = [windows.part.starts[slice(*ends)] != OUTSIDE for ends in pairwise(windows.offsets.tolist())]
        spans = np.empty((len(order), 3))

        @torch.inference_mode()
        def find(batch: slice) -> None:
            chosen = order[batch]
            lengths = windows.lengths[chosen]
            types = None if windows.types is None else [windows.types[row] for row in chosen]
            logits = self._outputs([windows.token_ids[row] for row in chosen], types, lengths)  # [1, B, T, 2]
            places = self._fill([inside[row] for row in chosen], lengths, 0).bool()[None]
            there = torch.from_numpy(lengths)[None].to(self.device)
            asked = Asked(torch.zeros(*there.shape, 2, dtype=torch.int64, device=self.device), there, places)
            predicted = self._model.readout.predictions(logits, asked, self.adapter.config)
            spans[chosen] = predicted[0].double().cpu().numpy()

        run_in_batches(windows.lengths[order] + self._model.num_tokens, find, self.device)
        return spans


def load_answerer(
    adapter: str | Path | Adapter,
    device: str | None = None,
    precision: str | None = None,
    backbone: str | None = None,
) -> QuestionAnswerer:
    """Return what answers questions from an adapter with `readout: span`; the rest is as `xpe_core.load` takes it."""
    return QuestionAnswerer(*prepare(adapter, device, precision, backbone, what="the answerer"))
