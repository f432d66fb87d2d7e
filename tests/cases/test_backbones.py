"""Backbones as people have them: vocabularies alone, folders of other tools, more tokens than embeddings."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from sentencepiece import SentencePieceProcessor
from transformers import (
    AutoTokenizer,
    BertForSequenceClassification,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from sweep.experiment.config import make_sweep
from sweep.planning.plan import prepare
from tests.conftest import Refuse, make_backbone, make_search, write_dataset
from tests.making.encoders import SIZES, build_bert, build_xlmr, save_encoder
from tests.making.sentencepiece import LAYOUTS, write_layout
from xpe_core.backbones.backbone import load_backbone, load_tokenizer
from xpe_core.data.tokens import load_tokens
from xpe_core.errors import InputError

TEXTS = (
    "the bank fell",
    "银行，市场",  # the model's normaliser makes a full-width comma a usual one
    "ａｂｃ",
    "  two  blanks",
    "unknown: \N{NAZAR AMULET}",
    "tab\tand\nline",
)


def rewrite(file: Path, **changes: Any) -> None:
    """Change keys of a JSON file."""
    values = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(values | changes))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_sentencepiece_model_alone_is_read_as_sentencepiece_reads_it(tmp_path: Path, name: str) -> None:
    layout = LAYOUTS[name]
    folder = write_layout(tmp_path / "backbone", layout)
    tokenizer = load_tokenizer(str(folder))
    processor = SentencePieceProcessor(model_file=str(folder / layout.file))
    unknown = layout.unknown or processor.unk_id()
    before, after = (tokenizer.convert_tokens_to_ids(tokens) for tokens in layout.inserted)
    for text in TEXTS:
        pieces = [unknown if processor.is_unknown(one) else layout.to_token_id(one) for one in processor.encode(text)]
        assert tokenizer(text)["input_ids"] == [*before, *pieces, *after], text


def test_the_special_tokens_of_an_xlmr_model_have_the_ids_that_it_was_trained_with(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(write_layout(tmp_path / "backbone", LAYOUTS["XLM-R"])))
    tokens = [tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id]
    assert tokens == [0, 1, 2, 3]
    assert tokenizer.mask_token_id == len(tokenizer) - 1


def test_data_are_tokenised_for_a_backbone_with_a_sentencepiece_model_alone(tmp_path: Path, dataset: str) -> None:
    folder = write_layout(tmp_path / "backbone", LAYOUTS["AfriBERTa"])
    XLMRobertaModel(XLMRobertaConfig(**SIZES | {"vocab_size": 200}, max_position_embeddings=40)).save_pretrained(folder)
    data = load_tokens(dataset, str(folder), 16)
    assert data.pad_token_id == 1
    assert load_backbone(str(folder)).embed(data.pad(data.select(["eng_Latn"], "test"))).isfinite().all()


def leave_vocabulary(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()


def test_a_bert_with_vocab_txt_alone_is_read(bert: str) -> None:
    leave_vocabulary(Path(bert))
    Path(bert, "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abc"]) + "\n")
    assert load_tokenizer(bert)("a c")["input_ids"] == [2, 5, 7, 3]


def test_a_roberta_with_vocab_json_and_merges_txt_is_read(tmp_path: Path) -> None:
    model = RobertaModel(RobertaConfig(**SIZES, max_position_embeddings=34))
    folder = Path(save_encoder(tmp_path / "roberta", model))
    leave_vocabulary(folder)
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", "a", "b", "ab", "Ġ", "Ġa", "<mask>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\na b\nĠ a\n")
    assert load_tokenizer(str(folder))("ab a")["input_ids"] == [0, 6, 8, 2]


def give_other_name(folder: Path) -> None:
    leave_vocabulary(folder)
    write_layout(folder / "other", LAYOUTS["XLM-R"])
    shutil.copy(folder / "other" / "sentencepiece.bpe.model", folder / "spm.model")


def give_broken_model(folder: Path) -> None:
    leave_vocabulary(folder)
    (folder / "sentencepiece.bpe.model").write_bytes(b"no model")


def give_pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n")


def give_no_vocabulary(folder: Path) -> None:
    leave_vocabulary(folder)
    (folder / "vocab.json").write_text("{}")


def put_into(folder: Path, inside: str) -> None:
    (folder / inside).mkdir(parents=True)
    for file in [file for file in folder.iterdir() if file.is_file()]:
        file.rename(folder / inside / file.name)


def make_adapter(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "adapter_config.json").write_text("{}")


def shrink(folder: Path) -> None:
    rewrite(folder / "config.json", vocab_size=12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (give_other_name, "XLMRobertaTokenizer reads sentencepiece.bpe.model, and there is spm.model instead"),
        (give_broken_model, "sentencepiece.bpe.model is no SentencePiece model"),
        (give_pointer, "has model.safetensors as a pointer of Git LFS only"),
        (give_no_vocabulary, "XLMRobertaTokenizer finds no vocabulary in .* or else sentencepiece.bpe.model"),
        (lambda folder: put_into(folder, "0_Transformer"), "no config.json, but .*/0_Transformer in it is a backbone"),
        (lambda folder: put_into(folder, "checkpoint-500"), "no config.json, but .*/checkpoint-500 in it"),
        (lambda folder: put_into(folder, f"snapshots/{'a' * 40}"), "no config.json, but .*/snapshots/a{40} in it"),
        (make_adapter, "holds an adapter .adapter_config.json., no backbone"),
        (shrink, "have embeddings of 20 tokens, and vocab_size in its config.json is 12"),
    ],
)
def test_what_is_wrong_with_a_folder_is_one_sentence(
    tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    folder = Path(save_encoder(tmp_path / "backbone", build_xlmr()))
    change(folder)
    with pytest.raises(InputError, match=message) as refusal:
        load_tokenizer(str(folder))
        load_backbone(str(folder))
    assert "\n" not in str(refusal.value) and "tiktoken" not in str(refusal.value)


def shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    build_bert().save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1


def give_head(folder: Path) -> None:
    BertForSequenceClassification(build_bert().config).save_pretrained(folder)


def give_prefix(folder: Path) -> None:
    weights = {f"bert.{name}": value for name, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors")  # without metadata, as other tools write it


def give_pooling(folder: Path) -> None:
    (folder / "modules.json").write_text("[]")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{}")


def give_training_state(folder: Path) -> None:
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        torch.save({}, folder / name)


def forget_length(folder: Path) -> None:
    rewrite(folder / "tokenizer_config.json", model_max_length=1e30)


@pytest.mark.parametrize("change", [shard, give_head, give_prefix, give_pooling, give_training_state, forget_length])
def test_folders_of_other_tools_are_backbones(bert: str, change: Callable[[Path], None]) -> None:
    change(Path(bert))
    assert load_tokenizer(bert)("a b")["input_ids"] == [4, 5]
    assert load_backbone(bert).hidden_size == 32


def add_token(folder: Path, token: str, **settings: Any) -> str:
    """Give a tokenizer a token more than its backbone has embeddings."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([token]) if not settings else tokenizer.add_special_tokens(settings)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def with_word(tmp_path: Path) -> str:
    """Return a backbone whose tokenizer has a word of the data that it has no embedding for."""
    return add_token(Path(make_backbone(tmp_path / "word")), "newword")


