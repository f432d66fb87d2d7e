"""The backbone's own dropout: its masks, and the layers with it against transformers' in training, given the masks."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import (
    BertConfig,
    BertModel,
    FNetConfig,
    FNetModel,
    MegatronBertConfig,
    MegatronBertModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from tests.making.encoders import build_deberta
from tests.xpe_core.backbones.test_frozen_encoder import MASK, SIZES, differentiate, draw_embeddings, freeze, select
from xpe_core.backbones.backbone import Backbone, measure
from xpe_core.backbones.backbone_dropout import BackboneDropout, Place, drop_at
from xpe_core.backbones.changed_layer import mask_scores, run_changed_layer
from xpe_core.backbones.dropped_layer import DroppedLayer
from xpe_core.backbones.frozen_encoder import FrozenEncoder
from xpe_core.backbones.insertion import Delta, Insertion

RATE = 0.3
RATES: dict[str, Any] = {"hidden_dropout_prob": RATE, "attention_probs_dropout_prob": RATE}
OF_MODERN: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2}


def draw_dropout(num_runs: int, num_examples: int, rate: float = RATE, seed: int = 0) -> BackboneDropout:
    generator = torch.Generator().manual_seed(seed)
    seeds = torch.randint(2**31 - 1, (num_runs, num_examples), generator=generator, dtype=torch.int32)
    return BackboneDropout(rate, seeds, seeds[:, 0])


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.999])
def test_as_much_is_dropped_as_the_rate_says_and_the_mean_stays(rate: float) -> None:
    dropped = drop_at(draw_dropout(1, 16, rate).at(3), torch.ones(16, 100, 384))
    share = (dropped == 0).float().mean().item()
    assert abs(share - rate) < 5 * (rate * (1 - rate) / dropped.numel()) ** 0.5
    torch.testing.assert_close(dropped[dropped > 0].unique(), torch.tensor([1 / (1 - rate)]))


def test_rows_differ_in_how_much_they_drop_as_independent_numbers_do() -> None:
    kept = draw_dropout(1, 40, 0.1).at(1).draw((40, 50, 384), torch.float32)
    spread = kept.sum(-1).std().item()
    assert abs(spread / (384 * 0.1 * 0.9) ** 0.5 - 1) < 0.05
    columns = kept.sum((0, 1)).std().item()
    assert abs(columns / (2000 * 0.1 * 0.9) ** 0.5 - 1) < 0.15


def test_places_texts_runs_steps_and_rows_are_independent() -> None:
    dropout, later = draw_dropout(2, 2, 0.5), draw_dropout(2, 2, 0.5, seed=1)
    shape = 4, 4, 50, 200
    first, place, step = (one.draw(shape, torch.float32) for one in (dropout.at(1), dropout.at(2), later.at(1)))
    pairs = [(first, place), (first, step), (first[0], first[1]), (first[0], first[2]), (first[:, 0], first[:, 1])]
    pairs += [(first[:, :, 1:], first[:, :, :-1]), (first[..., 1:], first[..., :-1])]
    for left, right in pairs:
        assert abs((left == right).float().mean().item() - 0.5) < 0.01


def test_a_part_of_a_batch_and_of_a_text_is_dropped_as_in_the_whole() -> None:
    dropout = draw_dropout(2, 3)
    whole = dropout.at(5).draw((6, 4, 9, 11), torch.float32)
    part = dropout.take(slice(1, 2), slice(1, 3)).at(5)
    assert torch.equal(part.draw((2, 4, 9, 11), torch.float32), whole[4:])
    assert torch.equal(part.draw((2, 4, 6, 7), torch.float32), whole[4:, :, :6, :7])
    assert torch.equal(part.draw((2, 4, 9, 11), torch.bfloat16).float(), whole[4:])


def test_what_is_beside_the_texts_is_the_same_in_every_part_of_a_batch() -> None:
    dropout = draw_dropout(2, 3)
    parts = [dropout.take(slice(1, 2), examples).beside_texts(1) for examples in (slice(0, 1), slice(1, 3))]
    first, second = (place.draw((1, 16, 32), torch.float32) for place in parts)
    assert torch.equal(first, second)
    assert not torch.equal(first, dropout.beside_texts(1).draw((1, 16, 32), torch.float32))


def test_the_backward_pass_drops_the_same() -> None:
    inputs = torch.randn(2, 7, 5, requires_grad=True)
    dropped = drop_at(draw_dropout(1, 2).at(1), inputs)
    dropped.sum().backward()
    assert inputs.grad is not None
    torch.testing.assert_close(dropped, inputs * inputs.grad)
    assert 0 < (inputs.grad == 0).sum() < inputs.numel()


FAST: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertModel(BertConfig(**SIZES, **RATES), add_pooling_layer=False),
    "xlm-roberta": lambda: XLMRobertaModel(XLMRobertaConfig(**SIZES, **RATES), add_pooling_layer=False),
}
HUB: dict[str, Callable[[], PreTrainedModel]] = {
    "deberta-v2": lambda: build_deberta(True),
    "mdeberta-v3": lambda: build_deberta(False),
    "modernbert": lambda: ModernBertModel(
        ModernBertConfig(**SIZES, **OF_MODERN, attention_dropout=RATE, embedding_dropout=RATE, mlp_dropout=RATE)
    ),
    "bert with relu": lambda: BertModel(BertConfig(**SIZES, **RATES, hidden_act="relu")),
    "mpnet": lambda: MPNetModel(MPNetConfig(**SIZES, **RATES)),
}


class Reference:
    """A model of transformers in training, whose calls of dropout take our masks in turn."""

    def __init__(self, model: PreTrainedModel, dropout: BackboneDropout, monkeypatch: pytest.MonkeyPatch) -> None:
        model.set_attn_implementation("eager")
        self._model, self._dropout, self._monkeypatch = model, dropout, monkeypatch
        self.num_places = 0

    def __call__(self, embeddings: Tensor, mask: Tensor | None) -> Tensor:
        places = count()

        def take_mask(inputs: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
            assert training and p in (RATE, 0.1)
            number = next(places)
            if inputs.ndim == 2:
                return (
                    inputs * self._dropout.beside_texts(number).draw((1, *inputs.shape), inputs.dtype)[0] / (1 - RATE)
                )
            return inputs * self._dropout.at(number).draw(inputs.shape, inputs.dtype) / (1 - RATE)

        self._model.train()
        with self._monkeypatch.context() as patch:
            patch.setattr(functional, "dropout", take_mask)
            hidden: Tensor = self._model(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state
        self._model.eval()
        self.num_places = next(places)
        return hidden


def find_deltas() -> dict[str, Delta]:
    """Return changes of both layers that change nothing."""
    return {f"{layer}.value": Delta(scale=torch.ones(1, 32)) for layer in range(2)}


@pytest.fixture(params=[None, MASK], ids=["without padding", "with padding"])
def mask(request: pytest.FixtureRequest) -> Tensor | None:
    return request.param


@pytest.mark.parametrize("only_first", [False, True], ids=["all positions", "first position"])
@pytest.mark.parametrize("way", ["cpu", "changed"])
@pytest.mark.parametrize("kind", FAST)
def test_fast_layers_are_transformers_in_training(
    kind: str, way: str, mask: Tensor | None, only_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, dropout = freeze(FAST[kind]()), draw_dropout(1, 3)
    embeddings, reference = draw_embeddings(), Reference(model, dropout, monkeypatch)
    insertion = Insertion(deltas={} if way == "cpu" else find_deltas(), dropout=dropout)
    found = select(FrozenEncoder(model, torch.float32)(embeddings, mask, only_first, insertion), mask, only_first)
    expected = select(reference(embeddings, mask), mask, only_first)
    assert reference.num_places == 1 + 2 * 3
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    gradient, wanted = differentiate(found, embeddings), differentiate(expected, embeddings)
    assert (gradient - wanted).norm() <= 1e-5 * wanted.norm()


@pytest.mark.parametrize("kind", HUB)
def test_models_of_transformers_are_themselves_in_training(
    kind: str, mask: Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, dropout = freeze(HUB[kind]()), draw_dropout(1, 3)
    backbone, embeddings = Backbone(kind, model), draw_embeddings()
    assert backbone.shape.drops
    found = select(backbone(embeddings, mask, insertion=Insertion(dropout=dropout)), mask, False)
    plain = select(backbone(embeddings, mask), mask, False)
    reference = Reference(model, dropout, monkeypatch)
    expected = select(reference(embeddings, mask), mask, False)
    assert reference.num_places >= 1 + 2 * 3
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    gradient, wanted = differentiate(found, embeddings), differentiate(expected, embeddings)
    assert (gradient - wanted).norm() <= 1e-4 * wanted.norm()
    assert (plain - expected).norm() > 0.1 * plain.norm()


@pytest.mark.parametrize("kind", [*FAST, *HUB])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_drops_the_same_alone_in_a_pass_of_two_and_in_parts(kind: str, precision: str) -> None:
    backbone, dropout = Backbone(kind, freeze({**FAST, **HUB}[kind]())), draw_dropout(2, 3)
    embeddings, mask = draw_embeddings(9).repeat(2, 1, 1), MASK.repeat(2, 1)
    tolerance = 1e-5 if precision == "float32" else 0.1
    whole = backbone(embeddings, mask, precision, insertion=Insertion(dropout=dropout)).float()
    for runs, examples, width in ((slice(1, 2), slice(0, 3), 9), (slice(1, 2), slice(1, 3), 4)):
        rows = slice(3 + examples.start, 6)
        part = Insertion(dropout=dropout.take(runs, examples))
        found = backbone(embeddings[rows, :width], mask[rows, :width], precision, insertion=part).float()
        torch.testing.assert_close(
            select(found, mask[rows, :width], False),
            select(whole[rows, :width], mask[rows, :width], False),
            atol=tolerance,
            rtol=tolerance,
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("num_queried", [9, 1])
def test_the_layer_for_cpus_is_the_general_one(mask: Tensor | None, num_queried: int, dtype: torch.dtype) -> None:
    encoder, places = FrozenEncoder(freeze(FAST["bert"]()), dtype), draw_dropout(1, 3).in_layer(1)
    layer = encoder._layers[1]
    inputs = [draw_embeddings().detach().to(dtype).requires_grad_() for _ in range(2)]
    found = DroppedLayer.apply(inputs[0], layer, mask, encoder.num_heads, num_queried, places)
    bias = None if mask is None else mask_scores(mask, dtype, -1e9)
    expected = run_changed_layer(layer, inputs[1], num_queried, bias, encoder.num_heads, {}, places)
    assert found.shape == expected.shape == (3, num_queried, 32) and found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    assert (found - expected).norm() <= tolerance * expected.norm()
    gradients = [differentiate(states, given) for states, given in zip((found, expected), inputs, strict=True)]
    assert (gradients[0] - gradients[1]).norm() <= tolerance * gradients[1].norm()


@pytest.mark.parametrize("sign", [1, -1], ids=["too large", "too small"])
def test_scores_whose_exponentials_are_out_of_range_are_as_good(
    mask: Tensor | None, sign: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, dropout = freeze(FAST["bert"]()), draw_dropout(1, 3)
    layer = model.encoder.layer[0].attention.self
    layer.query.weight.data.zero_()
    layer.query.bias.data = sign * 40 * torch.ones(32)
    layer.key.weight.data.abs_()
    embeddings = draw_embeddings()
    insertion = Insertion(dropout=dropout)
    found = select(FrozenEncoder(model, torch.float32)(embeddings, mask, False, insertion), mask, False)
    expected = select(Reference(model, dropout, monkeypatch)(embeddings, mask), mask, False)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    gradient, wanted = differentiate(found, embeddings), differentiate(expected, embeddings)
    assert (gradient - wanted).norm() <= 1e-3 * wanted.norm()


def test_padding_gets_no_gradient() -> None:
    embeddings, insertion = draw_embeddings(), Insertion(dropout=draw_dropout(1, 3))
    hidden = FrozenEncoder(freeze(FAST["xlm-roberta"]()), torch.float32)(embeddings, MASK, False, insertion)
    assert not differentiate(select(hidden, MASK, False), embeddings)[MASK == 0].any()


def test_modernbert_drops_also_where_its_config_has_no_dropout() -> None:
    with_rates, without = HUB["modernbert"](), ModernBertModel(ModernBertConfig(**SIZES, **OF_MODERN))
    without.load_state_dict(with_rates.state_dict())
    insertion, embeddings = Insertion(dropout=draw_dropout(1, 3)), draw_embeddings()
    found, expected = (
        Backbone("tiny", freeze(model))(embeddings, None, insertion=insertion) for model in (without, with_rates)
    )
    assert torch.equal(found, expected)


def test_a_model_whose_attention_cannot_be_reached_says_so() -> None:
    sizes = {name: value for name, value in SIZES.items() if name != "num_attention_heads"}
    assert not measure("fnet", FNetModel(FNetConfig(**sizes))).drops
    # without weights this one cannot be run, so only the model with weights tells
    with torch.device("meta"):
        empty = MegatronBertModel(MegatronBertConfig(**SIZES))
    assert measure("megatron", empty).drops
    assert measure("megatron", MegatronBertModel(MegatronBertConfig(**SIZES))).drops


def test_a_place_never_drops_everything() -> None:
    place = Place(0.9999999, torch.tensor([5], dtype=torch.int32))
    assert 0 < place.draw((1, 600, 600), torch.float32).mean() < 1e-3
