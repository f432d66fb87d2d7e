"""A pack's forward pass: what a run sees, and what it does not."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.making.runs import compute_outputs, make_run
from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import SHARED_FIELDS, RunConfig
from xpe_core.data.tokens import load_tokens
from xpe_core.errors import InputError
from xpe_core.pack import Pack, check_config, count_tokens
from xpe_core.seeds import stream_seed
from xpe_core.stacked import Parameters
from xpe_core.training.training import Training

NUM_CLASSES = 3


@pytest.fixture
def config(values: dict[str, Any]) -> RunConfig:
    return RunConfig(**values["base"], encoder_ratio=0.5)


@pytest.fixture
def pack(config: RunConfig) -> Pack:
    return build_pack([config.with_seed(seed) for seed in (1, 2, 3)])


def build_pack(configs: list[RunConfig]) -> Pack:
    return Pack(load_backbone(configs[0].backbone), configs, NUM_CLASSES)


def batch(rows: int = 2, width: int = 8) -> tuple[Tensor, np.ndarray]:
    """Return one batch for all runs, without padding, and its lengths."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(4, 40, (1, rows, width), generator=generator), np.full(rows, width)


def choose(pack: Pack, places: list[int]) -> Parameters:
    return {name: value[places].clone().requires_grad_() for name, value in pack.parameters.items()}


def classify(pack: Pack, places: list[int], token_ids: Tensor, lengths: np.ndarray) -> Tensor:
    parameters = choose(pack, places)
    return compute_outputs(pack, token_ids, lengths, places, parameters)


def draw_masks(pack: Pack, runs: list[int], num_examples: int) -> list[Tensor]:
    dropout = pack.draw_dropout(runs, num_examples)
    return [*dropout.tuning, *dropout.readout]


def test_every_run_starts_as_the_plain_module_of_its_seed(pack: Pack) -> None:
    for place, config in enumerate(pack.configs):
        alone = make_run(config, pack.backbone.hidden_size, NUM_CLASSES).state_dict()
        found = pack.run_parameters(place)
        assert list(found) == list(alone)
        assert all(torch.equal(found[name], value) for name, value in alone.items())


def test_one_batch_for_all_runs_is_the_same_as_one_each(pack: Pack) -> None:
    token_ids, lengths = batch()
    shared = classify(pack, [0, 1, 2], token_ids, lengths)
    assert shared.shape == (3, 2, NUM_CLASSES)
    each = classify(pack, [0, 1, 2], token_ids.expand(3, -1, -1), np.tile(lengths, 3))
    torch.testing.assert_close(shared, each)


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_logits_are_those_of_a_plain_model_on_each_text_alone(config: RunConfig, ratio: float, pooling: str) -> None:
    own = RunConfig(**{**config.values, "encoder_ratio": ratio, "pooling": pooling})
    pack = build_pack([own.with_seed(seed) for seed in (1, 2)])
    token_ids, _ = batch(6)
    token_ids, lengths = token_ids.view(2, 3, 8), np.array([[8, 5, 3], [4, 8, 1]])
    logits = classify(pack, [0, 1], token_ids, lengths.ravel())
    for place, own in enumerate(pack.configs):
        run = make_run(own, pack.backbone.hidden_size, NUM_CLASSES)
        for row, length in enumerate(lengths[place]):
            text = pack.backbone.embed(token_ids[place, row, None, :length])
            hidden = pack.backbone.model(inputs_embeds=torch.cat([run["prompt"]([]), text], dim=1)).last_hidden_state
            expected = run["head"](hidden[:, 0] if pooling == "first" else hidden.mean(1), [])[0]
            torch.testing.assert_close(logits[place, row], expected, atol=1e-5, rtol=0)


def test_the_given_parameters_choose_the_runs_and_their_order(pack: Pack) -> None:
    token_ids, lengths = batch()
    every, some = (classify(pack, places, token_ids, lengths) for places in ([0, 1, 2], [2, 0]))
    torch.testing.assert_close(some, every[[2, 0]])
    assert not torch.allclose(every[0], every[1])


def test_padding_does_not_change_a_result(pack: Pack) -> None:
    token_ids, lengths = batch()
    padded = torch.cat([token_ids, torch.ones_like(token_ids)], dim=2)
    torch.testing.assert_close(classify(pack, [0], padded, lengths), classify(pack, [0], token_ids, lengths))


def test_the_gradient_of_one_run_does_not_reach_another(pack: Pack) -> None:
    token_ids, lengths = batch()
    parameters = choose(pack, [0, 1, 2])
    logits = compute_outputs(pack, token_ids, lengths, [0, 1, 2], parameters)
    logits[1].sum().backward()
    for name, value in parameters.items():
        assert value.grad is not None
        assert [bool(gradient.any()) for gradient in value.grad] == [False, True, False], name


def test_bfloat16_stays_near_float32_and_gives_float32_logits(config: RunConfig) -> None:
    token_ids, lengths = batch()
    logits = {}
    for precision in ("float32", "bfloat16"):
        pack = build_pack([RunConfig(**{**config.values, "precision": precision})])
        logits[precision] = classify(pack, [0], token_ids, lengths)
    assert logits["bfloat16"].dtype == torch.float32
    assert not torch.equal(logits["bfloat16"], logits["float32"])
    torch.testing.assert_close(logits["bfloat16"], logits["float32"], atol=0.02, rtol=0)


