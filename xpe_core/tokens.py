"""A data set's tokens in flat arrays on disk, made once and memory-mapped by every trial of a machine.

The folder's name is a digest of the data, the backbone (hence its tokenizer), `max_length` and the reader's version, so
a changed file, a changed tokenizer or a second `max_length` is another folder, never a stale one.

N examples, T tokens of the longest of them.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xpe_core.backbones import load_tokenizer
from xpe_core.cache import build_once, cache_folder
from xpe_core.checkpoints import fingerprint_checkpoint
from xpe_core.config import digest
from xpe_core.data import DataSource, as_source, dataset_fingerprints, load_dataset
from xpe_core.errors import InputError
from xpe_core.examples import SPLITS
from xpe_core.held_out import hold_out
from xpe_core.languages import resolve_languages

FORMAT = 1
READER = 2
"""Counts up where the same files are read otherwise, so that no older tokens are taken for theirs."""


@dataclass(frozen=True, eq=False)
class TokenisedData:
    """All examples of a data set as token ids, with their labels, languages and splits as small integers."""

    name: str
    fingerprint: str
    """16 hex digits: the data set's content, the tokenizer and `max_length`."""
    label_names: tuple[str, ...]
    languages: tuple[str, ...]
    pad_token_id: int
    token_ids: np.ndarray
    """int32, the tokens of all examples one after another."""
    offsets: np.ndarray
    """int64 [N + 1]; example i is token_ids[offsets[i] : offsets[i + 1]]."""
    labels: np.ndarray
    """int64 [N]"""
    language_ids: np.ndarray
    """int64 [N], places in `languages`."""
    split_ids: np.ndarray
    """int64 [N], places in `xpe_core.examples.SPLITS`."""
    lengths: np.ndarray
    """int64 [N], tokens of each example."""
    held_out: tuple[str, ...] = ()
    """Languages without a validation split, whose validation examples are a part of their train split."""
    notes: tuple[str, ...] = ()
    """How the data were read, where that was not certain."""
    num_rows_skipped: int = 0
    """Bad rows that were left out."""
    older_fingerprints: tuple[str, ...] = ()
    """What older versions called the same data: an experiment that has one of these is of this data set."""

    def select(self, languages: Iterable[str], split: str, max_examples: int | None = None) -> np.ndarray:
        """Return the places of a split's examples [M], language by language, at most `max_examples` of each.

        Which these are is drawn at random once for all, since files are often sorted (SIB-200's are, by label): the
        same rows of languages with equally many, and a higher cap only adds some.
        """
        in_split = self.split_ids == SPLITS.index(split)
        parts: list[np.ndarray] = []
        for language in languages:
            own = np.flatnonzero(in_split & (self.language_ids == self.languages.index(language)))
            if max_examples is not None and len(own) > max_examples:
                own = own[np.sort(np.random.default_rng(0).permutation(len(own))[:max_examples])]
            parts.append(own)
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def pad(self, indices: np.ndarray, width: int | None = None) -> Tensor:
        """Return token ids [len(indices), T], int64; T is `width`, or the length of the longest."""
        lengths = self.lengths[indices]
        columns = np.arange(width or int(lengths.max()))
        inside = columns < lengths[:, None]
        token_ids = np.full(inside.shape, self.pad_token_id, dtype=np.int64)
        token_ids[inside] = self.token_ids[(self.offsets[indices][:, None] + columns)[inside]]
        return torch.from_numpy(token_ids)

    def in_memory(self) -> "TokenisedData":
        """Return the same data without files behind it, to be sent to another machine."""
        return replace(self, token_ids=np.array(self.token_ids))

    @cached_property
    def counts(self) -> dict[str, dict[str, int]]:
        """Rows by language and split; a split that a language lacks is absent."""
        places = self.language_ids * len(SPLITS) + self.split_ids
        sizes = np.bincount(places, minlength=len(self.languages) * len(SPLITS)).reshape(-1, len(SPLITS))
        return {
            language: {split: int(size) for split, size in zip(SPLITS, row, strict=True) if size}
            for language, row in zip(self.languages, sizes, strict=True)
        }

    def resolve(self, names: str | Sequence[str], splits: Collection[str] = ()) -> tuple[str, ...]:
        """Return the codes of this data set's languages that a group, family, script or list of names stands for.

        Of groups those that lack one of `splits` are left out.
        """
        lacking = [language for language, counts in self.counts.items() if not set(splits) <= counts.keys()]
        return resolve_languages(names, self.languages, lacking)

    def sources(self, source_set: str) -> tuple[str, ...]:
        """Return the languages that a run on a source set trains on."""
        return self.resolve(source_set, ("train", "validation"))

    def labels_of(self, language: str, split: str) -> set[str]:
        """Return the labels that stand in a language's split, empty where there is none."""
        return {self.label_names[label] for label in np.unique(self.labels[self.select([language], split)])}


