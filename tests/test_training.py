"""Training a pack: the same as training alone, by a plain reference, and each run on its own."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from xpe_core.backbones import load_backbone
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.evaluation import evaluate, mean_accuracy
from xpe_core.model import PromptClassifier
from xpe_core.tokens import TokenisedData, load_tokens
from xpe_core.training import Report, build_optimizer, build_schedule, draw_batches, train


@pytest.fixture
def base(dataset: str, backbone: str) -> dict[str, Any]:
    return {
        "backbone": backbone,
        "dataset": dataset,
        "source_set": "eng_Latn,deu_Latn",
        "num_virtual_tokens": 6,
        "encoder_ratio": 0.5,
        "encoder_hidden_size": 16,
        "batch_size": 8,
        "max_steps": 30,
        "eval_steps": 10,
        "max_length": 16,
        "learning_rate": 2e-3,
        "encoder_prompt_learning_rate": 2e-3,
        "optimizer": "adamw",
        "precision": "float32",
        "pooling": "mean",
    }


def train_pack(configs: list[RunConfig], **settings: Any) -> tuple[PromptClassifier, list[Report], TokenisedData]:
    data = load_tokens(configs[0].dataset, configs[0].backbone, configs[0].max_length)
    model = PromptClassifier(load_backbone(configs[0].backbone), configs, len(data.label_names))
    return model, list(train(model, data, **settings)), data


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_a_run_ends_with_the_same_weights_alone_and_in_a_pack(
    base: dict[str, Any], optimizer: str, ratio: float
) -> None:
    config = RunConfig(**{**base, "optimizer": optimizer, "encoder_ratio": ratio})
    alone, _, _ = train_pack([config.with_seed(3)])
    pack, _, _ = train_pack([config.with_seed(seed) for seed in (1, 2, 3, 4)])
    others = pack.runs[0].state_dict()
    for name, value in alone.runs[0].state_dict().items():
        assert (value - pack.runs[2].state_dict()[name]).abs().max() <= 1e-5, name
        assert (value - others[name]).abs().max() > 1e-3, name


def test_one_step_is_the_plain_step_of_a_single_model(base: dict[str, Any]) -> None:
    config = RunConfig(**{**base, "max_steps": 1, "warmup_ratio": 0, "encoder_dropout": 0, "head_dropout": 0})
    data = load_tokens(config.dataset, config.backbone, config.max_length)
    backbone = load_backbone(config.backbone)
    reference = PromptClassifier(backbone, [config], len(data.label_names)).runs[0]
    optimizer = build_optimizer(reference)
    indices = data.select(["deu_Latn", "eng_Latn"], "train")
    batch = next(draw_batches(indices, data.lengths[indices], config))
    token_ids, mask = data.pad(batch)
    embeddings = torch.cat([reference.prompt(8), backbone.embed(token_ids)], dim=1)
    mask = torch.cat([torch.ones(8, 6, dtype=torch.int64), mask], dim=1)
    hidden = backbone(embeddings, mask)
    pooled = torch.stack([row[: length + 6].mean(0) for row, length in zip(hidden, data.lengths[batch], strict=True)])
    functional.cross_entropy(reference.head(pooled), torch.from_numpy(data.labels[batch])).backward()
    torch.nn.utils.clip_grad_norm_(reference.parameters(), config.max_grad_norm)
    optimizer.step()

    trained, _, _ = train_pack([config])
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(trained.runs[0].state_dict()[name], value, atol=1e-6, rtol=0)


def test_the_same_seed_gives_the_same_run_whatever_was_drawn_before(base: dict[str, Any]) -> None:
    first, _, _ = train_pack([RunConfig(**base)])
    torch.rand(11)
    np.random.rand(11)
    second, _, _ = train_pack([RunConfig(**base)])
    for name, value in first.runs[0].state_dict().items():
        assert torch.equal(value, second.runs[0].state_dict()[name])


def test_training_learns_what_it_is_shown(base: dict[str, Any]) -> None:
    model, reports, data = train_pack([RunConfig(**{**base, "max_steps": 400, "eval_steps": 50})])
    scores = evaluate(model, data, "test", ["deu_Latn", "eng_Latn"])[0]
    assert mean_accuracy(scores) > 0.8
    assert reports[-1].runs[0].train_loss < reports[0].runs[0].train_loss / 2


def test_the_backbone_is_not_trained(base: dict[str, Any]) -> None:
    backbone = load_backbone(base["backbone"])
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    train_pack([RunConfig(**base)])
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_a_run_that_diverges_fails_alone_with_its_step_and_reason(base: dict[str, Any]) -> None:
    healthy = RunConfig(**base)
    diverging = RunConfig(**{**base, "learning_rate": 1e30, "prompt_learning_rate": 1e30, "seed": 2})
    pack, reports, _ = train_pack([healthy, diverging])
    good, bad = reports[-1].runs
    assert (good.state, good.num_steps, good.error) == ("complete", 30, None)
    assert bad.state == "failed" and bad.selection_accuracy == 0.0
    assert bad.error and bad.error.startswith(f"step {bad.num_steps + 1}: loss")
    alone, _, _ = train_pack([healthy])
    for name, value in alone.runs[0].state_dict().items():
        assert (value - pack.runs[0].state_dict()[name]).abs().max() <= 1e-5


def test_a_pack_whose_runs_all_fail_ends_with_a_report(base: dict[str, Any]) -> None:
    _, reports, _ = train_pack([RunConfig(**{**base, "learning_rate": 1e30, "prompt_learning_rate": 1e30})])
    assert [run.state for run in reports[-1].runs] == ["failed"]
    assert reports[-1].selection_accuracy == 0.0


def test_the_kept_checkpoint_is_the_best_on_the_source_languages(base: dict[str, Any]) -> None:
    model, reports, data = train_pack([RunConfig(**{**base, "max_steps": 60})])
    run = reports[-1].runs[0]
    accuracies = {report.step: report.runs[0].validation_accuracy for report in reports}
    assert run.best_validation_accuracy == max(accuracies.values())
    assert run.best_step == min(step for step, value in accuracies.items() if value == max(accuracies.values()))
    scores = evaluate(model, data, "validation", ["deu_Latn", "eng_Latn"])[0]
    assert mean_accuracy(scores) == run.best_validation_accuracy
    assert tuple(scores) == run.validation_scores


def test_selection_averages_over_its_own_languages(base: dict[str, Any]) -> None:
    model, reports, data = train_pack([RunConfig(**base)], selection_languages=["deu_Latn", "kat_Geor"])
    scores = evaluate(model, data, "validation", ["deu_Latn", "kat_Geor"])[0]
    assert reports[-1].selection_accuracy == pytest.approx(mean_accuracy(scores))


def test_a_run_stops_early_only_when_it_may_and_alone(base: dict[str, Any]) -> None:
    flat = {"learning_rate": 1e-12, "prompt_learning_rate": 1e-12, "encoder_prompt_learning_rate": 1e-12}
    shared = {**base, "max_steps": 40, "eval_steps": 5, "patience": 2, "early_stopping_after": 0.5, "seed": 1}
    _, reports, _ = train_pack([RunConfig(**{**shared, **flat}), RunConfig(**{**shared, "patience": 20, "seed": 2})])
    assert [run.num_steps for run in reports[-1].runs] == [20, 40]
    assert reports[-1].runs[0].state == "complete"


def test_an_epoch_shows_every_example_once(base: dict[str, Any], dataset: str, backbone: str) -> None:
    data = load_tokens(dataset, backbone, 16)
    indices = data.select(["deu_Latn", "eng_Latn"], "train")  # 96 examples, 12 batches of 8
    batches = draw_batches(indices, data.lengths[indices], RunConfig(**base))
    for _ in range(2):
        seen = Counter(int(place) for _ in range(12) for place in next(batches))
        assert seen == {int(place): 1 for place in indices}


def test_runs_see_other_examples_of_nearly_the_same_length_at_the_same_time(base: dict[str, Any]) -> None:
    data = load_tokens(base["dataset"], base["backbone"], 16)
    indices = data.select(["deu_Latn", "eng_Latn", "kat_Geor", "yor_Latn"], "train")
    streams = [draw_batches(indices, data.lengths[indices], RunConfig(**{**base, "seed": seed})) for seed in (1, 2)]
    for _ in range(24):
        first, second = (next(stream) for stream in streams)
        assert set(first) != set(second)
        assert abs(data.lengths[first].mean() - data.lengths[second].mean()) <= 2


def test_every_parameter_gets_the_rate_and_decay_of_its_kind(base: dict[str, Any]) -> None:
    rates = {"prompt_learning_rate": 0.1, "encoder_prompt_learning_rate": 0.2, "learning_rate": 0.3}
    decays = {"prompt_weight_decay": 0.01, "encoder_prompt_weight_decay": 0.02, "weight_decay": 0.03}
    config = RunConfig(**{**base, **rates, **decays})
    module = PromptClassifier(load_backbone(config.backbone), [config], 3).runs[0]
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    found = {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in build_optimizer(module).param_groups
        for parameter in group["params"]
    }
    assert found.pop("prompt.soft.embedding.weight") == (0.1, 0.01)
    assert found.pop("prompt.encoded.embedding.weight") == (0.2, 0.02)
    assert {value for name, value in found.items() if name.endswith("weight")} == {(0.3, 0.03)}
    assert {value for name, value in found.items() if name.endswith("bias")} == {(0.3, 0.0)}
    assert len(found) == 10


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 0.75, 0.5, 0.25]),
        ("cosine", [0.5, 1] + [(1 + math.cos(math.pi * part)) / 2 for part in (0.25, 0.5, 0.75)]),
        ("cosine_with_restarts", [0.5, 1, 0.5, 1, 0.5]),
    ],
)
def test_rates_rise_and_fall_as_the_schedule_says(base: dict[str, Any], schedule: str, expected: list[float]) -> None:
    config = RunConfig(**{**base, "schedule": schedule, "max_steps": 10, "warmup_ratio": 0.2, "learning_rate": 1.0})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = build_schedule(optimizer, config)
    rates = []
    for _ in range(10):
        optimizer.step()
        scheduler.step()
        rates.append(scheduler.get_last_lr()[0])
    assert [rates[step - 1] for step in (1, 2, 4, 6, 8)] == pytest.approx(expected)


def test_a_prompt_that_does_not_fit_the_backbone_is_refused(base: dict[str, Any]) -> None:
    config = RunConfig(**{**base, "max_length": 90})
    with pytest.raises(InputError, match="num_virtual_tokens=6 and max_length=90 need 96 positions"):
        PromptClassifier(load_backbone(config.backbone), [config], 3)


def test_runs_with_epochs_of_other_lengths_cannot_share_a_pack(base: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="must train on equally many examples"):
        train_pack([RunConfig(**base), RunConfig(**{**base, "source_set": "eng_Latn"})])


def test_runs_of_other_shapes_cannot_share_a_pack(base: dict[str, Any]) -> None:
    configs = [RunConfig(**base), RunConfig(**{**base, "num_virtual_tokens": 7})]
    with pytest.raises(InputError, match="runs of one pack must share num_virtual_tokens"):
        PromptClassifier(load_backbone(configs[0].backbone), configs, 3)
