"""Prefix tuning against transformers' own `past_key_values` and a plain loop: states, gradients, numbers, starts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from transformers import (
    AlbertConfig,
    AlbertModel,
    AutoModel,
    DistilBertConfig,
    DistilBertModel,
    DynamicCache,
    EuroBertConfig,
    EuroBertModel,
    PreTrainedModel,
    XLMRobertaConfig,
)
from transformers.models.modernbert.modeling_modernbert import apply_rotary_pos_emb

from tests.making.encoders import (
    SIZES,
    build_bert,
    build_deberta,
    build_modernbert,
    build_relu_bert,
    build_xlmr,
    save_encoder,
)
from xpe_core.adapters import build_classifier, read_adapter
from xpe_core.adapters.adapter import take_adapter
from xpe_core.adapters.safetensors_file import write_adapter
from xpe_core.backbones.backbone import load_backbone, load_tokenizer, measure
from xpe_core.backbones.backbone_dropout import BackboneDropout
from xpe_core.backbones.insertion import Insertion, KeysValues
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.pack import Pack, count_trained_parameters

KINDS: dict[str, Callable[[], PreTrainedModel]] = {
    "xlm-roberta": build_xlmr,
    "bert": build_bert,
    "bert by its own code": build_relu_bert,
    "modernbert": build_modernbert,
}
PAST = [kind for kind in KINDS if kind != "modernbert"]
"""Kinds whose class takes past keys and values."""
NUM_TOKENS, NUM_CLASSES = 5, 3
TOKEN_IDS = torch.tensor([[0, 5, 6, 7, 8, 9, 10, 2], [0, 7, 4, 9, 2, 1, 1, 1], [0, 11, 2, 1, 1, 1, 1, 1]])
LENGTHS = np.array([8, 5, 3])
MASK = torch.arange(8) < torch.from_numpy(LENGTHS)[:, None]


@pytest.fixture
def name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the folder of an encoder of a kind, whose states depend on every token."""
    return save(request.param, tmp_path / "encoder")


def save(kind: str, folder: Path) -> str:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = KINDS[kind]()
        for weight in model.parameters():
            if weight.ndim == 2:
                weight *= 6
            elif weight.ndim == 1:
                weight += 0.1 * torch.randn_like(weight)  # biases of keys and values must show
        return save_encoder(folder, model)


def build_pack(name: str, **values: Any) -> Pack:
    settings = {"tuning": "prefix", "num_virtual_tokens": NUM_TOKENS, "prefix_init": "normal"}
    settings |= {"max_length": 8, "precision": "float32", "pooling": "mean"}
    config = RunConfig(**{**settings, "backbone": name, **values})
    return Pack(load_backbone(name), [config, config.with_seed(2)], NUM_CLASSES)


def read_states(pack: Pack, parameters: dict[str, Tensor]) -> Tensor:
    """Return the means over the texts [R, B, H]."""
    return pack.read(pack.insert(parameters, range(len(pack.configs))), TOKEN_IDS[None], LENGTHS, len(pack.configs))


def average(hidden: Tensor) -> Tensor:
    return (hidden * MASK[..., None]).sum(1) / MASK.sum(1, keepdim=True)


def find_prefix(parameters: dict[str, Tensor], run: int, layer: int, part: str) -> Tensor:
    """Return the keys or values of a run [B, A, P, D]."""
    return parameters[f"prefix.layers.{layer}.{part}"][run].unflatten(-1, (4, 8)).transpose(0, 1).expand(3, -1, -1, -1)


def run_with_past(model: PreTrainedModel, parameters: dict[str, Tensor], run: int) -> Tensor:
    """Return the states of transformers' own model with past keys and values, as peft calls it."""
    pairs = [
        tuple(find_prefix(parameters, run, layer, part) for part in ("key", "value"))
        for layer in range(model.config.num_hidden_layers)
    ]
    mask = torch.cat([torch.ones(3, NUM_TOKENS), MASK], dim=1)
    hidden: Tensor = model(input_ids=TOKEN_IDS, attention_mask=mask, past_key_values=DynamicCache(pairs))[0]
    return hidden


