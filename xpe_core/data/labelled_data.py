"""What is known of a data set without its texts: labels, languages and splits of all examples.

This alone tells whether an experiment fits a data set, so it is kept in the cache by itself: names are checked before
a single text is tokenised or a backbone is fetched.

N examples.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np

from xpe_core.cache import cache_folder, read_built
from xpe_core.data import Dataset, DataSource, as_source, fingerprint_dataset, load_dataset
from xpe_core.data.examples import SPLITS
from xpe_core.data.held_out import hold_out
from xpe_core.data.splitting import number_groups
from xpe_core.digests import digest
from xpe_core.json_types import JsonObject
from xpe_core.language_facts import Facts, find_facts, published_facts
from xpe_core.languages import resolve_languages
from xpe_core.steps import long_step
from xpe_core.tasks import DEFAULT_TASK

FORMAT = 1
CACHE = 3
"""Counts up where the cache holds something else of the same files."""
AS_EVER, READ_ANEW, IN_GROUPS = READINGS = (1, 2, 3)
"""How data are read: as by the first version, otherwise than by it, and with groups that are held out together."""
HELD_OUT_BY = ("split_ids", "language_ids", "labels", "groups")
"""Arrays of the cache, as `hold_out` takes them."""


class Meta(TypedDict):
    """What `meta.json` holds beside the arrays of a data set; the last three are of tokens."""

    label_names: list[str]
    languages: list[str]
    notes: list[str]
    num_rows_skipped: int
    reading: int
    pad_token_id: NotRequired[int]
    num_cut: NotRequired[int]
    max_token_id: NotRequired[int]


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledData:
    """Labels, languages and splits of all examples of a data set, as small integers."""

    name: str
    label_names: tuple[str, ...]
    languages: tuple[str, ...]
    labels: np.ndarray
    """int64 [N]"""
    language_ids: np.ndarray
    """int64 [N], indices of `languages`."""
    split_ids: np.ndarray
    """int64 [N], indices of `xpe_core.data.examples.SPLITS`."""
    held_out: tuple[str, ...] = ()
    """Languages without a validation split, whose validation examples are a part of their train split."""
    notes: tuple[str, ...] = ()
    """How the data were read, where that was not certain."""
    num_rows_skipped: int = 0
    """Bad rows that were left out."""
    facts: Facts = field(default_factory=published_facts)
    """What is known of languages for the backbone that reads the data, and for the task; groups are rules over it."""

    def select(self, languages: Iterable[str], split: str, max_examples: int | None = None) -> np.ndarray:
        """Return the rows of a split's examples [M], language by language, at most `max_examples` of each.

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

    @cached_property
    def counts(self) -> dict[str, dict[str, int]]:
        """Rows by language and split; a split that a language lacks is absent."""
        groups = (self.language_ids * len(SPLITS) + self.split_ids)[self.split_ids >= 0]  # -1: left out of all splits
        sizes = np.bincount(groups, minlength=len(self.languages) * len(SPLITS)).reshape(-1, len(SPLITS))
        return {
            language: {split: int(size) for split, size in zip(SPLITS, row, strict=True) if size}
            for language, row in zip(self.languages, sizes, strict=True)
        }

    def resolve(self, names: str | Sequence[str], splits: Collection[str] = ()) -> tuple[str, ...]:
        """Return the codes of this data set's languages that a group, family, script or list of names stands for.

        Of groups those that lack one of `splits` are left out.
        """
        lacking = [language for language, counts in self.counts.items() if not set(splits) <= counts.keys()]
        return resolve_languages(names, self.languages, lacking, self.facts)

    def sources(self, source_set: str) -> tuple[str, ...]:
        """Return the languages that a run on a source set trains on."""
        return self.resolve(source_set, ("train", "validation"))

    def labels_of(self, language: str, split: str) -> set[str]:
        """Return the labels that stand in a language's split, empty where there is none."""
        return {self.label_names[label] for label in np.unique(self.labels[self.select([language], split)])}


def load_labels(source: DataSource | str, backbone: str | None = None, task: str = DEFAULT_TASK) -> LabelledData:
    """Return what a data set has but its texts, from the cache where it is there; InputError as `load_dataset`.

    `backbone` is the name of the one that reads it, for groups that are facts of it and of the task.
    """
    source = as_source(source, task)
    fingerprint = fingerprint_dataset(source)
    folder = cache_folder() / "labels" / digest([FORMAT, CACHE, fingerprint])
    data = read_built(
        folder,
        lambda target: write_labels(target, read_once(source, fingerprint), {}),
        lambda target: read_labels(target, source.name)[0],
    )
    return data if backbone is None else replace(data, facts=find_facts(backbone, task))


@lru_cache(maxsize=1)
def read_once(source: DataSource, fingerprint: str) -> Dataset:
    """Read a data set that is needed twice, for its labels and for its tokens; `fingerprint` is of its content."""
    with long_step(f"Reading {source.name}"):
        return load_dataset(source)


def write_labels(folder: Path, dataset: Dataset, facts: JsonObject) -> None:
    """Write what `read_labels` reads, with further facts."""
    languages = sorted({example.language for example in dataset.examples})
    language_id = {name: number for number, name in enumerate(languages)}
    label_id = {name: number for number, name in enumerate(dataset.label_names)}
    arrays = {
        "labels": np.array([label_id.get(example.label, 0) for example in dataset.examples]),
        "language_ids": np.array([language_id[example.language] for example in dataset.examples]),
        "split_ids": np.array([SPLITS.index(example.split) for example in dataset.examples]),
    }
    grouped = {**arrays, "groups": number_groups(dataset.examples)}
    alone, together = (hold_out(*(one[name] for name in HELD_OUT_BY if name in one))[0] for one in (arrays, grouped))
    reading = IN_GROUPS if (alone != together).any() else READ_ANEW if dataset.reads_anew else AS_EVER
    for name, array in grouped.items():
        np.save(folder / f"{name}.npy", array)
    meta = {**facts, "label_names": dataset.label_names, "languages": languages}
    meta |= {"notes": dataset.notes, "num_rows_skipped": dataset.num_rows_skipped, "reading": reading}
    (folder / "meta.json").write_text(json.dumps(meta, ensure_ascii=False), encoding="utf-8")


def read_labels(folder: Path, name: str) -> tuple[LabelledData, Meta]:
    """Return what `write_labels` wrote into a folder, under a data set's name, and all of its facts."""
    meta: Meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    split_ids, language_ids, labels, groups = (np.load(folder / f"{name}.npy") for name in HELD_OUT_BY)
    split_ids, held_out = hold_out(split_ids, language_ids, labels, groups)
    data = LabelledData(
        name=name,
        label_names=tuple(meta["label_names"]),
        languages=tuple(meta["languages"]),
        labels=labels,
        language_ids=language_ids,
        split_ids=split_ids,
        held_out=tuple(meta["languages"][language] for language in held_out),
        notes=tuple(meta["notes"]),
        num_rows_skipped=meta["num_rows_skipped"],
    )
    return data, meta