def test_masks_keep_the_mean_and_have_the_shapes_that_prompt_and_head_take(config: RunConfig) -> None:
    rates = {"encoder_dropout": 0.2, "head_dropout": 0.5, "encoder_hidden_size": 64, "encoder_num_layers": 3}
    pack = build_pack([RunConfig(**{**config.values, **rates, "seed": seed}) for seed in (1, 2)])
    dropout = pack.draw_dropout([0, 1], 400)
    assert [mask.shape for mask in dropout.tuning] == [(2, 400, 2, 64)] * 3
    assert [mask.shape for mask in dropout.readout] == [(2, 400, 32)] * 2
    for masks, kept in ((dropout.tuning, 1.25), (dropout.readout, 2.0)):
        for mask in masks:
            assert mask.unique().tolist() == [0.0, kept]
            assert (mask.mean((1, 2)) - 1).abs().max() < 0.1
            assert not torch.equal(mask[0], mask[1])


def test_every_example_has_dropout_of_its_own(pack: Pack) -> None:
    dropout = pack.draw_dropout([0, 1, 2], 2)
    parameters = choose(pack, [0, 1, 2])
    insertion = pack.insert(parameters, [0, 1, 2], dropout)
    prompts = insertion.tokens
    assert prompts is not None and prompts.shape[:2] == (3, 2)
    token_ids = batch(1)[0].expand(-1, 2, -1)  # the same text twice
    lengths = np.array([8, 8])
    logits = pack.outputs(parameters, insertion, token_ids, lengths, dropout.readout)
    without = compute_outputs(pack, token_ids, lengths, [0, 1, 2], parameters)
    for place in range(3):
        assert not torch.equal(prompts[place, 0], prompts[place, 1])
        assert not torch.allclose(logits[place, 0], logits[place, 1])
        torch.testing.assert_close(without[place, 0], without[place, 1])


def test_dropout_follows_the_runs_own_stream_whoever_else_is_in_the_pack(config: RunConfig) -> None:
    alone, pack = build_pack([config.with_seed(3)]), build_pack([config.with_seed(seed) for seed in (1, 3, 2)])
    torch.rand(7)  # the global generator must not matter
    steps = [[0, 1, 2], [1, 2], [0, 1]]  # a run that has ended draws no more
    drawn: list[list[Tensor]] = []
    for places in steps:
        together = [mask[places.index(1)] for mask in draw_masks(pack, places, 5)]
        own = [mask[0] for mask in draw_masks(alone, [0], 5)]
        assert all(torch.equal(*pair) for pair in zip(together, own, strict=True))
        drawn.append(own)
    assert not torch.equal(drawn[0][0], drawn[1][0])


def test_a_run_without_dropout_has_masks_of_ones_beside_one_that_has_some_and_none_alone(config: RunConfig) -> None:
    still = RunConfig(**{**config.values, "encoder_dropout": 0.0, "head_dropout": 0.0})
    masks = draw_masks(build_pack([still, config]), [0, 1], 4)
    assert all(bool((mask[0] == 1).all()) and not bool((mask[1] == 1).all()) for mask in masks) and masks
    assert draw_masks(build_pack([still]), [0], 4) == []


OTHER: dict[str, Any] = {
    "num_virtual_tokens": 5,
    "encoder_ratio": 0.25,
    "encoder_hidden_size": 9,
    "encoder_num_layers": 1,
    "encoder_type": "lstm",
    "encoder_num_heads": 4,
    "encoder_input_size": 16,
    "optimizer": "adafactor",
    "backbone_dropout": 0.1,
    "batch_size": 4,
    "max_steps": 61,
    "eval_steps": 10,
    "max_validation_examples": 3,
    "max_length": 15,
    "max_train_examples": 5,
    "doc_stride": 3,
    "precision": "bfloat16",
    "pooling": "first",
}


@pytest.mark.parametrize("field", OTHER)
def test_runs_that_differ_in_what_a_pack_shares_are_refused(config: RunConfig, field: str) -> None:
    with pytest.raises(InputError, match=f"runs of one pack must share {field}"):
        build_pack([config, RunConfig(**{**config.values, field: OTHER[field]})])


def test_what_a_pack_shares_is_all_covered_here() -> None:
    own = set(SHARED_FIELDS) & RunConfig().values.keys()
    fixed = {"backbone", "dataset", "dataset_config", "columns", "on_bad_rows", "tuning", "readout", "task"}
    assert own == {*OTHER, *fixed}


def test_runs_may_differ_in_rates_and_dropout(config: RunConfig) -> None:
    other = {"learning_rate": 0.1, "head_dropout": 0.3, "max_grad_norm": 2.0, "schedule": "linear", "patience": 3}
    assert len(build_pack([config, RunConfig(**{**config.values, **other})]).configs) == 2