def run_modernbert(model: Any, parameters: dict[str, Tensor], run: int) -> Tensor:
    """Return the states of a ModernBERT, layer by layer: inserted keys are seen from everywhere and do not turn."""
    hidden = model.embeddings(input_ids=TOKEN_IDS)
    places = torch.arange(8)
    for number, layer in enumerate(model.layers):
        kind = model.config.layer_types[number]
        near = (places - places[:, None]).abs() <= (2 if kind == "sliding_attention" else 8)
        seen = torch.cat([torch.ones(3, 8, NUM_TOKENS, dtype=torch.bool), near & MASK[:, None]], dim=2)[:, None]
        qkv = layer.attn.Wqkv(layer.attn_norm(hidden)).view(3, 8, 3, 4, 8).unbind(2)
        query, key, value = (part.transpose(1, 2) for part in qkv)
        turns = model.rotary_emb(hidden, NUM_TOKENS + places[None], kind)
        query, key = apply_rotary_pos_emb(query, key, *turns, unsqueeze_dim=1)
        key = torch.cat([find_prefix(parameters, run, number, "key"), key], dim=2)
        value = torch.cat([find_prefix(parameters, run, number, "value"), value], dim=2)
        scores = (query @ key.mT / 8**0.5).masked_fill(~seen, -torch.inf)
        hidden = hidden + layer.attn.Wo((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))
        hidden = hidden + layer.mlp(layer.mlp_norm(hidden))
    final: Tensor = model.final_norm(hidden)
    return final


@pytest.mark.parametrize("name", KINDS, indirect=True)
def test_states_and_gradients_are_those_of_transformers_own_model(name: str) -> None:
    pack = build_pack(name)
    model = AutoModel.from_pretrained(name, dtype=torch.float32).eval()
    reference = run_modernbert if model.config.model_type == "modernbert" else run_with_past
    parameters = {key: value.clone().requires_grad_() for key, value in pack.parameters.items()}
    same = {key: value.clone().requires_grad_() for key, value in pack.parameters.items()}
    ours = read_states(pack, parameters)
    theirs = torch.stack([average(reference(model, same, run)) for run in range(2)])
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    plain = average(model(input_ids=TOKEN_IDS, attention_mask=MASK)[0])
    assert (ours - plain).abs().max() > 0.1, "the prefix must show"
    draw = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1))
    (ours * draw).sum().backward()
    (theirs * draw).sum().backward()
    for key in [key for key in parameters if key.startswith("prefix.")]:
        gradient, expected = parameters[key].grad, same[key].grad
        assert gradient is not None and expected is not None and expected.abs().max() > 1e-3
        torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["xlm-roberta", "bert", "modernbert"], indirect=True)
