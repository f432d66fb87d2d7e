"""Passages in windows: what a question is answered from where a passage is longer than `max_length` tokens.

A window has the question and a part of the passage; neighbours share `doc_stride` tokens. Windows are those of
transformers' `run_qa.py`: truncation of the passage alone, and as the answer to learn the first right one, or the first
token where the window does not hold it whole.

E examples, N windows.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from xpe_core.data.examples import Answer, Example
from xpe_core.data.tokenising import Tokens, WindowPart, has_types
from xpe_core.errors import InputError

BATCH_SIZE = 256
"""Examples at a time; each has some windows."""
OUTSIDE = -1
"""The place of a token that is no part of the passage."""
PASSAGES = "passages.json"


@dataclass(frozen=True, eq=False)
class Windows:
    """Which examples the rows of tokenised data are of, and where their tokens stand in the passages."""

    owners: np.ndarray
    """int64 [N]"""
    starts: np.ndarray
    """int32, a token each."""
    ends: np.ndarray
    targets: np.ndarray
    """int64 [N, 2]"""
    texts: str
    """The passages, and the answers of every example: JSON."""

    @property
    def num_examples(self) -> int:
        """E."""
        return int(self.owners[-1]) + 1 if len(self.owners) else 0

    @cached_property
    def _read(self) -> tuple[list[str], list[int], list[list[str]]]:
        values = json.loads(self.texts)
        return values["passages"], values["passage_ids"], values["answers"]

    def in_memory(self) -> "Windows":
        """Return the same without files behind it."""
        arrays = {name: np.array(getattr(self, name)) for name in WindowPart._fields}
        return Windows(**arrays, texts=self.texts)

    def cut(self, row: int, start: int, end: int) -> str:
        """Return the text of a window's passage between two characters."""
        passages, passage_ids, _ = self._read
        return passages[passage_ids[self.owners[row]]][start:end]

    def answers(self, example: int) -> Sequence[str]:
        """Return the answers to an example that are right."""
        return self._read[2][example]


def tokenise_windows(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], max_length: int, doc_stride: int
) -> Iterator[Tokens]:
    """Yield the windows of examples, in batches; InputError where a question leaves no room for its passage."""
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise InputError("spans need a tokenizer with a tokenizer.json, which says where its tokens stand in a text")
    for first in range(0, len(examples), BATCH_SIZE):
        yield _encode(tokenizer, examples[first : first + BATCH_SIZE], first, max_length, doc_stride)


def _encode(
    tokenizer: PreTrainedTokenizerFast, examples: Sequence[Example], first: int, max_length: int, doc_stride: int
) -> Tokens:
    questions, passages = [example.text for example in examples], [example.text_pair or "" for example in examples]
    lengths = [len(row) for row in tokenizer(questions, add_special_tokens=False)["input_ids"]]
    for question, passage, length in zip(questions, passages, lengths, strict=True):
        room = max_length - length - tokenizer.num_special_tokens_to_add(pair=True)
        if room > doc_stride or len(tokenizer(passage, add_special_tokens=False)["input_ids"]) <= room:
            continue  # a passage of one window needs no stride
        raise InputError(
            f"max_length={max_length}: a question of {length} tokens leaves {max(room, 0)} for its passage, which is "
            f"longer; with doc_stride={doc_stride} more than that are needed (it is {question!r:.60})"
        )
    encoded = tokenizer(
        questions,
        passages,
        truncation="only_second",
        max_length=max_length,
        stride=doc_stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    owners = np.array(encoded["overflow_to_sample_mapping"], dtype=np.int64)
    parts, targets = [], []
    for window, (owner, offsets) in enumerate(zip(owners, encoded["offset_mapping"], strict=True)):
        places = np.array(offsets, dtype=np.int32)
        places[np.array([text != 1 for text in encoded.sequence_ids(window)])] = OUTSIDE
        parts.append(places)
        answers = examples[owner].answers
        targets.append(find_target(places, answers[0]) if answers else (0, 0))
    rows, (starts, ends) = encoded["input_ids"], np.concatenate(parts).T
    types = np.concatenate(encoded["token_type_ids"]).astype(np.uint8) if has_types(tokenizer) else None
    sizes = np.array([len(row) for row in rows], dtype=np.int64)
    part = WindowPart(owners + first, starts, ends, np.array(targets, dtype=np.int64))
    return Tokens(np.concatenate(rows).astype(np.int32), sizes, 0, types, part)


def find_target(places: np.ndarray, answer: Answer) -> tuple[int, int]:
    """Return the first and the last token of an answer, (0, 0) where a window does not hold it whole.

    `places` [T, 2] are where each token begins and ends in the passage.
    """
    (inside,) = np.nonzero(places[:, 0] != OUTSIDE)
    starts, ends = places[inside].T
    end = answer.start + len(answer.text)
    if not len(inside) or starts[0] > answer.start or ends[-1] < end:
        return 0, 0
    first = int(np.searchsorted(starts, answer.start, side="right")) - 1
    last = int(np.searchsorted(ends, end, side="left"))
    return int(inside[first]), int(inside[last])


def write_windows(folder: Path, parts: Sequence[WindowPart], examples: Sequence[Example]) -> None:
    """Write what `read_windows` reads."""
    for name in WindowPart._fields:
        np.save(folder / f"{name}.npy", np.concatenate([getattr(part, name) for part in parts]))
    ids: dict[str, int] = {}
    passage_ids = [ids.setdefault(example.text_pair or "", len(ids)) for example in examples]
    answers = [[answer.text for answer in example.answers] for example in examples]
    values = {"passages": list(ids), "passage_ids": passage_ids, "answers": answers}
    (folder / PASSAGES).write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")


def read_windows(folder: Path) -> Windows | None:
    """Return the windows in a folder; None where there are none, since every row is an example."""
    if not (folder / PASSAGES).is_file():
        return None
    owners, starts, ends, targets = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in WindowPart._fields)
    return Windows(owners, starts, ends, targets, (folder / PASSAGES).read_text(encoding="utf-8"))
