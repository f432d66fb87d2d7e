"""A training that is left at any step, saved, and restored elsewhere goes on as if nothing had happened."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.data.tokens import load_tokens
from xpe_core.errors import InputError
from xpe_core.pack import Pack
from xpe_core.training.pack_state import PackProgress, Report, RunProgress
from xpe_core.training.training import Training


def start(configs: list[RunConfig]) -> Training:
    data = load_tokens(configs[0].data.dataset, configs[0].backbone, configs[0].data.max_length)
    return Training(Pack(load_backbone(configs[0].backbone), configs, len(data.label_names)), data)


def finish(training: Training) -> list[Report]:
    reports: list[Report] = []
    while not training.ended:
        report = training.advance()
        assert report is not None
        seconds = replace(report.work, seconds=0.0)
        reports.append(replace(report, work=seconds))
    training.keep_best()
    return reports


def walk(training: Training, num_steps: int) -> None:
    while training.step < num_steps:
        training.advance(0)


def make_pack(base: dict[str, Any], **values: Any) -> list[RunConfig]:
    """Return three runs of which one diverges, one stops early and one takes all its steps, all with dropout."""
    config = RunConfig(**{**base, "encoder_dropout": 0.2, "head_dropout": 0.2, "max_steps": 40, **values})
    diverging = {"learning_rate": 1e30, "prompt_learning_rate": 1e30, "seed": 2}
    flat = {"learning_rate": 1e-12, "prompt_learning_rate": 1e-12, "encoder_prompt_learning_rate": 1e-12}
    stopping = {**flat, "patience": 1, "early_stopping_after": 0.4, "seed": 3}
    return [RunConfig(**{**config.values, **changes}) for changes in ({}, diverging, stopping)]


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
@pytest.mark.parametrize("num_steps", [1, 10, 17, 33])
def test_a_restored_training_ends_with_the_same_weights_and_reports(
    base: dict[str, Any], optimizer: str, num_steps: int
) -> None:
    configs = make_pack(base, optimizer=optimizer)
    undisturbed = start(configs)
    expected = finish(undisturbed)
    assert [run.state for run in expected[-1].runs] == ["complete", "failed", "complete"]
    assert [run.num_steps for run in expected[-1].runs][0::2] == [40, 20]

    left = start(configs)
    walk(left, num_steps)
    saved = left.save()
    finish(left)  # what goes on elsewhere changes nothing
    taken_up = start(configs)
    taken_up.restore(saved)
    assert taken_up.step == num_steps
    found = finish(taken_up)
    assert repr(found) == repr([report for report in expected if report.step > num_steps])  # by repr: NaN equals NaN
    for name, value in undisturbed.model.parameters.items():
        assert torch.equal(value, taken_up.model.parameters[name]), name


def test_advancing_for_a_time_ends_between_evaluations(base: dict[str, Any]) -> None:
    training = start([RunConfig(**base)])
    assert training.advance(0) is None
    assert training.step == 1
    report = training.advance(600)
    assert report is not None and report.step == training.step == 10


def test_a_checkpoint_of_other_runs_is_refused(base: dict[str, Any]) -> None:
    training = start([RunConfig(**base)])
    training.advance(0)
    with pytest.raises(InputError, match="checkpoint is of other runs"):
        start([RunConfig(**{**base, "seed": 2})]).restore(training.save())


@pytest.mark.parametrize("damage", [lambda saved: saved[:-9], lambda saved: b"", lambda saved: b"\x80\x04K\x01."])
def test_a_damaged_checkpoint_is_refused(base: dict[str, Any], damage: Any) -> None:
    training = start([RunConfig(**base)])
    training.advance(0)
    with pytest.raises(InputError, match="checkpoint cannot be read"):
        start([RunConfig(**base)]).restore(damage(training.save()))


@pytest.mark.parametrize(
    ("num_steps", "evaluations_since_best", "state"),
    [
        (19, 9, "training"),  # before half of its steps
        (20, 1, "training"),
        (20, 2, "complete"),  # as many as its patience
        (39, 0, "training"),
        (40, 0, "complete"),  # all steps are done
    ],
)
def test_a_run_ends_with_its_last_step_or_its_patience(num_steps: int, evaluations_since_best: int, state: str) -> None:
    config = RunConfig(max_steps=40, patience=2, early_stopping_after=0.5)
    run = RunProgress(0, config, ("eng_Latn",), np.arange(8), iter([]), "0123", num_steps=num_steps)
    run.evaluations_since_best = evaluations_since_best
    run.decide()
    assert run.state == state


def test_a_run_that_has_not_been_evaluated_reports_no_score() -> None:
    report = RunProgress(0, RunConfig(seed=7), ("eng_Latn",), np.arange(8), iter([]), "0123").report()
    assert (report.seed, report.state, report.error, report.num_steps) == (7, "training", None, 0)
    assert math.isnan(report.train_loss) and report.validation_scores == ()
    assert report.validation_accuracy == report.best_validation_accuracy == report.selection_accuracy == 0
    assert report.best_step == 0 and report.run_id == "0123"


def test_means_of_losses_are_over_the_sound_steps_since_they_were_last_read() -> None:
    progress = PackProgress(3, torch.device("cpu"))
    steps = [((1.0, 5.0, 1.0), (1.0,) * 3), ((2.0, math.inf, 3.0), (1.0,) * 3), ((6.0, 7.0, 5.0), (1.0, 1.0, math.nan))]
    for step, (losses, norms) in enumerate(steps):
        assert progress.is_sound(torch.tensor(losses)).tolist() == [True, step == 0, True]
        progress.record(torch.tensor(losses), torch.tensor(norms))
    failed_steps, failed_losses, failed_norms, means = progress.read()
    assert (progress.step, failed_steps, means) == (3, [0, 2, 3], [3, 5, 2])
    assert failed_losses[1:] == [math.inf, 5] and failed_norms[1] == 1 and math.isnan(failed_norms[2])
    progress.record(torch.tensor([4.0, 1.0, 1.0]), torch.ones(3))
    failed_steps, failed_losses, _, means = progress.read()
    assert (failed_steps, failed_losses[1:], means[0]) == ([0, 2, 3], [math.inf, 5], 4)
