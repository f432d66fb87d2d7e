"""A data set's tokens in flat arrays on disk, made once and memory-mapped by every trial of a machine.

The folder's name is a digest of the data, the backbone (hence its tokenizer) and `max_length`, so a changed file, a
changed tokenizer or a second `max_length` is another folder, never a stale one.

N examples, T tokens of the longest of them.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from xpe_core.backbones.backbone import count_embeddings, load_tokenizer
from xpe_core.backbones.files import fingerprint_files
from xpe_core.cache import cache_folder, read_built
from xpe_core.data import DataSource, as_source, dataset_fingerprints
from xpe_core.data.asked import Asked
from xpe_core.data.examples import Example
from xpe_core.data.labelled_data import AS_EVER, CACHE, LabelledData, read_labels, read_once, write_labels
from xpe_core.data.tokenising import (
    Tokens,
    check_inserted_tokens,
    check_token_ids,
    choose_pad_token_id,
    tokenise,
)
from xpe_core.data.windows import OUTSIDE, Windows, read_windows, tokenise_windows, write_windows
from xpe_core.digests import digest
from xpe_core.language_facts import Facts, find_facts
from xpe_core.steps import long_step
from xpe_core.tasks import DEFAULT_TASK

FORMAT = 1
TYPES = "token_types.npy"


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenisedData(LabelledData):
    """All examples of a data set as token ids, with their labels, languages and splits as small integers."""

    fingerprint: str
    """16 hex digits: the data set's content, the tokenizer and `max_length`."""
    pad_token_id: int
    token_ids: np.ndarray
    """int32, the tokens of all examples one after another."""
    offsets: np.ndarray
    """int64 [N + 1]; example i is token_ids[offsets[i] : offsets[i + 1]]."""
    lengths: np.ndarray
    """int64 [N], tokens of each example."""
    num_cut: int | None = None
    """Examples that were longer than `max_length`; None where the cache does not say."""
    max_token_id: int | None = None
    """The largest that occurs, which was seen to have an embedding; None where the cache does not say."""
    older_fingerprints: tuple[str, ...] = ()
    """What older versions called the same data: an experiment that has one of these is of this data set."""
    token_types: np.ndarray | None = None
    """uint8, which text of a pair each token is of; None where the tokenizer does not say it."""
    windows: Windows | None = None
    """Where examples are read in windows: what the rows are then, of which an example may have several."""

    def select(self, languages: Iterable[str], split: str, max_examples: int | None = None) -> np.ndarray:
        """Return the rows of a split's examples [M], language by language, at most `max_examples` of each."""
        languages = list(languages)
        rows = super().select(languages, split, None if self.windows is not None else max_examples)
        if self.windows is None or max_examples is None:
            return rows
        parts = [np.empty(0, dtype=np.int64)]
        for language in languages:
            own = rows[self.language_ids[rows] == self.languages.index(language)]
            examples = np.unique(self.windows.owners[own])
            drawn = examples[np.random.default_rng(0).permutation(len(examples))[:max_examples]]
            parts.append(own[np.isin(self.windows.owners[own], drawn)])
        return np.concatenate(parts)

    def pad(self, indices: np.ndarray, width: int | None = None) -> Tensor:
        """Return token ids [len(indices), T], int64; T is `width`, or the length of the longest."""
        return self._fill(self.token_ids, self.pad_token_id, indices, width)

    def pad_types(self, indices: np.ndarray, width: int | None = None) -> Tensor | None:
        """Return which text of a pair the tokens that `pad` returns are of, likewise; None where it is not said."""
        return None if self.token_types is None else self._fill(self.token_types, 0, indices, width)

    def asked(self, rows: np.ndarray, width: int | None = None) -> Asked:
        """Return what is asked of the texts in rows [R, B], which `pad` makes of this width."""
        lengths = torch.from_numpy(self.lengths[rows])
        if self.windows is None:
            return Asked(torch.from_numpy(self.labels[rows]), lengths)
        starts = self._fill(self.windows.starts, OUTSIDE, rows.ravel(), width)
        return Asked(
            torch.from_numpy(self.windows.targets[rows]), lengths, (starts != OUTSIDE).unflatten(0, rows.shape)
        )

    def _fill(self, values: np.ndarray, padding: int, indices: np.ndarray, width: int | None) -> Tensor:
        lengths = self.lengths[indices]
        columns = np.arange(width or int(lengths.max()))
        inside = columns < lengths[:, None]
        rows = np.full(inside.shape, padding, dtype=np.int64)
        rows[inside] = values[(self.offsets[indices][:, None] + columns)[inside]]
        return torch.from_numpy(rows)

    def in_memory(self) -> "TokenisedData":
        """Return the same data without files behind it, to be sent to another machine."""
        types = None if self.token_types is None else np.array(self.token_types)
        windows = self.windows and self.windows.in_memory()
        return replace(self, token_ids=np.array(self.token_ids), token_types=types, windows=windows)


