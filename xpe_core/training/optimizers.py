"""Optimizers of a whole pack: one update of the stacked parameters, with every run's own rates, decay and norm.

The two rules are those of torch's AdamW and of transformers' Adafactor with a set rate (Shazeer and Stern 2018), run by
run: whatever these sum or average over a parameter is summed or averaged within a run. Nothing here waits for the
device.

R runs; a parameter is [R, ...].
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import optimization

from xpe_core.config import RunConfig
from xpe_core.pack import rate_and_decay
from xpe_core.parts import TrainingConfig
from xpe_core.stacked import Parameters

ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8
ADAFACTOR_DECAY = -0.8
ADAFACTOR_EPSILON = 1e-30
ADAFACTOR_CLIP = 1.0
"""Largest root mean square of an update before the rate."""


class StackedOptimizer:
    """Updates all runs' parameters in place; which rule is in the configs' `optimizer`."""

    def __init__(self, parameters: Parameters, configs: Sequence[RunConfig]) -> None:
        """Take stacked parameters by the names in a `Pack`, and the runs' configs; state starts at zero."""
        self._parameters = parameters
        self._update = {"adamw": _adamw, "adafactor": _adafactor}[configs[0].training.optimizer]
        self._state: dict[str, dict[str, Tensor]] = {name: {} for name in parameters}
        device = next(iter(parameters.values())).device
        kinds = {name: [rate_and_decay(name, config) for config in configs] for name in parameters}
        self._rates = {name: _column(device, [rate for rate, _ in kind]) for name, kind in kinds.items()}
        self._decays = {name: _column(device, [decay for _, decay in kind]) for name, kind in kinds.items()}
        self._largest_norms = _column(device, [config.training.max_grad_norm for config in configs])
        self._factors = torch.tensor([schedule_factors(config.training) for config in configs]).to(device)  # [R, steps]

    def step(self, gradients: Parameters, step: int, active: Tensor) -> Tensor:
        """Clip, take step number `step` (from 1) in the runs that are `active` [R], and return the norms [R].

        A run that is not active, or whose gradient's norm is not finite, keeps its parameters.
        """
        norms = torch.stack([values.flatten(1).norm(dim=1) for values in gradients.values()]).norm(dim=0)
        scales = (self._largest_norms / (norms + 1e-6)).clamp(max=1)
        active = active & norms.isfinite()
        factors = self._factors[:, step - 1]
        for name, parameter in self._parameters.items():
            gradient = gradients[name] * _align(scales, parameter)
            rates, decays = _align(self._rates[name] * factors, parameter), _align(self._decays[name], parameter)
            change = self._update(gradient, self._state[name], step) * rates + parameter * (rates * decays)
            parameter.sub_(torch.where(_align(active, parameter), change, 0))
        return norms

    def tensors(self) -> dict[str, Tensor]:
        """Return what the rule remembers of earlier steps, for a checkpoint."""
        return {f"{name}/{key}": value for name, state in self._state.items() for key, value in state.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Remember what another optimizer of the same runs remembered."""
        for path, value in tensors.items():
            name, _, key = path.rpartition("/")
            self._state[name][key] = value.to(self._parameters[name].device)


def schedule_factors(config: TrainingConfig) -> list[float]:
    """Return what a run's rates are multiplied with at each of its steps."""
    warmup, total = math.ceil(config.warmup_ratio * config.max_steps), config.max_steps
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)  # transformers' schedules need one
    if config.schedule == "cosine_with_restarts":
        schedule = optimization.get_cosine_with_hard_restarts_schedule_with_warmup(
            optimizer, warmup, total, num_cycles=config.num_cycles
        )
    elif config.schedule == "constant":
        schedule = optimization.get_constant_schedule_with_warmup(optimizer, warmup)
    else:
        falling = {
            "cosine": optimization.get_cosine_schedule_with_warmup,
            "linear": optimization.get_linear_schedule_with_warmup,
        }
        schedule = falling[config.schedule](optimizer, warmup, total)
    return [schedule.lr_lambdas[0](step) for step in range(total)]


def _adamw(gradient: Tensor, state: dict[str, Tensor], step: int) -> Tensor:
    """Return the change [R, ...] at rate 1, by Loshchilov and Hutter 2019."""
    if not state:
        state.update(mean=torch.zeros_like(gradient), square=torch.zeros_like(gradient))
    state["mean"].lerp_(gradient, 1 - ADAM_BETAS[0])
    state["square"].mul_(ADAM_BETAS[1]).addcmul_(gradient, gradient, value=1 - ADAM_BETAS[1])
    mean = state["mean"] / (1 - ADAM_BETAS[0] ** step)
    return mean / (state["square"] / (1 - ADAM_BETAS[1] ** step)).sqrt_().add_(ADAM_EPSILON)


def _adafactor(gradient: Tensor, state: dict[str, Tensor], step: int) -> Tensor:
    """Return the change [R, ...] at rate 1: a matrix's squares are kept as the means of its rows and columns."""
    weight = step**ADAFACTOR_DECAY  # of the new squares
    squares = gradient.square().add_(ADAFACTOR_EPSILON)
    if gradient.ndim > 2:
        if not state:
            state.update(rows=torch.zeros_like(squares[..., 0]), columns=torch.zeros_like(squares[..., 0, :]))
        rows = state["rows"].lerp_(squares.mean(-1), weight)
        columns = state["columns"].lerp_(squares.mean(-2), weight)
        shares = (rows / rows.mean(-1, keepdim=True)).rsqrt()
        change = gradient * shares[..., None] * columns.rsqrt()[..., None, :]
    else:
        if not state:
            state.update(squares=torch.zeros_like(squares))
        change = gradient * state["squares"].lerp_(squares, weight).rsqrt()
    sizes = change.flatten(1).square().mean(1).sqrt()  # [R]
    return change / _align((sizes / ADAFACTOR_CLIP).clamp(min=1), change)


def _column(device: torch.device, values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).to(device)


def _align(values: Tensor, parameter: Tensor) -> Tensor:
    """Return one value a run [R], shaped so that it multiplies a parameter [R, ...]."""
    return values.view(-1, *[1] * (parameter.ndim - 1))
