"""Supervised transfer: runs of a pack that are each trained on one language, from another run's trained parts."""

from collections.abc import Sequence
from dataclasses import dataclass

from xpe_core.errors import InputError
from xpe_core.pack import Pack
from xpe_core.stacked import Parameters


@dataclass(frozen=True, eq=False)
class Further:
    """What a run of a pack is trained on in the place of its configuration's source set, and from where."""

    run_id: str
    """Its own: runs of one configuration and seed on several languages are several runs."""
    language: str
    """What it is trained on and chosen by."""
    parameters: Parameters | None = None
    """Where it starts, by the names in a `Pack`; None: where its seed says, as any run."""


def place_parameters(model: Pack, further: Sequence[Further]) -> None:
    """Let every run of a pack start where it is to; InputError where the parts are not its own kind of parts."""
    if len(further) != len(model.configs):
        raise InputError(f"{len(further)} runs to be trained further in a pack of {len(model.configs)}")
    for index, run in enumerate(further):
        if run.parameters is None:
            continue
        shapes = {name: value.shape for name, value in run.parameters.items()}
        if shapes != {name: value.shape[1:] for name, value in model.parameters.items()}:
            raise InputError(f"run {run.run_id} cannot go on from trained parts of another shape than its own")
        for name, value in run.parameters.items():
            model.parameters[name][index] = value