def load_tokens(source: DataSource | str, backbone: str, max_length: int, task: str = DEFAULT_TASK) -> TokenisedData:
    """Return a data set tokenised for a backbone, from the cache where it is there.

    `task` is the name of what is asked of it: it says which texts an example of `source` has, where that is a name
    alone, and groups of languages are facts of it.

    Raises InputError as `load_dataset` and `load_tokenizer` do, and where a token has no embedding in the backbone.
    """
    source = as_source(source, task)
    (of_data, current), *older = [
        (one, fingerprint_tokens(one, backbone, max_length)) for one in dataset_fingerprints(source)
    ]

    def build(folder: Path) -> None:
        _build(folder, source, of_data, backbone, max_length)

    def read(folder: Path) -> TokenisedData:
        older_prints = tuple(fingerprint for _, fingerprint in older)
        return _open(folder, source.name, current, older_prints, find_facts(backbone, task))

    data = read_built(cache_folder() / "tokens" / digest([CACHE, current]), build, read)
    if data.max_token_id is None:  # tokenised by an older version
        check_token_ids(backbone, load_tokenizer(backbone), int(data.token_ids.max()), count_embeddings(backbone))
    return data


def fingerprint_tokens(data: str, backbone: str, max_length: int) -> str:
    """Return what identifies tokenised data, by the data set's fingerprint."""
    return digest([FORMAT, data, fingerprint_files(backbone), max_length])


def _build(folder: Path, source: DataSource, of_data: str, backbone: str, max_length: int) -> None:
    dataset = read_once(source, of_data)
    tokenizer, num_embeddings = load_tokenizer(backbone), count_embeddings(backbone)
    check_inserted_tokens(backbone, tokenizer, num_embeddings)
    parts: list[Tokens] = []
    largest = 0
    with long_step("Tokenising", len(dataset.examples), "texts") as step:
        for part in _tokenise(tokenizer, dataset.examples, source, max_length):
            largest = max(largest, int(part.token_ids.max(initial=0)))
            check_token_ids(backbone, tokenizer, largest, num_embeddings)
            parts.append(part)
            step.done += len(part.lengths)
    np.save(folder / "token_ids.npy", np.concatenate([part.token_ids for part in parts]))
    if types := [part.token_types for part in parts if part.token_types is not None]:
        np.save(folder / TYPES, np.concatenate(types))
    np.save(folder / "offsets.npy", np.cumsum([0, *chain.from_iterable(part.lengths for part in parts)]))
    num_cut = sum(part.num_cut for part in parts)
    facts = {"pad_token_id": choose_pad_token_id(tokenizer), "num_cut": num_cut, "max_token_id": largest}
    write_labels(folder, dataset, facts)
    if windows := [part.windows for part in parts if part.windows is not None]:
        write_windows(folder, windows, dataset.examples)
    ids = [example.example_id for example in dataset.examples]
    (folder / "example_ids.json").write_text(json.dumps(ids), encoding="utf-8")
    read_once.cache_clear()  # the texts are needed no more


def _tokenise(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], source: DataSource, max_length: int
) -> Iterator[Tokens]:
    """Yield the tokens of examples: of their text, of their pair, or of the windows of their passages."""
    if source.asks == "span":
        return tokenise_windows(tokenizer, examples, max_length, source.doc_stride)
    pairs = [example.text_pair or "" for example in examples] if len(source.texts) > 1 else None
    return tokenise(tokenizer, [example.text for example in examples], max_length, pairs)


@lru_cache(maxsize=8)
def _open(folder: Path, name: str, fingerprint: str, older: tuple[str, ...], facts: Facts) -> TokenisedData:
    labels, meta = read_labels(folder, name)
    reading, offsets, windows = meta["reading"], np.load(folder / "offsets.npy"), read_windows(folder)
    of_rows = {name: getattr(labels, name) for name in ("labels", "language_ids", "split_ids")}
    if windows is not None:
        of_rows = {name: values[windows.owners] for name, values in of_rows.items()}
    return TokenisedData(
        **{**vars(labels), **of_rows, "facts": facts},
        fingerprint=fingerprint if reading == AS_EVER else digest([reading, fingerprint]),
        pad_token_id=meta["pad_token_id"],
        token_ids=np.load(folder / "token_ids.npy", mmap_mode="r"),
        offsets=offsets,
        lengths=np.diff(offsets),
        num_cut=meta.get("num_cut"),
        max_token_id=meta.get("max_token_id"),
        older_fingerprints=older if reading == AS_EVER else (),
        token_types=np.load(folder / TYPES, mmap_mode="r") if (folder / TYPES).is_file() else None,
        windows=windows,
    )
