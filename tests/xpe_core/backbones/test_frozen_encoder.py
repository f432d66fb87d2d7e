"""The encoder's own layers against transformers', forward and backward."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from xpe_core.backbones.backbone import Backbone
from xpe_core.backbones.changed_layer import mask_scores
from xpe_core.backbones.cpu_attention import append_column, attend, differentiate_attention
from xpe_core.backbones.frozen_encoder import MASKED, FrozenEncoder, _CpuLayer, _run_layer, can_encode
from xpe_core.backbones.packed_layer import PackedLayer, can_pack

SIZES: dict[str, Any] = {
    "vocab_size": 20,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
}
MASK = torch.tensor([[1] * 9, [1] * 4 + [0] * 5, [1] * 1 + [0] * 8])
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertModel(BertConfig(**SIZES), add_pooling_layer=False),
    "roberta": lambda: RobertaModel(RobertaConfig(**SIZES), add_pooling_layer=False),
    "xlm-roberta": lambda: XLMRobertaModel(XLMRobertaConfig(**SIZES, layer_norm_eps=1e-5), add_pooling_layer=False),
}


def freeze(model: PreTrainedModel) -> PreTrainedModel:
    """Draw all weights at random, those that start as 0 or 1 too, so that nothing can be left out unnoticed."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        noise = 0.3 * torch.randn(parameter.shape, generator=generator)
        parameter.data = noise + 1 if "LayerNorm.weight" in name else noise
    return model.requires_grad_(False).eval()


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return freeze(MODELS[request.param]())


@pytest.fixture(params=[None, MASK], ids=["without padding", "with padding"])
def mask(request: pytest.FixtureRequest) -> Tensor | None:
    return request.param


def draw_embeddings(num_positions: int = 9) -> Tensor:
    return torch.randn(3, num_positions, 32, generator=torch.Generator().manual_seed(1)).requires_grad_()


def select(hidden: Tensor, mask: Tensor | None, only_first: bool) -> Tensor:
    """Return the states [N, H] that are asked for and are no padding."""
    if only_first:
        return hidden[:, 0]
    return hidden.flatten(0, 1) if mask is None else hidden[mask == 1]


def differentiate(hidden: Tensor, embeddings: Tensor) -> Tensor:
    """Return the gradient at the embeddings of a fixed weighting of the states."""
    weights = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(2))
    return torch.autograd.grad((hidden.float() * weights).sum(), embeddings)[0]


def run_general_layers(encoder: FrozenEncoder, embeddings: Tensor, mask: Tensor | None, only_first: bool) -> Tensor:
    """Run the encoder as on a GPU."""
    hidden = encoder._embeddings(inputs_embeds=embeddings).to(encoder.dtype)
    bias = None if mask is None else mask_scores(mask, encoder.dtype, MASKED)
    for layer in encoder._layers:
        queried = hidden[:, :1] if only_first and layer is encoder._layers[-1] else hidden
        hidden = _run_layer(layer, queried, hidden, bias, encoder.num_heads)
    return hidden


def run_cpu_layers(encoder: FrozenEncoder, embeddings: Tensor, mask: Tensor | None, only_first: bool) -> Tensor:
    return encoder(embeddings, mask, only_first)


WAYS = {"cpu": run_cpu_layers, "general": run_general_layers}


