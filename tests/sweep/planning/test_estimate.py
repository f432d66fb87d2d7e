"""What an experiment is estimated to cost, by hand."""

from typing import Any

import pytest

from sweep.cluster.capacity import Share
from sweep.experiment.config import make_sweep
from sweep.planning.estimate import estimate, measure_rate
from sweep.planning.plan import Plan, prepare
from xpe_core.backbones.backbone import load_backbone
from xpe_core.errors import InputError
from xpe_core.pack import Pack
from xpe_core.training.training import Training
from xpe_core.tunings.prompt.tuning import PromptTuning


def test_tokens_and_operations_are_those_that_training_counts(values: dict[str, Any]) -> None:
    # one epoch of 96 examples, without validation and test: what the meter of a training counts
    base = {**values["base"], "max_steps": 12, "eval_steps": 12, "encoder_ratio": 1.0}
    arms, evaluation = {"xpe": {"learning_rate": 1e-3}}, values["evaluation"]
    plan = prepare("mine", make_sweep(kind="grid", base=base, arms=arms, seeds=(1, 2, 3), evaluation=evaluation))
    found = estimate(plan)
    assert (found.num_trials, found.num_runs, found.num_steps) == (1, 3, 36)
    lengths = plan.panel.data.lengths[plan.panel.data.select(("deu_Latn", "eng_Latn"), "train")]
    assert found.num_tokens == 3 * lengths.sum()
    configs = [plan.sweep.corners[0].with_seed(seed) for seed in (1, 2, 3)]
    training = Training(Pack(load_backbone(base["backbone"]), configs, 3), plan.panel.data)
    training.advance()
    # 24 validation and 30 test examples go forward once, 96 training examples forward and backward
    trained = found.num_operations * (2 * 96) / (2 * 96 + 24 + 30)
    assert trained == pytest.approx(training.work.num_operations, rel=0.15)


def test_a_search_is_estimated_by_the_corners_of_its_space(values: dict[str, Any]) -> None:
    plan = prepare("mine", make_sweep(**values))
    found = estimate(plan)
    assert (found.num_trials, found.num_runs, found.num_steps) == (8, 16, 16 * 60)


def plan_heads(values: dict[str, Any], **more: Any) -> Plan:
    """Return a plan of heads alone, whose texts go through the backbone once."""
    prompt = PromptTuning.Config.model_fields
    base = {name: value for name, value in values["base"].items() if name not in prompt}
    arms, evaluation = {"head": {"tuning": "none"}}, values["evaluation"]
    sweep = make_sweep(kind="grid", base={**base, **more}, arms=arms, seeds=(1,), evaluation=evaluation)
    return prepare("mine", sweep)


def test_a_head_alone_costs_one_forward_pass_however_long_it_is_trained(values: dict[str, Any]) -> None:
    few, many = (estimate(plan_heads(values, max_steps=steps, eval_steps=12)) for steps in (12, 120))
    assert few.num_operations == many.num_operations > 0
    assert many.num_tokens == 10 * few.num_tokens


def test_a_head_alone_costs_every_step_where_the_backbone_drops(values: dict[str, Any]) -> None:
    few, many = (
        estimate(plan_heads(values, max_steps=steps, eval_steps=steps, backbone_dropout=0.1)) for steps in (12, 120)
    )
    kept = estimate(plan_heads(values, max_steps=12, eval_steps=12))
    # 96 examples an epoch of 12 steps go forward and backward, and 24 + 30 are validated and tested
    assert few.num_operations == pytest.approx(kept.num_operations * (2 * 96 + 54) / (96 + 54), rel=0.05)
    assert many.num_operations == pytest.approx(kept.num_operations * (20 * 96 + 54) / (96 + 54), rel=0.05)


@pytest.mark.usefixtures("local_ray")
def test_the_rate_of_heads_alone_is_that_of_a_forward_pass(values: dict[str, Any]) -> None:
    assert 1e6 < measure_rate(plan_heads(values), Share(cpus=1, gpus=0.0)) < 1e14


@pytest.mark.usefixtures("local_ray")
def test_the_rate_is_measured_where_a_trial_would_run(values: dict[str, Any]) -> None:
    plan = prepare("mine", make_sweep(**values))
    assert 1e6 < measure_rate(plan, Share(cpus=1, gpus=0.0)) < 1e14
    with pytest.raises(InputError, match="no node that is up can hold a trial.*--tflops"):
        measure_rate(plan, Share(cpus=64, gpus=0.0))


def test_an_estimate_counts_the_examples_that_there_are(values: dict[str, Any]) -> None:
    values["base"] |= {"eval_steps": None, "max_train_examples": 8}
    few, more = (
        estimate(prepare("few", make_sweep(**{**values, "base": {**values["base"], "max_train_examples": cap}})))
        for cap in (8, None)
    )
    assert few.num_operations > more.num_operations  # an epoch is shorter, so there are more evaluations