@pytest.fixture
def data_with_word(tmp_path: Path) -> str:
    folder = write_dataset(tmp_path)
    file = tmp_path / "eng_Latn" / "train.tsv"
    file.write_text(file.read_text() + "last\tsports\tnewword\n")
    return folder


def test_a_token_without_an_embedding_that_occurs_is_refused_before_the_start(
    with_word: str, data_with_word: str, tmp_path: Path, refuse: Refuse
) -> None:
    file = tmp_path / "search.yaml"
    file.write_text(yaml.safe_dump(make_search(data_with_word, with_word)))
    for options in ([], ["--dry-run"]):
        message = refuse("search", str(file), "--storage", str(tmp_path / "results"), *options)
        assert "its tokenizer gives the token 'newword' (id 76), and the backbone has embeddings for the ids" in message


def test_tokens_without_an_embedding_that_do_not_occur_do_no_harm(with_word: str, tmp_path: Path, dataset: str) -> None:
    with_mask = add_token(Path(make_backbone(tmp_path / "mask")), "", mask_token="<mask>")
    for backbone in (with_word, with_mask):
        plan = prepare("mine", make_sweep(**make_search(dataset, backbone)))
        assert plan.panel.data.token_ids.max() < 76


def test_an_inserted_token_without_an_embedding_is_refused(tmp_path: Path, dataset: str) -> None:
    folder = Path(make_backbone(tmp_path / "backbone"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["post_processor"]["special_tokens"]["<s>"]["ids"] = [999]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(InputError, match="its tokenizer gives a token without a name .id 999."):
        load_tokens(dataset, str(folder), 16)


def test_a_tokenizer_without_a_padding_token_is_used(tmp_path: Path, dataset: str) -> None:
    folder = Path(make_backbone(tmp_path / "backbone"))
    values = json.loads((folder / "tokenizer_config.json").read_text())
    del values["pad_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(values))
    assert load_tokenizer(str(folder)).pad_token_id is None
    data = load_tokens(dataset, str(folder), 16)
    assert data.pad(data.select(["eng_Latn"], "train")).min() >= 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": {"source_set": "eng_Latin"}}, "did you mean 'eng_Latn'"),
        ({"evaluation": {"languages": ["kat_Gorg"]}}, "did you mean 'kat_Geor'"),
        ({"selection_languages": ["yor"], "evaluation": {"languages": "Khoisann"}}, "unknown language 'Khoisann'"),
    ],
)
def test_a_misspelt_language_is_found_before_anything_is_tokenised_or_converted(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse: Refuse, changes: Any, message: str
) -> None:
    monkeypatch.setenv("XPE_CACHE_DIR", str(tmp_path / "cache"))
    values = make_search(dataset, "e5-small")
    values = {**values, **changes, "base": {**values["base"], **changes.get("base", {})}}
    file = tmp_path / "search.yaml"
    file.write_text(yaml.safe_dump(values))
    assert message in refuse("search", str(file), "--storage", str(tmp_path / "results"))
    assert sorted(folder.name for folder in (tmp_path / "cache").iterdir()) == ["labels"]


def test_how_many_texts_are_cut_is_said_where_it_is_more_than_a_percent(dataset: str, backbone: str) -> None:
    values = make_search(dataset, backbone)
    values["base"]["max_length"] = 5
    data = load_tokens(dataset, backbone, 96)
    share = round(100 * (data.lengths > 5).mean())
    notes = prepare("mine", make_sweep(**values)).panel.notes
    assert f"{share} % of the texts are longer than 5 tokens (max_length) and are cut" in notes
    values["base"]["max_length"] = 90
    assert not any("are cut" in note for note in prepare("mine", make_sweep(**values)).panel.notes)
