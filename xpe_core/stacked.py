"""Parameters of several runs, stacked along a first dimension, and one run's module called for all of them."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.func import functional_call, vmap

from xpe_core.dropout import Masks

if TYPE_CHECKING:
    from xpe_core.tunings.tuning import Output

_MODULES = threading.Lock()
"""functional_call puts parameters into the module for the time of a call, so one thread at a time may make one."""

Parameters = dict[str, Tensor]
"""Parameters of several runs by name, each [R, ...]."""


def take_runs(parameters: Parameters, runs: Sequence[int]) -> Parameters:
    """Return the parameters of some runs, as views where these are neighbours."""
    places = find_places(runs)
    return {name: value[places] for name, value in parameters.items()}


def find_places(runs: Sequence[int]) -> slice | list[int]:
    """Return an index of runs in stacked tensors: a slice where they are neighbours, which copies nothing."""
    first, last = runs[0], runs[-1]
    return slice(first, last + 1) if list(runs) == list(range(first, last + 1)) else list(runs)


def call_stacked(module: nn.Module, prefix: str, parameters: Parameters, *inputs: Tensor | Masks) -> "Output":
    """Call one run's module for every run, with those of the stacked `parameters` whose names have the prefix."""
    own = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}

    def call(values: Parameters, *arguments: Tensor | Masks) -> "Output":
        output: Output = functional_call(module, values, arguments)
        return output

    if not own:
        return {}
    with _MODULES:
        stacked: Output = vmap(call)(own, *inputs)
    return stacked


def add_prefix(prefix: str, tensors: Parameters) -> Parameters:
    """Return tensors by their names behind a prefix and a dot."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def take_prefix(prefix: str, tensors: Parameters) -> Parameters:
    """Return those tensors whose names have the prefix, by what stands behind it."""
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
