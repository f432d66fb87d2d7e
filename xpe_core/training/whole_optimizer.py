"""Optimizers of runs that own their backbone's weights: hundreds of millions of numbers, updated in place.

AdamW is torch's fused one, in whose single pass over the numbers the gradient is clipped, too. Adafactor is the rule of
transformers' (no relative step, no parameter scaling), with as few passes over memory as it can be written with.

R runs; a parameter is [R, ...].
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from xpe_core.config import RunConfig
from xpe_core.pack import rate_and_decay
from xpe_core.stacked import Parameters
from xpe_core.training.optimizers import (
    ADAFACTOR_CLIP,
    ADAFACTOR_DECAY,
    ADAFACTOR_EPSILON,
    ADAM_BETAS,
    ADAM_EPSILON,
    schedule_factors,
)

CACHED = 2**17
"""Numbers that are worked on at once on a CPU."""


class WholeOptimizer:
    """Updates each run's parameters in place, one run after the other; same steps as those of `StackedOptimizer`."""

    def __init__(self, parameters: Parameters, configs: Sequence[RunConfig]) -> None:
        """Take stacked parameters by the names in a `Pack`, and the runs' configs; state starts at zero."""
        kind = _AdamW if configs[0].training.optimizer == "adamw" else _Adafactor
        self._rules = [
            kind({name: value[run] for name, value in parameters.items()}, config) for run, config in enumerate(configs)
        ]
        self._largest_norms = [config.training.max_grad_norm for config in configs]
        self._factors = [schedule_factors(config.training) for config in configs]

    def step(self, gradients: Mapping[str, Tensor], step: int, active: Tensor) -> Tensor:
        """Clip, take step number `step` (from 1) in the runs that are `active` [R], and return the norms [R].

        A run that is not active, or whose gradient's norm is not finite, keeps its parameters. Gradients are changed; a
        parameter without one keeps its values.
        """
        norms = torch.stack(
            [torch.stack([value[run].norm() for value in gradients.values()]).norm() for run in range(len(self._rules))]
        )
        for run, rule in enumerate(self._rules):
            scale = (self._largest_norms[run] / (norms[run] + 1e-6)).clamp(max=1)
            # the fused update reads a gradient in the order of the parameter's memory, whatever its strides are
            own = {name: value[run].contiguous() for name, value in gradients.items()}
            rule.step(own, scale, active[run] & norms[run].isfinite(), step, self._factors[run][step - 1])
        return norms

    def tensors(self) -> dict[str, Tensor]:
        """Return what the rule remembers of earlier steps, for a checkpoint."""
        return {
            f"{run}/{path}": value for run, rule in enumerate(self._rules) for path, value in rule.tensors().items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Remember what another optimizer of the same runs remembered."""
        for path, value in tensors.items():
            run, _, rest = path.partition("/")
            name, _, key = rest.rpartition("/")
            self._rules[int(run)].restore(name, key, value)


class _AdamW:
    """Torch's, of one run."""

    def __init__(self, parameters: Mapping[str, Tensor], config: RunConfig) -> None:
        self._parameters = parameters
        groups: dict[tuple[float, float], list[Tensor]] = defaultdict(list)
        for name, value in parameters.items():
            groups[rate_and_decay(name, config)].append(value)
        self._rates = [rate for rate, _ in groups]
        self._optimizer = torch.optim.AdamW(
            [{"params": values, "weight_decay": decay} for (_, decay), values in groups.items()],
            betas=ADAM_BETAS,
            eps=ADAM_EPSILON,
            fused=True,
        )

    def step(self, gradients: Mapping[str, Tensor], scale: Tensor, active: Tensor, step: int, factor: float) -> None:
        for name, value in self._parameters.items():
            value.grad = gradients.get(name)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        # what torch's own gradient scaler sets: gradients are divided by one, and nothing is done where the other is 1
        vars(self._optimizer).update(grad_scale=scale.reciprocal(), found_inf=(~active).float())
        self._optimizer.step()
        for value in self._parameters.values():
            value.grad = None

    def tensors(self) -> dict[str, Tensor]:
        return {
            f"{name}/{key}": value
            for name, parameter in self._parameters.items()
            for key, value in self._optimizer.state[parameter].items()
        }

    def restore(self, name: str, key: str, value: Tensor) -> None:
        parameter = self._parameters[name]
        self._optimizer.state[parameter][key] = value.to(parameter.device, copy=True)


class _Adafactor:
    """Shazeer and Stern 2018, of one run: a matrix's squares are kept as the means of its rows and columns."""

    def __init__(self, parameters: Mapping[str, Tensor], config: RunConfig) -> None:
        self._parameters = parameters
        self._rates = {name: rate_and_decay(name, config) for name in parameters}
        self._state: dict[str, dict[str, Tensor]] = {name: {} for name in parameters}

    def step(self, gradients: Mapping[str, Tensor], scale: Tensor, active: Tensor, step: int, factor: float) -> None:
        if not bool(active):
            return
        weight = step**ADAFACTOR_DECAY
        for name, gradient in gradients.items():
            change = gradient.mul_(scale)
            for part in _find_shares(change, self._state[name], weight):
                change.mul_(part)
            size = change.norm() / change.numel() ** 0.5
            rate, decay = self._rates[name]
            self._parameters[name].mul_(1 - rate * factor * decay)
            self._parameters[name].addcmul_(change, rate * factor / (size / ADAFACTOR_CLIP).clamp(min=1), value=-1)

    def tensors(self) -> dict[str, Tensor]:
        return {f"{name}/{key}": value for name, state in self._state.items() for key, value in state.items()}

    def restore(self, name: str, key: str, value: Tensor) -> None:
        self._state[name][key] = value.to(self._parameters[name].device, copy=True)


def _find_shares(gradient: Tensor, state: dict[str, Tensor], weight: float) -> Iterator[Tensor]:
    """Take note of a gradient's squares, and yield what it is multiplied with for an update at rate 1."""
    if gradient.ndim < 2:
        squares = gradient.square() + ADAFACTOR_EPSILON
        yield state.setdefault("squares", torch.zeros_like(gradient)).lerp_(squares, weight).rsqrt()
        return
    means = dict(zip(("rows", "columns"), _mean_squares(gradient), strict=True))
    rows, columns = (
        state.setdefault(key, torch.zeros_like(value)).lerp_(value, weight) for key, value in means.items()
    )
    yield (rows / rows.mean(-1, keepdim=True)).rsqrt()[..., None]
    yield columns.rsqrt()[..., None, :]


def _mean_squares(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean squares of a matrix's rows and columns; on a CPU, parts are squared that fit into its caches."""
    num_rows = max(CACHED // gradient.shape[-1], 1) if gradient.device.type == "cpu" else len(gradient)
    parts = gradient.split(num_rows) if gradient.ndim == 2 else [gradient]
    squares = (part.square() for part in parts)
    sums = [(part.mean(-1), part.sum(-2)) for part in squares]
    rows = torch.cat([of_rows for of_rows, _ in sums])
    columns = torch.stack([of_columns for _, of_columns in sums]).sum(0) / gradient.shape[-2]
    return rows + ADAFACTOR_EPSILON, columns + ADAFACTOR_EPSILON
