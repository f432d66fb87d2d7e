"""A trained adapter at work: texts, or pairs of texts, in any language in, labels and probabilities out.

Texts are tokenised as in training and classified in windows: within one, every text is computed once, those of similar
length together. What is held in memory is a window, however many texts there are.

N texts, C classes.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from xpe_core.adapters import Adapter, build_classifier, read_adapter
from xpe_core.adapters.adapter import check_classes
from xpe_core.backbones.backbone import Backbone, count_embeddings, load_backbone, load_tokenizer
from xpe_core.backbones.packed_layer import has_bfloat16
from xpe_core.config import RunConfig
from xpe_core.data.tokenising import check_inserted_tokens, check_token_ids, choose_pad_token_id, has_types
from xpe_core.errors import InputError
from xpe_core.tasks import TASKS
from xpe_core.tasks.texts import Text, TextField
from xpe_core.training.batches import run_in_batches
from xpe_core.validation import build_config

WINDOW = 4_096
"""Texts at most that are sorted and computed together."""
FIRST_WINDOW = 256
"""Texts of a stream's first window, so that its first predictions come soon; each next one has twice as many."""

Item = TypeVar("Item")
_TOKENIZING = threading.Lock()
"""A tokenizer keeps the length at which it cuts, and cannot be told it by two threads at once."""


class Prediction(NamedTuple):
    """What one text was classified as."""

    label: str
    probability: float
    """Of this label, in [0, 1]."""


class TextClassifier:
    """An adapter on its backbone; it may be used from several threads."""

    def __init__(self, adapter: Adapter, backbone: Backbone) -> None:
        """Put them together; InputError where the adapter does not belong on this backbone."""
        check_classes(adapter, "a classifier")
        self.adapter = adapter
        self.label_names = adapter.label_names
        """The C classes in the order of the probabilities."""
        self.texts = TASKS[adapter.config.task].texts
        """What is classified: one text, or a pair."""
        self._tokenizer = load_tokenizer(backbone.name)
        self._num_embeddings = count_embeddings(backbone.name)
        check_inserted_tokens(backbone.name, self._tokenizer, self._num_embeddings)
        self._model = build_classifier(backbone, [adapter])
        with torch.inference_mode():
            self._insertion = self._model.insert(self._model.parameters, [0])  # the same for every text

    @property
    def precision(self) -> str:
        """`float32` or `bfloat16`: of the backbone's matrix products."""
        return self._model.configs[0].precision

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._model.device

    def predict(self, texts: Iterable[Text]) -> list[Prediction]:
        """Return the most probable label of every text, in their order; InputError where one is no string or pair."""
        return self.choose(self.probabilities(texts))

    def probabilities(self, texts: Iterable[Text]) -> np.ndarray:
        """Return the probabilities of all classes [N, C], float32; InputError where a text is no string."""
        parts = [np.empty((0, len(self.label_names)), dtype=np.float32)]
        start = 0
        for window in cut_windows(texts, WINDOW):
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
        _check_texts(texts, start, self.texts)
        indices: dict[Text, int] = {}
        which = [indices.setdefault(text, len(indices)) for text in texts]
        rows, row_types = self._tokenize(list(indices), texts, start)
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        order = np.argsort(lengths, kind="stable")
        probabilities = np.empty((len(rows), len(self.label_names)), dtype=np.float32)

        @torch.inference_mode()
        def classify(batch: slice) -> None:
            chosen = order[batch]
            token_ids = self._pad([rows[row] for row in chosen], lengths[chosen])[None]  # [1, B, T]
            types = None
            if row_types is not None:
                types = self._fill([row_types[row] for row in chosen], lengths[chosen], 0)[None]
            model, insertion = self._model, self._insertion
            logits = model.outputs(model.parameters, insertion, token_ids, lengths[chosen], (), types)  # [1, B, C]
            probabilities[chosen] = logits[0].softmax(-1).cpu().numpy()

        run_in_batches(lengths[order] + self._model.num_tokens, classify, self.device)
        return probabilities[which]

    def _tokenize(
        self, distinct: list[Text], texts: Sequence[Text], start: int
    ) -> tuple[list[list[int]], list[list[int]] | None]:
        """Return the token ids of every distinct text, cut off as in training, and where it says so, their types."""
        columns = [list(column) for column in zip(*map(_as_tuple, distinct), strict=True)]
        with_types = len(columns) > 1 and has_types(self._tokenizer)
        try:
            with _TOKENIZING:
                encoded = self._tokenizer(
                    *columns,
                    truncation=True,
                    max_length=self.adapter.config.data.max_length,
                    return_attention_mask=False,
                    return_token_type_ids=with_types,
                )
        except (UnicodeEncodeError, TypeError):
            _check_characters(texts, start)
            raise
        return encoded["input_ids"], encoded["token_type_ids"] if with_types else None

    def _pad(self, rows: Sequence[Sequence[int]], lengths: np.ndarray) -> torch.Tensor:
        """Return token ids [B, T]; InputError where one has no embedding."""
        token_ids = self._fill(rows, lengths, choose_pad_token_id(self._tokenizer))
        check_token_ids(self._model.backbone.name, self._tokenizer, int(token_ids.max()), self._num_embeddings)
        return token_ids

    def _fill(self, rows: Sequence[Sequence[int]], lengths: np.ndarray, padding: int) -> torch.Tensor:
        """Return rows [B, T] with padding at their ends."""
        inside = np.arange(int(lengths.max())) < lengths[:, None]
        padded = np.full(inside.shape, padding, dtype=np.int64)
        padded[inside] = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
        return torch.from_numpy(padded).to(self.device)


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
    chosen = adapter if isinstance(adapter, Adapter) else read_adapter(adapter, label_names)
    where = find_device(device)
    config = build_config(
        RunConfig,
        {**chosen.known, "precision": precision or choose_precision(chosen.config, where)},
        "the classifier",
    )
    return TextClassifier(replace(chosen, config=config), load_backbone(backbone or config.backbone, where))


