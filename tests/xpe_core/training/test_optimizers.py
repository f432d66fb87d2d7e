"""Optimizers of packs against torch's and transformers' own, each run by itself."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.optimization import Adafactor

from tests.making.runs import make_run
from xpe_core.config import RunConfig
from xpe_core.pack import rate_and_decay
from xpe_core.parts import TrainingConfig
from xpe_core.training.optimizers import StackedOptimizer, schedule_factors
from xpe_core.training.whole_optimizer import WholeOptimizer

SHAPES = {
    "prompt.soft.embedding.weight": (3, 8),
    "prompt.encoded.embedding.weight": (2, 8),
    "prompt.encoded.layers.0.weight": (5, 8),
    "prompt.encoded.layers.0.bias": (5,),
    "head.out.weight": (4, 8),
    "head.out.bias": (4,),
}
NUM_STEPS = 8
KINDS = [StackedOptimizer, WholeOptimizer]
Kind = type[StackedOptimizer | WholeOptimizer]


def build_configs(optimizer: str) -> list[RunConfig]:
    """Return three runs that share nothing but the optimizer."""
    shared: dict[str, Any] = {"encoder_ratio": 0.4, "optimizer": optimizer, "max_steps": NUM_STEPS}
    names = ("learning_rate", "prompt_learning_rate", "encoder_prompt_learning_rate")
    decays = ("weight_decay", "prompt_weight_decay", "encoder_prompt_weight_decay")
    settings: list[dict[str, Any]] = [
        {"max_grad_norm": 1.0, "schedule": "constant", "warmup_ratio": 0.0},
        {"max_grad_norm": 0.3, "schedule": "linear", "warmup_ratio": 0.25},
        # above the norms of the first steps, which are then left as they are, and below those of the last
        {"max_grad_norm": 6.0, "schedule": "cosine_with_restarts", "warmup_ratio": 0.1},
    ]
    return [
        RunConfig(
            **shared,
            **setting,
            **{name: 0.01 * (place + 1) * (number + 1) for number, name in enumerate(names)},
            **{name: 0.1 * (place + number) for number, name in enumerate(decays)},
        )
        for place, setting in enumerate(settings)
    ]


def draw(seed: int, scale: float = 1.0) -> dict[str, Tensor]:
    """Return random numbers of three runs' shapes, not all in the order of memory, as gradients may be."""
    generator = torch.Generator().manual_seed(seed)
    drawn = {name: scale * torch.randn(3, *shape, generator=generator) for name, shape in SHAPES.items()}
    return {name: value.mT.contiguous().mT if value.ndim > 2 else value for name, value in drawn.items()}


def start() -> dict[str, Tensor]:
    """Return where the parameters of three runs begin."""
    return {name: value.contiguous() for name, value in draw(0).items()}