@pytest.mark.parametrize("only_first", [False, True], ids=["all positions", "first position"])
@pytest.mark.parametrize("way", WAYS)
def test_states_and_gradients_are_those_of_transformers(
    model: PreTrainedModel, mask: Tensor | None, only_first: bool, way: str
) -> None:
    embeddings = draw_embeddings()
    expected = select(model(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state, mask, only_first)
    hidden = WAYS[way](FrozenEncoder(model, torch.float32), embeddings, mask, only_first)
    assert hidden.shape == (3, 1 if only_first else 9, 32)
    found = select(hidden, mask, only_first)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    gradient, wanted = differentiate(found, embeddings), differentiate(expected, embeddings)
    assert (gradient - wanted).norm() <= 1e-4 * wanted.norm()


@pytest.mark.parametrize("sign", [1, -1], ids=["too large", "too small"])
def test_scores_whose_exponentials_are_out_of_range_are_as_good(
    model: PreTrainedModel, mask: Tensor | None, sign: int
) -> None:
    layer = model.encoder.layer[0].attention.self
    layer.query.weight.data.zero_()
    layer.query.bias.data = sign * 40 * torch.ones(32)
    layer.key.weight.data.abs_()
    embeddings = draw_embeddings()
    keys = layer.key(model.embeddings(inputs_embeds=embeddings)).unflatten(-1, (4, 8))
    scores = 40 * sign * keys.sum(-1) * 8**-0.5
    assert scores.abs().max() > 100
    expected = select(model(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state, mask, False)
    found = select(FrozenEncoder(model, torch.float32)(embeddings, mask), mask, False)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    gradient, wanted = differentiate(found, embeddings), differentiate(expected, embeddings)
    assert (gradient - wanted).norm() <= 1e-3 * wanted.norm()


@pytest.mark.parametrize("shift", [-120, -100, -95, -80, -60, -30, 0, 30, 60, 80, 88, 120])
@pytest.mark.parametrize("size", [1e-8, 1.0, 1e4])
def test_attention_is_as_exact_wherever_the_scores_lie(shift: float, size: float) -> None:
    # one feature of queries and keys shifts all scores alike, which changes no weight
    generator = torch.Generator().manual_seed(3)
    query, key, value = (torch.randn(2, 4, 5, 8, generator=generator) for _ in range(3))
    query[..., 0], key[..., 0] = 1, shift
    gradient = size * torch.randn(2, 5, 32, generator=generator)
    flat = query.flatten(0, 1), key.flatten(0, 1), append_column(value, None)
    weights, weighed = attend(*flat)
    weighed = weighed.unflatten(0, (2, 4)).transpose(1, 2)
    attended, sums = weighed[..., :-1] / weighed[..., -1:], weighed[..., -1:]
    rows = [gradient.flatten(0, 1), attended.flatten(2).flatten(0, 1)]
    found = differentiate_attention(rows[0], *flat, weights, rows[1], sums, False)

    wide = [part.double().requires_grad_() for part in (query, key, value)]
    expected = ((wide[0] @ wide[1].mT).softmax(-1) @ wide[2]).transpose(1, 2)
    torch.testing.assert_close(attended.double(), expected, atol=1e-4, rtol=0)
    wanted = torch.autograd.grad(expected.flatten(2), wide, gradient.double())
    for part, other in zip(found, wanted, strict=True):
        # the first feature's own gradient is the difference of large numbers where the shift is large
        ours, theirs = part.unflatten(0, (2, 4))[..., 1:].double(), other[..., 1:]
        assert (ours - theirs).norm() <= 1e-3 * theirs.norm()


@pytest.mark.parametrize("only_first", [False, True], ids=["all positions", "first position"])
@pytest.mark.parametrize("way", WAYS)
def test_padding_gets_no_gradient(model: PreTrainedModel, only_first: bool, way: str) -> None:
    embeddings = draw_embeddings()
    hidden = WAYS[way](FrozenEncoder(model, torch.float32), embeddings, MASK, only_first)
    gradient = differentiate(select(hidden, MASK, only_first), embeddings)
    assert not gradient[MASK == 0].any()
    assert gradient[MASK == 1].abs().amax(-1).gt(0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("num_queried", [9, 1])
def test_the_layer_for_cpus_is_the_general_one(
    model: PreTrainedModel, mask: Tensor | None, num_queried: int, dtype: torch.dtype
) -> None:
    encoder = FrozenEncoder(model, dtype)
    layer = encoder._layers[0]
    inputs = [draw_embeddings().detach().to(dtype).requires_grad_() for _ in range(2)]
    found = _CpuLayer.apply(inputs[0], layer, mask, encoder.num_heads, num_queried)
    queried = inputs[1] if num_queried == 9 else inputs[1][:, :num_queried]
    bias = None if mask is None else mask_scores(mask, dtype, MASKED)
    expected = _run_layer(layer, queried, inputs[1], bias, encoder.num_heads)
    assert found.shape == expected.shape == (3, num_queried, 32)
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    assert (found - expected).norm() <= tolerance * expected.norm()
    gradients = [differentiate(states, given) for states, given in zip((found, expected), inputs, strict=True)]
    assert (gradients[0] - gradients[1]).norm() <= tolerance * gradients[1].norm()


@pytest.mark.skipif(not can_pack(), reason="this CPU has no bfloat16")
@pytest.mark.parametrize("num_queried", [9, 1])
def test_the_packed_layer_is_the_general_one(model: PreTrainedModel, mask: Tensor | None, num_queried: int) -> None:
    encoder = FrozenEncoder(model, torch.bfloat16)
    hidden = draw_embeddings().detach().bfloat16()
    layer, given = encoder._layers[0], hidden.clone()
    with torch.inference_mode():
        found = PackedLayer(layer)(hidden, mask, encoder.num_heads, num_queried)
    bias = None if mask is None else mask_scores(mask, torch.bfloat16, MASKED)
    queried = hidden if num_queried == 9 else hidden[:, :num_queried]
    expected = _run_layer(layer, queried, hidden, bias, encoder.num_heads)
    assert found.shape == expected.shape == (3, num_queried, 32) and found.dtype == torch.bfloat16
    assert (found - expected).norm() <= 0.02 * expected.norm()
    assert torch.equal(hidden, given)


@pytest.mark.skipif(not can_pack(), reason="this CPU has no bfloat16")
@pytest.mark.parametrize("only_first", [False, True], ids=["all positions", "first position"])
def test_answers_in_bfloat16_are_as_near_float32_as_what_has_gradients(
    model: PreTrainedModel, mask: Tensor | None, only_first: bool
) -> None:
    embeddings, half = draw_embeddings().detach(), FrozenEncoder(model, torch.bfloat16)
    exact = select(FrozenEncoder(model, torch.float32)(embeddings, mask, only_first), mask, only_first)
    plain = select(half(embeddings, mask, only_first), mask, only_first)
    with torch.inference_mode():
        packed = select(half(embeddings, mask, only_first), mask, only_first)
    assert not torch.equal(packed, plain)  # it is another way, not the same one
    assert (packed - exact).norm() < 1.3 * (plain - exact).norm()


@pytest.mark.parametrize("only_first", [False, True], ids=["all positions", "first position"])
@pytest.mark.parametrize("way", WAYS)
def test_bfloat16_stays_near_float32(model: PreTrainedModel, mask: Tensor | None, only_first: bool, way: str) -> None:
    states, gradients = [], []
    for dtype in (torch.float32, torch.bfloat16):
        embeddings = draw_embeddings()
        hidden = WAYS[way](FrozenEncoder(model, dtype), embeddings, mask, only_first)
        assert hidden.dtype == dtype
        states.append(select(hidden, mask, only_first).float())
        gradients.append(differentiate(select(hidden, mask, only_first), embeddings))
    assert not torch.equal(*states)
    assert (states[1] - states[0]).norm() < 0.03 * states[0].norm()
    assert gradients[1].dtype == torch.float32
    assert torch.cosine_similarity(gradients[0].flatten(), gradients[1].flatten(), dim=0) > 0.99


def test_a_pass_without_gradients_gives_the_same_states(model: PreTrainedModel, mask: Tensor | None) -> None:
    encoder, embeddings = FrozenEncoder(model, torch.float32), draw_embeddings()
    with torch.inference_mode():
        states = encoder(embeddings, mask)
    assert torch.equal(states, encoder(embeddings, mask))


def test_a_pass_leaves_its_inputs_and_the_weights_alone(model: PreTrainedModel) -> None:
    encoder, embeddings = FrozenEncoder(model, torch.float32), draw_embeddings()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    given, mask = embeddings.detach().clone(), MASK.clone()
    first = differentiate(encoder(embeddings, mask), embeddings)
    assert torch.equal(first, differentiate(encoder(embeddings, mask), embeddings))
    assert torch.equal(embeddings, given) and torch.equal(mask, MASK)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


class ForwardCounter:
    """Counts the calls of a module's own forward pass."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.num_calls = 0
        model.register_forward_hook(self._count)

    def _count(self, *_: object) -> None:
        self.num_calls += 1


OTHERS: dict[str, Callable[[], PreTrainedModel]] = {
    "deberta-v2": lambda: DebertaV2Model(DebertaV2Config(**SIZES, relative_attention=True, position_buckets=8)),
    "modernbert": lambda: ModernBertModel(ModernBertConfig(**SIZES, bos_token_id=0, eos_token_id=2, cls_token_id=0)),
    "bert with relu": lambda: BertModel(BertConfig(**SIZES, hidden_act="relu")),
    "roberta with gelu_new": lambda: RobertaModel(RobertaConfig(**SIZES, hidden_act="gelu_new")),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_not_covered_goes_through_transformers(kind: str, mask: Tensor | None) -> None:
    model = freeze(OTHERS[kind]())
    assert not can_encode(model)
    backbone, embeddings = Backbone(kind, model), draw_embeddings()
    expected = model(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state
    counter = ForwardCounter(model)
    hidden = backbone(embeddings, mask)
    assert counter.num_calls == 1
    torch.testing.assert_close(select(hidden, mask, False), select(expected, mask, False))
    first = backbone(embeddings, mask, only_first=True)
    assert first.shape == (3, 1, 32)
    torch.testing.assert_close(first[:, 0], expected[:, 0])
    half = backbone(embeddings, mask, "bfloat16").float()
    assert not torch.equal(half, hidden)
    assert (select(half - hidden, mask, False)).norm() < 0.05 * select(hidden, mask, False).norm()


def test_what_is_covered_does_not_go_through_transformers(model: PreTrainedModel) -> None:
    assert can_encode(model)
    backbone, counter = Backbone("tiny", model), ForwardCounter(model)
    for precision, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        assert backbone(draw_embeddings(), MASK, precision).dtype == dtype
    assert counter.num_calls == 0