def load_tokens(source: DataSource | str, backbone: str, max_length: int) -> TokenisedData:
    """Return a data set tokenised for a backbone, from the cache where it is there; InputError as `load_dataset`."""
    current, *older = [fingerprint_tokens(one, backbone, max_length) for one in dataset_fingerprints(source)]
    folder = cache_folder() / "tokens" / digest([READER, current])
    build_once(folder, lambda target: _build(target, source, backbone, max_length))
    return _open(folder, as_source(source).name, current, tuple(older))


def fingerprint_tokens(data: str, backbone: str, max_length: int) -> str:
    """Return what identifies tokenised data, by the data set's fingerprint."""
    return digest([FORMAT, data, fingerprint_checkpoint(backbone), max_length])


def check_splits(data: TokenisedData, train: Collection[str], validation: Iterable[str], test: Iterable[str]) -> None:
    """Raise InputError where a language lacks a split it is needed for, or is scored on labels training never saw."""
    seen: set[str] = set().union(*(data.labels_of(language, "train") for language in train))
    for split, languages in (("train", train), ("validation", validation), ("test", test)):
        for language in languages:
            labels = data.labels_of(language, split)
            if not labels:
                raise InputError(f"dataset {data.name}: language {language!r} has no {split} split")
            if labels - seen:
                raise InputError(
                    f"dataset {data.name}: label {min(labels - seen)!r} of {language} ({split}) stands in no train "
                    f"split of the source languages {', '.join(train)}; they have {', '.join(sorted(seen))}"
                )


def _build(folder: Path, dataset: DataSource | str, backbone: str, max_length: int) -> None:
    source = load_dataset(dataset)
    tokenizer = load_tokenizer(backbone)
    languages = sorted({example.language for example in source.examples})
    texts = [example.text for example in source.examples]
    rows: list[np.ndarray] = []
    for start in range(0, len(texts), 4096):
        encoded = tokenizer(texts[start : start + 4096], truncation=True, max_length=max_length)
        rows += [np.asarray(row, dtype=np.int32) for row in encoded["input_ids"]]
    place = {name: number for number, name in enumerate(languages)}
    label_id = {name: number for number, name in enumerate(source.label_names)}
    arrays = {
        "token_ids": np.concatenate(rows),
        "offsets": np.cumsum([0, *map(len, rows)]),
        "labels": np.array([label_id[example.label] for example in source.examples]),
        "language_ids": np.array([place[example.language] for example in source.examples]),
        "split_ids": np.array([SPLITS.index(example.split) for example in source.examples]),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    meta = {
        **{"label_names": source.label_names, "languages": languages, "pad_token_id": tokenizer.pad_token_id},
        **{"notes": source.notes, "num_rows_skipped": source.num_rows_skipped, "reads_anew": source.reads_anew},
    }
    (folder / "meta.json").write_text(json.dumps(meta, ensure_ascii=False), encoding="utf-8")
    ids = [example.example_id for example in source.examples]
    (folder / "example_ids.json").write_text(json.dumps(ids), encoding="utf-8")


@lru_cache(maxsize=8)
def _open(folder: Path, name: str, fingerprint: str, older: tuple[str, ...]) -> TokenisedData:
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    anew = meta["reads_anew"]
    offsets, labels = np.load(folder / "offsets.npy"), np.load(folder / "labels.npy")
    language_ids = np.load(folder / "language_ids.npy")
    split_ids, held_out = hold_out(np.load(folder / "split_ids.npy"), language_ids, labels)
    return TokenisedData(
        name=name,
        fingerprint=digest([READER, fingerprint]) if anew else fingerprint,
        label_names=tuple(meta["label_names"]),
        languages=tuple(meta["languages"]),
        pad_token_id=meta["pad_token_id"],
        token_ids=np.load(folder / "token_ids.npy", mmap_mode="r"),
        offsets=offsets,
        labels=labels,
        language_ids=language_ids,
        split_ids=split_ids,
        lengths=np.diff(offsets),
        held_out=tuple(meta["languages"][language] for language in held_out),
        notes=tuple(meta["notes"]),
        num_rows_skipped=meta["num_rows_skipped"],
        older_fingerprints=() if anew else older,
    )