def build_plain(parameters: dict[str, nn.Parameter], config: RunConfig) -> torch.optim.Optimizer:
    groups = []
    for name, parameter in parameters.items():
        rate, decay = rate_and_decay(name, config)
        groups.append({"params": [parameter], "lr": rate, "weight_decay": decay})
    if config.training.optimizer == "adamw":
        return torch.optim.AdamW(groups)
    return Adafactor(groups, scale_parameter=False, relative_step=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_every_run_moves_as_under_the_plain_optimizer_alone(optimizer: str, kind: Kind) -> None:
    configs = build_configs(optimizer)
    stacked = start()
    starts = {name: value.clone() for name, value in stacked.items()}
    own = kind(stacked, configs)
    everybody = torch.ones(3, dtype=torch.bool)
    norms = [own.step(draw(step, 0.1 * step), step, everybody) for step in range(1, NUM_STEPS + 1)]
    for place, config in enumerate(configs):
        plain = {name: nn.Parameter(value[place].clone()) for name, value in starts.items()}
        reference = build_plain(plain, config)
        schedule = torch.optim.lr_scheduler.LambdaLR(reference, schedule_factors(config.training).__getitem__)
        for step in range(1, NUM_STEPS + 1):
            for name, gradient in draw(step, 0.1 * step).items():
                plain[name].grad = gradient[place].clone()
            norm = nn.utils.clip_grad_norm_(plain.values(), config.training.max_grad_norm)
            torch.testing.assert_close(norms[step - 1][place], norm)
            reference.step()
            if step < NUM_STEPS:
                schedule.step()
        for name, value in plain.items():
            torch.testing.assert_close(stacked[name][place], value.data, atol=2e-6, rtol=0)
            assert (value - starts[name][place]).abs().max() > 1e-2, name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
@pytest.mark.parametrize("trouble", [math.inf, math.nan, None])
def test_a_run_that_is_not_active_or_not_finite_stays_where_it_is_and_others_move(
    optimizer: str, trouble: float | None, kind: Kind
) -> None:
    configs = build_configs(optimizer)
    mixed, sound = start(), start()
    starts = {name: value.clone() for name, value in mixed.items()}
    troubled, untroubled = kind(mixed, configs), kind(sound, configs)
    active = torch.tensor([True, trouble is not None, True])
    for step in range(1, 4):
        gradients = draw(step)
        untroubled.step({name: value.clone() for name, value in gradients.items()}, step, torch.ones(3) > 0)
        if trouble is not None:
            gradients["head.out.weight"][1, 0, 0] = trouble
        norms = troubled.step(gradients, step, active)
        assert norms.isfinite().tolist() == [True, trouble is None, True]
    for name, value in mixed.items():
        assert torch.equal(value[1], starts[name][1])
        assert torch.equal(value[[0, 2]], sound[name][[0, 2]])
        assert not torch.isclose(value[[0, 2]], starts[name][[0, 2]], atol=1e-4, rtol=0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_an_optimizer_goes_on_where_another_one_stood(optimizer: str, kind: Kind) -> None:
    configs, everybody = build_configs(optimizer), torch.ones(3, dtype=torch.bool)
    whole, parted = start(), start()
    first, second, third = kind(whole, configs), kind(parted, configs), kind(parted, configs)
    for step in range(1, 5):
        first.step(draw(step), step, everybody)
    for step in range(1, 3):
        second.step(draw(step), step, everybody)
    third.restore({name: value.clone() for name, value in second.tensors().items()})
    for step in range(3, 5):
        third.step(draw(step), step, everybody)
    assert all(torch.equal(value, parted[name]) for name, value in whole.items())


def test_a_large_matrix_is_updated_as_by_the_plain_optimizer() -> None:
    """Its squares are averaged in parts."""
    config = RunConfig(tuning="none", optimizer="adafactor", max_steps=3, warmup_ratio=0.0, learning_rate=0.01)
    start = torch.randn(1, 700, 400, generator=torch.Generator().manual_seed(0))
    own = WholeOptimizer({"head.out.weight": (value := start.clone())}, [config])
    plain = nn.Parameter(start[0].clone())
    reference = build_plain({"head.out.weight": plain}, config)
    for step in range(1, 4):
        gradient = torch.randn(1, 700, 400, generator=torch.Generator().manual_seed(step))
        plain.grad = gradient[0].clone()
        nn.utils.clip_grad_norm_([plain], config.training.max_grad_norm)
        reference.param_groups[0]["lr"] = 0.01 * schedule_factors(config.training)[step - 1]
        reference.step()
        own.step({"head.out.weight": gradient}, step, torch.ones(1, dtype=torch.bool))
    torch.testing.assert_close(value[0], plain.data, atol=1e-6, rtol=0)


def test_every_parameter_gets_the_rate_and_decay_of_its_kind() -> None:
    rates = {"prompt_learning_rate": 0.1, "encoder_prompt_learning_rate": 0.2, "learning_rate": 0.3}
    decays = {"prompt_weight_decay": 0.01, "encoder_prompt_weight_decay": 0.02, "weight_decay": 0.03}

    def find(ratio: float) -> dict[str, tuple[float, float]]:
        config = RunConfig(**rates, **decays, encoder_ratio=ratio, num_virtual_tokens=4, encoder_hidden_size=8)
        return {name: rate_and_decay(name, config) for name, _ in make_run(config, 16, 3).named_parameters()}

    found = find(0.5)
    assert found.pop("prompt.soft.embedding.weight") == (0.1, 0.01)
    assert found.pop("prompt.encoded.embedding.weight") == (0.2, 0.02)
    assert {value for name, value in found.items() if name.endswith("weight")} == {(0.3, 0.03)}
    assert {value for name, value in found.items() if name.endswith("bias")} == {(0.3, 0.0)}
    assert len(found) == 10
    # the same name, but once the directly trained tokens and once the encoder's
    assert find(0.0)["prompt.embedding.weight"] == (0.1, 0.01)
    assert find(1.0)["prompt.embedding.weight"] == (0.2, 0.02)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 0.75, 0.5, 0.25]),
        ("cosine", [0.5, 1] + [(1 + math.cos(math.pi * part)) / 2 for part in (0.25, 0.5, 0.75)]),
        ("cosine_with_restarts", [0.5, 1, 0.5, 1, 0.5]),
    ],
)
def test_rates_rise_and_fall_as_the_schedule_says(schedule: str, expected: list[float]) -> None:
    factors = schedule_factors(TrainingConfig(schedule=schedule, max_steps=10, warmup_ratio=0.2))
    assert len(factors) == 10
    assert factors[0] == 0  # the first step is the schedule's 0th, as under transformers' Trainer
    assert [factors[step] for step in (1, 2, 4, 6, 8)] == pytest.approx(expected)


def test_a_part_of_a_step_of_warm_up_is_a_whole_one() -> None:
    factors = schedule_factors(TrainingConfig(schedule="constant", max_steps=25, warmup_ratio=0.1))  # 2.5 steps
    assert factors[:5] == pytest.approx([0, 1 / 3, 2 / 3, 1, 1])


def test_without_a_warm_up_the_first_step_has_the_whole_rate() -> None:
    assert schedule_factors(TrainingConfig(schedule="linear", max_steps=4, warmup_ratio=0)) == [1, 0.75, 0.5, 0.25]