@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_in_inference_the_states_are_the_same(name: str, pooling: str) -> None:
    pack = build_pack(name, pooling=pooling)
    with torch.inference_mode():
        fast = read_states(pack, pack.parameters)
    tracked = read_states(pack, {key: value.clone().requires_grad_() for key, value in pack.parameters.items()})
    torch.testing.assert_close(fast, tracked.detach(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", KINDS, indirect=True)
@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_where_the_encoder_may_drop_the_states_and_gradients_are_the_same(name: str, pooling: str) -> None:
    pack = build_pack(name, pooling=pooling)
    seeds = torch.zeros(2, 3, dtype=torch.int32)
    found = []
    for dropout in (None, BackboneDropout(0.0, seeds, seeds[:, 0])):  # the second takes the layers' other way
        parameters = {key: value.clone().requires_grad_() for key, value in pack.parameters.items()}
        insertion = replace(pack.insert(parameters, [0, 1]), dropout=dropout)
        states = pack.read(insertion, TOKEN_IDS[None], LENGTHS, 2)
        states.square().sum().backward()
        found.append((states.detach(), [value.grad for key, value in parameters.items() if key.startswith("prefix.")]))
    (states, gradients), (others, their_gradients) = found
    torch.testing.assert_close(states, others, atol=1e-5, rtol=0)
    for gradient, other in zip(gradients, their_gradients, strict=True):
        assert gradient is not None and gradient.abs().max() > 1e-3
        torch.testing.assert_close(gradient, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", KINDS, indirect=True)
def test_in_bfloat16_the_states_are_nearly_the_same(name: str) -> None:
    exact, rounded = (build_pack(name, precision=precision) for precision in ("float32", "bfloat16"))
    one, other = (read_states(pack, pack.parameters) for pack in (exact, rounded))
    assert 0 < (one - other).abs().max() < 0.1 * one.abs().max()
    parameters = {key: value.clone().requires_grad_() for key, value in rounded.parameters.items()}
    read_states(rounded, parameters).sum().backward()
    gradient = parameters["prefix.layers.0.key"].grad
    assert gradient is not None and gradient.dtype == torch.float32 and gradient.isfinite().all()


@pytest.mark.parametrize("name", PAST, indirect=True)
def test_layers_below_the_first_adapted_one_are_those_of_the_encoder(name: str) -> None:
    pack = build_pack(name, prefix_layers=1)
    assert [key for key in pack.parameters if key.startswith("prefix.")] == [
        "prefix.layers.1.key",
        "prefix.layers.1.value",
    ]
    model = AutoModel.from_pretrained(name, dtype=torch.float32).eval()
    first = 2 if model.config.model_type == "xlm-roberta" else 0
    position_ids = torch.arange(first + NUM_TOKENS, first + NUM_TOKENS + 8)[None]
    caught: list[Tensor] = []

    def attend_there(module: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> Any:
        hidden = inputs[0]
        caught.append(hidden)
        parts = [layer(hidden).unflatten(-1, (4, 8)).transpose(1, 2) for layer in (module.key, module.value)]
        ours = [find_prefix(pack.parameters, 0, 1, part) for part in ("key", "value")]
        key, value = (torch.cat(pair, dim=2) for pair in zip(ours, parts, strict=True))
        query = module.query(hidden).unflatten(-1, (4, 8)).transpose(1, 2)
        seen = torch.cat([torch.ones(3, NUM_TOKENS, dtype=torch.bool), MASK], dim=1)[:, None, None]
        attended = functional.scaled_dot_product_attention(query, key, value, seen)
        return attended.transpose(1, 2).flatten(2), output[1]

    model.encoder.layer[1].attention.self.register_forward_hook(attend_there)
    with torch.no_grad():
        theirs = average(model(input_ids=TOKEN_IDS, attention_mask=MASK, position_ids=position_ids)[0])
    torch.testing.assert_close(read_states(pack, pack.parameters)[0], theirs, atol=1e-5, rtol=0)
    assert len(caught) == 1


class PutBefore(TorchFunctionMode):
    """Puts keys and values before those of each call of attention in turn."""

    def __init__(self, pairs: Sequence[KeysValues]) -> None:
        super().__init__()
        self.pairs = iter(pairs)

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if function is not functional.scaled_dot_product_attention:
            return function(*args, **named)
        query, *own = args
        pair = next(self.pairs)
        heads = query.shape[1]
        joined = []
        for before, part in zip((pair.keys[0], pair.values[0]), own, strict=True):
            split = before.unflatten(-1, (-1, query.shape[-1])).transpose(
                0, 1
            )  # [A, P, D], of fewer heads than queries
            split = split.repeat_interleave(heads // len(split), 0).expand(len(query), -1, -1, -1)
            joined.append(torch.cat([split, part.repeat_interleave(heads // part.shape[1], 1)], dim=2))
        mask = named["attn_mask"]
        seen = torch.cat([mask.new_ones(*mask.shape[:-1], pair.keys.shape[1]), mask], dim=-1)
        return function(query, *joined, attn_mask=seen, scale=named["scale"])


def build_albert() -> PreTrainedModel:
    """Build a model whose layers share one module."""
    return AlbertModel(AlbertConfig(**SIZES, embedding_size=32, max_position_embeddings=32, pad_token_id=1))


def build_eurobert() -> PreTrainedModel:
    """Build a model with fewer heads of keys than of queries."""
    return EuroBertModel(EuroBertConfig(**SIZES, num_key_value_heads=2, max_position_embeddings=32, pad_token_id=1))


def build_distilbert() -> PreTrainedModel:
    sizes = {"vocab_size": 20, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}
    return DistilBertModel(DistilBertConfig(**sizes, max_position_embeddings=32, pad_token_id=1))


@pytest.mark.parametrize(
    ("build", "sizes"), [(build_albert, (32, 32)), (build_eurobert, (16, 16)), (build_distilbert, (32, 32))]
)
def test_other_architectures_attend_to_what_stands_before(
    build: Callable[[], PreTrainedModel], sizes: tuple[int, ...], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    name = save_encoder(tmp_path / "encoder", build())
    backbone = load_backbone(name)
    assert backbone.shape.keys == sizes
    draw = torch.Generator().manual_seed(1)
    pairs = [KeysValues(*torch.randn(2, 1, NUM_TOKENS, size, generator=draw)) for size in sizes]
    ours = backbone(backbone.embed(TOKEN_IDS), MASK, insertion=Insertion(keys_values=dict(enumerate(pairs))))
    model = AutoModel.from_pretrained(name, dtype=torch.float32).eval()
    with torch.no_grad(), PutBefore(pairs):
        positions = torch.arange(NUM_TOKENS, NUM_TOKENS + 8)[None]
        theirs = model(inputs_embeds=backbone.embed(TOKEN_IDS), attention_mask=MASK, position_ids=positions)[0]
    torch.testing.assert_close(ours[MASK], theirs[MASK], atol=1e-5, rtol=0)
    assert (ours - backbone(backbone.embed(TOKEN_IDS), MASK))[MASK].abs().max() > 0.05


def build_large() -> PreTrainedModel:
    sizes = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    with torch.device("meta"):
        model: PreTrainedModel = AutoModel.from_config(XLMRobertaConfig(**sizes, max_position_embeddings=514))
    return model


@pytest.mark.parametrize(
    ("values", "trained"),
    [
        ({"num_virtual_tokens": 1}, 24 * 2 * 1024),
        ({"num_virtual_tokens": 20}, 983_040),
        ({"num_virtual_tokens": 10, "prefix_layers": 6}, 10 * 6 * 2 * 1024),
        (
            {"num_virtual_tokens": 10, "prefix_projection": 512, "prefix_init": "zero"},
            10 * 1024 + 512 * 1025 + 24 * 2 * 1024 * 513,
        ),
    ],
)
def test_on_xlmr_large_so_many_numbers_are_trained(values: dict[str, Any], trained: int) -> None:
    shape = measure("large", build_large())
    head = 1024 * 1024 + 1024 + 1024 * 7 + 7
    assert count_trained_parameters(RunConfig(tuning="prefix", **values), shape, 7) == trained + head


@pytest.mark.parametrize("name", PAST, indirect=True)
def test_a_texts_start_is_the_encoders_own_keys_and_values(name: str) -> None:
    pack = build_pack(name, prefix_init="text", prefix_text="a b c")
    model = AutoModel.from_pretrained(name, dtype=torch.float32).eval()
    ids = load_tokenizer(name)("a b c a b c")["input_ids"][:NUM_TOKENS]
    with torch.no_grad():
        states = model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
        for number, layer in enumerate(model.encoder.layer):
            for part in ("key", "value"):
                own = layer.attention.self.get_submodule(part)(states[number])[0]
                for run in range(2):
                    found = pack.run_parameters(run)[f"prefix.layers.{number}.{part}"]
                    torch.testing.assert_close(found, own, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["modernbert"], indirect=True)
def test_a_texts_start_is_what_attention_gets(name: str) -> None:
    pack = build_pack(name, prefix_init="text", prefix_text="a b c d e f", prefix_layers=2)
    model = AutoModel.from_pretrained(name, dtype=torch.float32).eval()
    ids = torch.tensor([load_tokenizer(name)("a b c d e f")["input_ids"][:NUM_TOKENS]])
    hidden = model.layers[0](model.embeddings(input_ids=ids), position_embeddings=turn(model, 0))
    qkv = model.layers[1].attn.Wqkv(model.layers[1].attn_norm(hidden)).view(1, NUM_TOKENS, 3, 4, 8)
    query, key, value = (part.transpose(1, 2) for part in qkv.unbind(2))
    _, key = apply_rotary_pos_emb(query, key, *turn(model, 1), unsqueeze_dim=1)
    for part, own in (("key", key), ("value", value)):
        found = pack.run_parameters(0)[f"prefix.layers.1.{part}"]
        torch.testing.assert_close(found, own.transpose(1, 2).flatten(2)[0].detach(), atol=1e-5, rtol=0)


def turn(model: Any, layer: int) -> Any:
    positions = torch.arange(NUM_TOKENS)[None]
    return model.rotary_emb(torch.zeros(1), positions, model.config.layer_types[layer])


@pytest.mark.parametrize(
    ("values", "spread"),
    [
        ({}, 1.0),
        ({"prefix_init": "zero"}, 0.0),
        ({"prefix_init": "zero", "prefix_projection": 8}, 0.0),
    ],
)
def test_other_starts_are_pefts(backbone: str, values: dict[str, Any], spread: float) -> None:
    pack = build_pack(backbone, num_virtual_tokens=40, **values)
    (layer, *_) = pack.insert(pack.parameters, [0, 1]).keys_values.values()
    for part in (layer.keys, layer.values):
        assert part.shape == (2, 40, 32) and part.std() == pytest.approx(spread, abs=0.1)
        assert not spread or (part[0] - part[1]).abs().max() > 0.1


@pytest.mark.parametrize("kind", ["xlm-roberta", "modernbert"])
@pytest.mark.parametrize("values", [{}, {"prefix_layers": 1}, {"prefix_projection": 6}])
def test_an_adapter_is_read_as_it_was_written(kind: str, values: dict[str, Any], tmp_path: Path) -> None:
    name = save(kind, tmp_path / "encoder")
    pack = build_pack(name, **values)
    adapter = take_adapter(pack, 0, ("a", "b", "c"))
    write_adapter(adapter, tmp_path / "a.safetensors")
    again = read_adapter(tmp_path / "a.safetensors")
    assert again.fingerprint == adapter.fingerprint and again.config == adapter.config
    loaded = build_classifier(load_backbone(name), [again])
    found = read_states(loaded, loaded.parameters)[0]
    torch.testing.assert_close(found, read_states(pack, pack.parameters)[0], atol=1e-6, rtol=0)


def test_an_adapter_of_another_depth_is_refused(tmp_path: Path) -> None:
    adapter = take_adapter(build_pack(save("modernbert", tmp_path / "deep")), 0, ("a", "b", "c"))
    backbone = load_backbone(save("bert", tmp_path / "shallow"))
    with pytest.raises(InputError, match=r"linear layer 2.key has the size \(0, 32\); that of .* is not there"):
        build_classifier(backbone, [adapter])


def test_a_backbone_whose_attention_takes_no_keys_is_refused(tmp_path: Path) -> None:
    name = save_encoder(tmp_path / "deberta", build_deberta(False))
    with pytest.raises(InputError, match="tuning=prefix: no keys can be put before those of .*; allowed are encoders"):
        build_pack(name)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"prefix_layers": 3}, "prefix_layers=3: .* has 2 layers"),
        ({"num_virtual_tokens": 30, "max_length": 80}, "num_virtual_tokens=30 and max_length=80 need 110 positions"),
        ({"prefix_init": "text", "prefix_text": " "}, "prefix_text=' ': the tokenizer of .* finds no token in it"),
    ],
)
def test_what_does_not_fit_the_backbone_is_refused(backbone: str, values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        build_pack(backbone, **values)


def test_an_mlp_cannot_start_from_a_text() -> None:
    with pytest.raises(ValueError, match="prefix_init=text with prefix_projection=8: keys and values of a text are no"):
        RunConfig(tuning="prefix", prefix_init="text", prefix_projection=8)


def test_the_number_of_virtual_tokens_is_one_field_of_prompts_and_prefixes() -> None:
    both = [RunConfig(tuning=tuning, num_virtual_tokens=7) for tuning in ("prompt", "prefix")]
    assert [config.values["num_virtual_tokens"] for config in both] == [7, 7]
    with pytest.raises(ValueError, match="belongs to tuning: prompt or prefix, and this is tuning: lora"):
        RunConfig(tuning="lora", num_virtual_tokens=7)