def window_sizes(first: int = FIRST_WINDOW) -> Iterator[int]:
    """Yield `first`, then twice as many, and so on up to WINDOW, without end."""
    while True:
        yield min(first, WINDOW)
        first *= 2


def cut_windows(texts: Iterable[Item], first: int = FIRST_WINDOW) -> Iterator[list[Item]]:
    """Yield texts, or rows that hold them, in lists of the sizes that `window_sizes` yields."""
    if isinstance(texts, str | bytes):
        raise InputError("texts: must be a list, or another iterable, of strings; this is a single one")
    remaining = iter(texts)
    for size in window_sizes(first):
        if not (window := list(islice(remaining, size))):
            return
        yield window


def find_device(name: str | None) -> torch.device:
    """Return the device of a name, by default a GPU where there is one; InputError where this machine has no such."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device={name!r}: must be cpu, cuda, or one GPU such as cuda:1")
    num_gpus = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= num_gpus:
        raise InputError(f"device={name!r}: this machine has {num_gpus or 'no'} GPU{'s' if num_gpus > 1 else ''}")
    return device


def choose_precision(config: RunConfig, device: torch.device) -> str:
    """Return what an adapter was trained in, where that is known and the device has it in hardware; else float32."""
    if "precision" not in config.fields_set:
        return "float32"
    if config.precision == "bfloat16" and device.type == "cpu" and not has_bfloat16():
        return "float32"
    return config.precision


def _as_tuple(text: Text) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else text


def _check_texts(texts: Sequence[Text], start: int, fields: Sequence[TextField]) -> None:
    names = ", ".join(field.name for field in fields)
    for number, text in enumerate(texts, start=start + 1):
        if len(fields) == 1 and not isinstance(text, str):
            raise InputError(f"text {number} is no string but of the type {type(text).__name__}")
        if len(fields) > 1 and not _is_tuple_of(text, len(fields)):
            raise InputError(f"text {number} is no pair ({names}) of strings but {text!r:.60}")


def _is_tuple_of(text: object, number: int) -> bool:
    return isinstance(text, tuple) and len(text) == number and all(isinstance(part, str) for part in text)


def _check_characters(texts: Sequence[Text], start: int) -> None:
    """Refuse what has no UTF-8, the one thing that a tokenizer cannot take."""
    for number, text in enumerate(texts, start=start + 1):
        try:
            "".join(_as_tuple(text)).encode()
        except UnicodeEncodeError:
            raise InputError(f"text {number} holds half a character (a lone surrogate), which no text may") from None
