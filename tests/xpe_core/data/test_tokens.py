"""Tokens on disk: the same as the tokenizer's, made once, and padded for the backbone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import LANGUAGES, SIZES, write_dataset
from xpe_core.backbones.backbone import load_tokenizer
from xpe_core.data import load_dataset
from xpe_core.data.tokens import _open, load_tokens


def test_every_example_has_its_tokens_label_language_and_split(dataset: str, backbone: str) -> None:
    data, examples = load_tokens(dataset, backbone, 16), load_dataset(dataset).examples
    tokenizer = load_tokenizer(backbone)
    for place in (0, 17, len(examples) - 1):
        tokens = data.token_ids[data.offsets[place] : data.offsets[place + 1]].tolist()
        assert tokens == tokenizer(examples[place].text)["input_ids"]
        assert data.label_names[data.labels[place]] == examples[place].label
        assert data.languages[data.language_ids[place]] == examples[place].language


def test_long_texts_are_cut_with_their_end_token_kept(dataset: str, backbone: str) -> None:
    data = load_tokens(dataset, backbone, 5)
    assert data.lengths.max() == 5
    ends = data.token_ids[data.offsets[1:] - 1]
    assert set(ends.tolist()) == {load_tokenizer(backbone).eos_token_id}


def test_a_second_load_reads_the_same_folder_and_maps_it(dataset: str, backbone: str, cache_folder: Path) -> None:
    load_tokens(dataset, backbone, 16)
    before = {file: file.stat().st_mtime_ns for file in (cache_folder / "tokens").rglob("*.npy")}
    data = load_tokens(dataset, backbone, 16)
    assert isinstance(data.token_ids, np.memmap)
    assert {file: file.stat().st_mtime_ns for file in (cache_folder / "tokens").rglob("*.npy")} == before


def test_another_maximum_length_is_another_fingerprint(dataset: str, backbone: str) -> None:
    assert load_tokens(dataset, backbone, 16).fingerprint != load_tokens(dataset, backbone, 5).fingerprint


def test_a_cap_takes_the_same_rows_of_each_language_wherever_they_stand(dataset: str, backbone: str) -> None:
    data = load_tokens(dataset, backbone, 16)
    assert len(data.select(LANGUAGES, "validation")) == len(LANGUAGES) * SIZES["dev"]
    chosen = data.select(["kat_Geor", "eng_Latn"], "test", max_examples=6)
    assert [data.languages[place] for place in data.language_ids[chosen]] == ["kat_Geor"] * 6 + ["eng_Latn"] * 6
    starts = [data.select([language], "test")[0] for language in ("kat_Geor", "eng_Latn")]
    rows = [chosen[:6] - starts[0], chosen[6:] - starts[1]]
    assert np.array_equal(*rows)
    assert len(set(data.labels[chosen])) == 3
    assert rows[0].max() >= 9  # of 18: not the first ones
    fewer = data.select(["eng_Latn"], "test", max_examples=4)
    assert set(fewer) < set(chosen[6:])
    assert np.array_equal(data.select(["eng_Latn"], "test", max_examples=99), data.select(["eng_Latn"], "test"))


def test_padding_fills_up_to_the_longest_or_a_given_width(dataset: str, backbone: str) -> None:
    data = load_tokens(dataset, backbone, 16)
    indices = data.select(["eng_Latn"], "train")[:5]
    lengths = data.lengths[indices]
    assert len(set(lengths)) > 1
    assert data.pad(indices).shape == (5, lengths.max())
    padded = data.pad(indices, width=15)
    assert padded.shape == (5, 15) and padded.dtype == torch.int64
    for row, index, length in zip(padded.tolist(), indices, lengths, strict=True):
        own = data.token_ids[data.offsets[index] : data.offsets[index + 1]].tolist()
        assert row == own + [data.pad_token_id] * (15 - length)


def test_the_very_last_example_can_be_padded(dataset: str, backbone: str) -> None:
    data = load_tokens(dataset, backbone, 16)
    last = len(data.lengths) - 1
    row = data.pad(np.array([last]), width=16)[0].tolist()
    assert row[: data.lengths[last]] == data.token_ids[data.offsets[last] :].tolist()
    assert set(row[data.lengths[last] :]) == {data.pad_token_id}


def test_texts_that_are_cut_are_counted(dataset: str, backbone: str) -> None:
    whole, cut = load_tokens(dataset, backbone, 96), load_tokens(dataset, backbone, 5)
    assert whole.num_cut == 0
    assert cut.num_cut == (whole.lengths > 5).sum() > 0


@pytest.mark.parametrize("name", ["token_ids.npy", "offsets.npy", "meta.json"])
def test_tokens_that_are_damaged_on_disk_are_made_again(
    backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("XPE_CACHE_DIR", str(tmp_path / "cache"))
    dataset = write_dataset(tmp_path)
    expected = np.array(load_tokens(dataset, backbone, 16).token_ids)
    file = next((tmp_path / "cache" / "tokens").glob(f"*/{name}"))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    _open.cache_clear()  # as in another process
    data = load_tokens(dataset, backbone, 16)
    assert np.array_equal(data.token_ids, expected)
    assert file.read_bytes() == content
