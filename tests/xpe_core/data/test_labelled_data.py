"""A data set without its texts: the same as the tokenised one's, read once and kept."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import LABELS, LANGUAGES, SIZES, write_dataset
from xpe_core.data import Dataset, DataSource, labelled_data
from xpe_core.data.labelled_data import load_labels
from xpe_core.data.tokens import load_tokens


def test_labels_languages_and_splits_are_those_of_the_tokenised_data(dataset: str, backbone: str) -> None:
    labels, tokens = load_labels(dataset), load_tokens(dataset, backbone, 16)
    assert (labels.name, labels.languages, labels.label_names) == (tokens.name, tokens.languages, tokens.label_names)
    for name in ("labels", "language_ids", "split_ids"):
        assert np.array_equal(getattr(labels, name), getattr(tokens, name))
    assert labels.counts == tokens.counts
    assert labels.counts["kat_Geor"] == {"train": SIZES["train"], "validation": SIZES["dev"], "test": SIZES["test"]}
    assert labels.labels_of("eng_Latn", "test") == set(LABELS)
    assert labels.resolve("all") == LANGUAGES


def test_a_data_set_is_read_once_for_its_labels_and_its_tokens(
    tmp_path: Path, backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XPE_CACHE_DIR", str(tmp_path / "cache"))
    read: list[object] = []

    def count(source: DataSource | str) -> Dataset:
        read.append(source)
        return load_dataset(source)

    load_dataset = labelled_data.load_dataset
    monkeypatch.setattr(labelled_data, "load_dataset", count)
    dataset = write_dataset(tmp_path)
    load_labels(dataset)
    load_tokens(dataset, backbone, 16)
    load_labels(dataset)
    assert len(read) == 1


def test_a_damaged_entry_of_the_cache_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XPE_CACHE_DIR", str(tmp_path / "cache"))
    dataset = write_dataset(tmp_path)
    expected = load_labels(dataset).labels
    file = next((tmp_path / "cache" / "labels").glob("*/labels.npy"))
    file.write_bytes(file.read_bytes()[:150])
    assert np.array_equal(load_labels(dataset).labels, expected)


def test_another_content_has_other_labels(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path)
    before = len(load_labels(dataset).labels)
    file = tmp_path / "eng_Latn" / "test.tsv"
    file.write_text(file.read_text() + "more\tsports\tone more\n")
    assert len(load_labels(dataset).labels) == before + 1
