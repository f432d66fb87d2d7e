"""Frozen encoders: what they compute, and which files are refused."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    ElectraConfig,
    ElectraModel,
    GPT2Config,
    GPT2Model,
    PreTrainedModel,
    RoCBertConfig,
    RoCBertModel,
    T5Config,
    T5Model,
    XLMRobertaForMaskedLM,
)

from tests.making.encoders import ENCODERS, SIZES, build_bert, build_xlmr, save_encoder
from xpe_core.backbones.backbone import Backbone, load_backbone, load_tokenizer
from xpe_core.errors import InputError

TOKEN_IDS = torch.tensor([[0, 4, 5, 6, 7, 2], [0, 8, 9, 2, 1, 1]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.fixture(params=ENCODERS)
def backbone(request: pytest.FixtureRequest, tmp_path: Path) -> Backbone:
    """Return a tiny backbone of each kind."""
    torch.manual_seed(0)
    return load_backbone(save_encoder(tmp_path / request.param, ENCODERS[request.param]()))


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
    name = save_encoder(tmp_path / "bare", BertModel(build_bert().config, add_pooling_layer=False))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_backbone(name)
    assert torch.equal(torch.rand(3), expected)


def test_half_precision_weights_are_loaded_in_float32(tmp_path: Path) -> None:
    name = save_encoder(tmp_path / "half", build_bert().half())
    assert {weight.dtype for weight in load_backbone(name).parameters()} == {torch.float32}


def test_an_encoder_with_a_language_model_head_is_read_without_it(tmp_path: Path) -> None:
    model = XLMRobertaForMaskedLM(build_xlmr().config)
    backbone = load_backbone(save_encoder(tmp_path / "mlm", model))
    assert torch.equal(backbone.embed(TOKEN_IDS), model.roberta.embeddings.word_embeddings(TOKEN_IDS))


def test_loading_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    name = save_encoder(tmp_path / "mlm", XLMRobertaForMaskedLM(build_xlmr().config))
    capfd.readouterr()
    load_backbone(name)
    assert capfd.readouterr() == ("", "")


def test_an_encoder_that_lacks_a_layer_is_refused(bert: str) -> None:
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
        load_backbone(save_encoder(tmp_path / "decoder", model))


def test_word_embeddings_of_another_size_than_the_hidden_states_are_refused(tmp_path: Path) -> None:
    model = ElectraModel(ElectraConfig(**SIZES, embedding_size=16))
    with pytest.raises(InputError, match="size 16 under hidden states of size 32"):
        load_backbone(save_encoder(tmp_path / "electra", model))


def test_the_tokenizer_needs_no_weights_to_be_readable(bert: str) -> None:
    Path(bert, "model.safetensors").write_bytes(b"")
    assert load_tokenizer(bert)("a b").input_ids == [4, 5]


def build_rocbert() -> PreTrainedModel:
    """Build an encoder that adds a token's sound and shape, which it does not know of embeddings."""
    own = {"pronunciation_vocab_size": 50, "shape_vocab_size": 50, "pronunciation_embed_dim": 8, "shape_embed_dim": 8}
    model = RoCBertModel(RoCBertConfig(**SIZES, **own, max_position_embeddings=32, pad_token_id=1))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(5)
    return model


def test_an_encoder_that_embeddings_do_not_tell_all_is_refused(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        name = save_encoder(tmp_path, build_rocbert())
    with pytest.raises(InputError, match="RoCBertModel computes something else of embeddings than of tokens"):
        load_backbone(name)
