"""A trained adapter on its backbone, and the texts that it is asked about: what classifiers and answerers share.

B texts, T tokens.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from xpe_core.adapters import Adapter, build_classifier, read_adapter
from xpe_core.backbones.backbone import Backbone, count_embeddings, load_backbone, load_tokenizer
from xpe_core.backbones.packed_layer import has_bfloat16
from xpe_core.config import RunConfig
from xpe_core.data.tokenising import check_inserted_tokens, check_token_ids, choose_pad_token_id
from xpe_core.errors import InputError
from xpe_core.pack import count_positions
from xpe_core.tasks import TASKS
from xpe_core.tasks.texts import Text, TextField
from xpe_core.validation import build_config

WINDOW = 4_096
"""Texts at most that are sorted and computed together."""
FIRST_WINDOW = 256
"""Texts of a stream's first window, so that its first answers come soon; each next one has twice as many."""

Item = TypeVar("Item")
TOKENIZING = threading.Lock()
"""A tokenizer keeps the length at which it cuts, and cannot be told it by two threads at once."""


class TrainedModel:
    """An adapter on its backbone, with the backbone's tokenizer."""

    def __init__(self, adapter: Adapter, backbone: Backbone) -> None:
        """Put them together; InputError where the adapter does not belong on this backbone."""
        self.adapter = adapter
        self.texts = TASKS[adapter.config.task].texts
        """What it is asked about: one text, or a pair."""
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

    def _outputs(
        self, rows: Sequence[Sequence[int]], types: Sequence[Sequence[int]] | None, lengths: np.ndarray
    ) -> torch.Tensor:
        """Return the outputs [1, B, ...] for token ids of these lengths; InputError where one has no embedding."""
        token_ids = self._fill(rows, lengths, choose_pad_token_id(self._tokenizer))
        check_token_ids(self._model.backbone.name, self._tokenizer, int(token_ids.max()), self._num_embeddings)
        filled = None if types is None else self._fill(types, lengths, 0)[None]
        model = self._model
        return model.outputs(model.parameters, self._insertion, token_ids[None], lengths, (), filled)

    def _fill(self, rows: Sequence[Sequence[int]], lengths: np.ndarray, padding: int) -> torch.Tensor:
        """Return rows [B, T] with padding at their ends."""
        inside = np.arange(int(lengths.max())) < lengths[:, None]
        padded = np.full(inside.shape, padding, dtype=np.int64)
        padded[inside] = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
        return torch.from_numpy(padded).to(self.device)


def prepare(
    adapter: str | Path | Adapter,
    device: str | None,
    precision: str | None,
    backbone: str | None,
    label_names: Sequence[str] | None = None,
    what: str = "the classifier",
) -> tuple[Adapter, Backbone]:
    """Return an adapter and its backbone as `xpe_core.load` takes them, in the precision to compute in.

    `what` is what they are for, as an error names it. Where another tool has trained it, texts may be as long as the
    backbone takes them.
    """
    chosen = adapter if isinstance(adapter, Adapter) else read_adapter(adapter, label_names)
    where = find_device(device)
    known = {**chosen.known, "precision": precision or choose_precision(chosen.config, where)}
    loaded = load_backbone(backbone or chosen.config.backbone, where)
    if "max_length" not in known:
        known["max_length"] = loaded.max_positions - count_positions(chosen.config)
    return replace(chosen, config=build_config(RunConfig, known, what)), loaded


def window_sizes(first: int = FIRST_WINDOW) -> Iterator[int]:
    """Yield `first`, then twice as many, and so on up to WINDOW, without end."""
    while True:
        yield min(first, WINDOW)
        first *= 2


def cut_windows(texts: Iterable[Item], grow: bool = True) -> Iterator[list[Item]]:
    """Yield texts, or rows that hold them, in windows: of WINDOW, or as `window_sizes` has them where they grow."""
    if isinstance(texts, str | bytes):
        raise InputError("texts: must be a list, or another iterable, of strings; this is a single one")
    remaining = iter(texts)
    for size in window_sizes(FIRST_WINDOW if grow else WINDOW):
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


def as_tuple(text: Text) -> tuple[str, ...]:
    """Return a text, or both of a pair, as a tuple."""
    return (text,) if isinstance(text, str) else text


def check_texts(texts: Sequence[Text], start: int, fields: Sequence[TextField]) -> None:
    """Refuse what is no string or pair of strings; `start` texts stood before the first one."""
    names = ", ".join(field.name for field in fields)
    for number, text in enumerate(texts, start=start + 1):
        if len(fields) == 1 and not isinstance(text, str):
            raise InputError(f"text {number} is no string but of the type {type(text).__name__}")
        if len(fields) > 1 and not _is_tuple_of(text, len(fields)):
            raise InputError(f"text {number} is no pair ({names}) of strings but {text!r:.60}")


def _is_tuple_of(text: object, number: int) -> bool:
    return isinstance(text, tuple) and len(text) == number and all(isinstance(part, str) for part in text)


def check_characters(texts: Sequence[Text], start: int) -> None:
    """Refuse what has no UTF-8, the one thing that a tokenizer cannot take."""
    for number, text in enumerate(texts, start=start + 1):
        try:
            "".join(as_tuple(text)).encode()
        except UnicodeEncodeError:
            raise InputError(f"text {number} holds half a character (a lone surrogate), which no text may") from None