def test_a_run_that_drops_nothing_in_layers_draws_the_same_beside_one_that_does(config: RunConfig) -> None:
    values = {name: value for name, value in config.values.items() if name in ("backbone", "dataset", "max_length")}
    still = RunConfig(**values, tuning="lora", head_dropout=0.3)
    packs = [build_pack([still]), build_pack([still, still.with_values(lora_dropout=0.2, seed=2)])]
    for _ in range(3):
        alone, together = (pack.draw_dropout(range(len(pack.configs)), 4) for pack in packs)
        assert all(torch.equal(one[0], other[0]) for one, other in zip(alone.readout, together.readout, strict=True))
    assert alone.seeds is None and together.seeds is not None and bool(together.seeds[1].any())


def test_dropout_of_the_backbone_changes_no_other_masks_of_a_step_and_differs_by_step(config: RunConfig) -> None:
    rates = {"encoder_dropout": 0.2, "head_dropout": 0.5}
    plain, dropping = (build_pack([config.with_values(**rates, backbone_dropout=rate)]) for rate in (0.0, 0.1))
    first, second = plain.draw_dropout([0], 4), dropping.draw_dropout([0], 4)
    for masks, others in ((first.tuning, second.tuning), (first.readout, second.readout)):
        assert masks and all(map(torch.equal, masks, others))
    next_step = dropping.draw_dropout([0], 4)
    assert first.backbone is None and second.backbone is not None and next_step.backbone is not None
    assert second.backbone.rate == 0.1
    assert not torch.equal(second.backbone.seeds, next_step.backbone.seeds)


def test_a_backbone_whose_dropout_cannot_be_drawn_is_refused_in_a_sentence(config: RunConfig) -> None:
    shape = replace(load_backbone(config.backbone).shape, name="tiny", drops=False)
    check_config(config, shape)
    expected = "backbone_dropout=0.1: must be 0 with tiny, whose dropout cannot be drawn for each run"
    with pytest.raises(InputError, match=f"^{expected}$"):
        check_config(config.with_values(backbone_dropout=0.1), shape)


def test_streams_of_a_seed_are_told_apart_and_never_change() -> None:
    assert stream_seed(1, "weights") == 40346441995714416
    assert len({stream_seed(seed, name) for seed in (1, 2) for name in ("weights", "dropout", "order")}) == 6


def test_runs_that_own_the_backbones_weights_are_in_no_pass_together(config: RunConfig) -> None:
    values = {name: value for name, value in config.values.items() if name in ("backbone", "dataset", "max_length")}
    own = RunConfig(**values, tuning="full", source_set="eng_Latn", batch_size=4, max_steps=2, precision="float32")
    data = load_tokens(own.data.dataset, own.backbone, own.data.max_length)
    training = Training(build_pack([own, own.with_seed(2)]), data)
    passes: list[int] = []
    insert = Pack.insert

    def note(self: Pack, parameters: Parameters, *others: Any) -> Any:
        passes.append(len(next(iter(parameters.values()))))
        return insert(self, parameters, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pack, "insert", note)
        training.advance(0)
    assert passes == [1, 1]


def test_prompt_and_text_may_fill_the_backbones_positions_to_the_last(config: RunConfig) -> None:
    shape = load_backbone(config.backbone).shape
    longest = shape.max_positions - count_tokens(config)
    check_config(RunConfig(**{**config.values, "max_length": longest}), shape)
    with pytest.raises(InputError, match=f"max_length={longest + 1} need {shape.max_positions + 1} positions"):
        check_config(RunConfig(**{**config.values, "max_length": longest + 1}), shape)
    alone = RunConfig(tuning="none", backbone=config.backbone, max_length=shape.max_positions)
    check_config(alone, shape)
    longer = RunConfig(**{**alone.values, "max_length": shape.max_positions + 1})
    with pytest.raises(InputError, match=f"needs {shape.max_positions + 1} positions, with 0 before the text"):
        check_config(longer, shape)


def test_layers_draw_their_dropout_from_one_seed_an_example_of_the_runs_own_stream(config: RunConfig) -> None:
    values: dict[str, Any] = {
        "tuning": "lora",
        "backbone": config.backbone,
        "dataset": config.data.dataset,
        "max_length": 16,
    }
    dropping, still = ({"lora_dropout": 0.2, "head_dropout": 0.0}, {"lora_dropout": 0.0, "head_dropout": 0.0})
    pack = build_pack([RunConfig(**values, **dropping, seed=seed) for seed in (1, 2)])
    dropout = pack.draw_dropout([0, 1], 5)
    assert dropout.seeds is not None and dropout.readout == []
    assert dropout.seeds.shape == (2, 5) and len(dropout.seeds.unique()) == 10
    assert int(dropout.seeds.max()) > 2**28  # of the whole range
    part = dropout.take(slice(1, 2), slice(2, 4))
    assert part.seeds is not None and torch.equal(part.seeds, dropout.seeds[1:, 2:4])
    alone = build_pack([RunConfig(**values, **dropping, seed=2)]).draw_dropout([0], 5).seeds
    assert alone is not None and torch.equal(alone[0], dropout.seeds[1])
    assert build_pack([RunConfig(**values, **still)]).draw_dropout([0], 5).seeds is None
