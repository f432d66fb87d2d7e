"""Training a pack: the same as training alone, by a plain reference, and each run on its own."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.making.runs import make_run
from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.data.tokens import TokenisedData, load_tokens
from xpe_core.errors import InputError
from xpe_core.pack import Pack, count_tokens, rate_and_decay
from xpe_core.tasks.scores import mean_score
from xpe_core.training.evaluation import evaluate
from xpe_core.training.order import draw_batches
from xpe_core.training.training import Report, train


def train_pack(configs: list[RunConfig], **settings: Any) -> tuple[Pack, list[Report], TokenisedData]:
    data = load_tokens(configs[0].data.dataset, configs[0].backbone, configs[0].data.max_length)
    model = Pack(load_backbone(configs[0].backbone), configs, len(data.label_names))
    return model, list(train(model, data, **settings)), data


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
@pytest.mark.parametrize(
    ("ratio", "encoder"), [(0.0, "mlp"), (0.5, "mlp"), (1.0, "mlp"), (0.5, "lstm"), (0.5, "attention"), (0.5, "none")]
)
def test_a_run_ends_with_the_same_weights_alone_and_in_a_pack(
    base: dict[str, Any], optimizer: str, ratio: float, encoder: str
) -> None:
    config = RunConfig(**{**base, "optimizer": optimizer, "encoder_ratio": ratio, "encoder_type": encoder})
    alone, _, _ = train_pack([config.with_seed(3)])
    pack, _, _ = train_pack([config.with_seed(seed) for seed in (1, 2, 3, 4)])
    for name, value in alone.run_parameters(0).items():
        assert (value - pack.run_parameters(2)[name]).abs().max() <= 1e-5, name
        assert (value - pack.run_parameters(0)[name]).abs().max() > 1e-3, name


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_steps_are_the_plain_steps_of_a_single_model(base: dict[str, Any], dropout: float) -> None:
    rates = {"learning_rate": 1e-3, "prompt_learning_rate": 5e-3, "encoder_prompt_learning_rate": 2e-3}
    few = {"max_steps": 3, "eval_steps": 3, "schedule": "constant", "warmup_ratio": 0, "max_grad_norm": 0.1}
    config = RunConfig(**{**base, **rates, **few, "encoder_dropout": dropout, "head_dropout": dropout})
    data = load_tokens(config.data.dataset, config.backbone, config.data.max_length)
    backbone = load_backbone(config.backbone)
    reference = make_run(config, backbone.hidden_size, len(data.label_names))
    dropout_source = Pack(backbone, [config], len(data.label_names))
    groups = []
    for name, parameter in reference.named_parameters():
        rate, decay = rate_and_decay(name, config)
        groups.append({"params": [parameter], "lr": rate, "weight_decay": decay})
    optimizer = torch.optim.AdamW(groups)
    indices = data.select(["deu_Latn", "eng_Latn"], "train")
    batches = draw_batches(indices, data.lengths[indices], config)
    for _ in range(3):
        batch = next(batches)
        drawn = dropout_source.draw_dropout([0], 8)
        in_prompt, in_head = ([mask[0] for mask in kind] for kind in (drawn.tuning, drawn.readout))
        prompts = reference["prompt"](in_prompt).expand(8, -1, -1)
        pooled = []
        for prompt, place in zip(prompts, batch, strict=True):
            tokens = torch.from_numpy(data.token_ids[data.offsets[place] : data.offsets[place + 1]].astype(np.int64))
            embeddings = torch.cat([prompt, backbone.embed(tokens)])[None]
            pooled.append(backbone.model(inputs_embeds=embeddings).last_hidden_state[0].mean(0))
        logits = reference["head"](torch.stack(pooled), in_head)
        optimizer.zero_grad()
        functional.cross_entropy(logits, torch.from_numpy(data.labels[batch])).backward()
        norm = torch.nn.utils.clip_grad_norm_(reference.parameters(), config.training.max_grad_norm)
        assert norm > config.training.max_grad_norm
        optimizer.step()

    trained, _, _ = train_pack([config])
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(trained.run_parameters(0)[name], value, atol=1e-5, rtol=0)


def test_the_same_seed_gives_the_same_run_whatever_was_drawn_before(base: dict[str, Any]) -> None:
    first, _, _ = train_pack([RunConfig(**base)])
    torch.rand(11)
    np.random.rand(11)
    second, _, _ = train_pack([RunConfig(**base)])
    for name, value in first.run_parameters(0).items():
        assert torch.equal(value, second.run_parameters(0)[name])


def test_testing_drops_nothing_in_the_backbone_and_training_does(base: dict[str, Any]) -> None:
    dropping, plain = ([RunConfig(**{**base, "backbone_dropout": rate})] for rate in (0.3, 0.0))
    trained, reports, data = train_pack(dropping)
    other, plain_reports, _ = train_pack(plain)
    assert reports[0].runs[0].train_loss != plain_reports[0].runs[0].train_loss
    other.parameters = trained.parameters
    scores, expected = (evaluate(model, data, "test", ["deu_Latn", "kat_Geor"]) for model in (trained, other))
    assert scores == expected


def test_training_learns_what_it_is_shown(base: dict[str, Any]) -> None:
    model, reports, data = train_pack([RunConfig(**{**base, "max_steps": 400, "eval_steps": 50})])
    scores = evaluate(model, data, "test", ["deu_Latn", "eng_Latn"])[0]
    assert mean_score(scores) > 0.8
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
    for name, value in alone.run_parameters(0).items():
        assert (value - pack.run_parameters(0)[name]).abs().max() <= 1e-5


def test_a_pack_whose_runs_all_fail_ends_with_a_report(base: dict[str, Any]) -> None:
    _, reports, _ = train_pack([RunConfig(**{**base, "learning_rate": 1e30, "prompt_learning_rate": 1e30})])
    assert [run.state for run in reports[-1].runs] == ["failed"]
    assert reports[-1].selection_accuracy == 0.0


def test_a_failure_is_noticed_at_the_next_evaluation_with_the_step_it_happened_at(base: dict[str, Any]) -> None:
    config = RunConfig(**{**base, "warmup_ratio": 0, "learning_rate": 1e30, "prompt_learning_rate": 1e30})
    _, reports, _ = train_pack([config, RunConfig(**{**base, "seed": 2})])
    run = reports[0].runs[0]
    assert (reports[0].step, run.state) == (10, "failed")
    assert run.num_steps < 9
    assert run.error and run.error.startswith(f"step {run.num_steps + 1}: loss")
    assert [report.runs[0] for report in reports[1:]] == [run] * 2


def test_a_failed_runs_training_loss_is_the_mean_over_its_sound_steps(base: dict[str, Any]) -> None:
    settings = {**base, "warmup_ratio": 0, "learning_rate": 1e30, "prompt_learning_rate": 1e30}
    _, reports, _ = train_pack([RunConfig(**{**settings, "eval_steps": 30})])
    run = reports[0].runs[0]
    assert run.state == "failed" and run.num_steps < 29
    _, each, _ = train_pack([RunConfig(**{**settings, "eval_steps": 1})])
    losses = [report.runs[0].train_loss for report in each]
    assert len(losses) == run.num_steps + 1
    assert run.train_loss == pytest.approx(np.mean(losses[:-1]), rel=1e-5)
    assert np.isnan(losses[-1])  # it failed at the first step since the last report


def test_a_failed_run_keeps_its_last_sound_weights(base: dict[str, Any]) -> None:
    config = RunConfig(**{**base, "warmup_ratio": 0, "learning_rate": 1e30, "prompt_learning_rate": 1e30})
    model, reports, _ = train_pack([config])
    assert reports[-1].runs[0].state == "failed"
    assert all(value.isfinite().all() for value in model.run_parameters(0).values())


def test_the_training_loss_is_the_mean_over_the_steps_since_the_last_report(base: dict[str, Any]) -> None:
    config = RunConfig(**{**base, "max_steps": 12, "eval_steps": 4})
    each = [
        report.runs[0].train_loss for report in train_pack([RunConfig(**{**base, "max_steps": 12, "eval_steps": 1})])[1]
    ]
    found = [report.runs[0].train_loss for report in train_pack([config])[1]]
    assert found == pytest.approx([sum(each[start : start + 4]) / 4 for start in (0, 4, 8)], abs=1e-5)


def test_the_reported_work_counts_every_text_token_of_every_run(base: dict[str, Any]) -> None:
    # six epochs of 96 examples: whichever batches they fall into, every token is seen six times
    config = RunConfig(**{**base, "max_steps": 72, "eval_steps": 36})
    _, reports, data = train_pack([config, config.with_seed(2)])
    num_tokens = int(data.lengths[data.select(["deu_Latn", "eng_Latn"], "train")].sum())
    assert [report.work.num_tokens for report in reports] == [6 * num_tokens, 12 * num_tokens]
    work = reports[-1].work
    assert work.num_positions == work.num_tokens + work.num_padding + 72 * 2 * 8 * count_tokens(config)
    assert 0 < work.padding_share < 0.2
    assert work.tokens_per_second == pytest.approx(work.num_tokens / work.seconds)


def test_the_kept_checkpoint_is_the_best_on_the_source_languages(base: dict[str, Any]) -> None:
    model, reports, data = train_pack([RunConfig(**{**base, "max_steps": 60})])
    run = reports[-1].runs[0]
    accuracies = {report.step: report.runs[0].validation_accuracy for report in reports}
    assert run.best_validation_accuracy == max(accuracies.values())
    assert run.best_step == min(step for step, value in accuracies.items() if value == max(accuracies.values()))
    scores = evaluate(model, data, "validation", ["deu_Latn", "eng_Latn"])[0]
    assert mean_score(scores) == run.best_validation_accuracy
    assert tuple(scores) == run.validation_scores


def test_selection_averages_over_its_own_languages(base: dict[str, Any]) -> None:
    model, reports, data = train_pack([RunConfig(**base)], selection_languages=["deu_Latn", "kat_Geor"])
    scores = evaluate(model, data, "validation", ["deu_Latn", "kat_Geor"])[0]
    assert reports[-1].selection_accuracy == pytest.approx(mean_score(scores))


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


@pytest.mark.parametrize(("batch_size", "max_steps", "expected"), [(8, 30, [12, 24, 30]), (128, 3, [1, 2, 3])])
def test_without_a_number_of_steps_a_run_is_evaluated_once_an_epoch(
    base: dict[str, Any], batch_size: int, max_steps: int, expected: list[int]
) -> None:
    values = {**base, "batch_size": batch_size, "max_steps": max_steps, "eval_steps": None}
    assert [report.step for report in train_pack([RunConfig(**values)])[1]] == expected  # of 96 examples


def test_runs_see_other_examples_of_nearly_the_same_length_at_the_same_time(base: dict[str, Any]) -> None:
    data = load_tokens(base["dataset"], base["backbone"], 16)
    indices = data.select(["deu_Latn", "eng_Latn", "kat_Geor", "yor_Latn"], "train")
    streams = [draw_batches(indices, data.lengths[indices], RunConfig(**{**base, "seed": seed})) for seed in (1, 2)]
    for _ in range(24):
        first, second = (next(stream) for stream in streams)
        assert set(first) != set(second)
        assert abs(data.lengths[first].mean() - data.lengths[second].mean()) <= 2


def test_a_prompt_that_does_not_fit_the_backbone_is_refused(base: dict[str, Any]) -> None:
    config = RunConfig(**{**base, "max_length": 90})
    with pytest.raises(InputError, match="num_virtual_tokens=6 and max_length=90 need 96 positions"):
        Pack(load_backbone(config.backbone), [config], 3)


def test_runs_with_epochs_of_other_lengths_cannot_share_a_pack(base: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="must train on equally many examples"):
        train_pack([RunConfig(**base), RunConfig(**{**base, "source_set": "eng_Latn"})])


def test_runs_of_other_shapes_cannot_share_a_pack(base: dict[str, Any]) -> None:
    configs = [RunConfig(**base), RunConfig(**{**base, "num_virtual_tokens": 7})]
    with pytest.raises(InputError, match="runs of one pack must share num_virtual_tokens"):
        Pack(load_backbone(configs[0].backbone), configs, 3)
