"""Which readouts answer which tasks."""

from typing import TYPE_CHECKING

from xpe_core.errors import InputError
from xpe_core.readouts import READOUTS
from xpe_core.tasks import TASKS

if TYPE_CHECKING:
    from xpe_core.config import RunConfig


def check_answers(config: "RunConfig") -> None:
    """Raise InputError where a run's readout gives another kind of answer than its task asks for."""
    name, asks = config.readout.readout, TASKS[config.task].asks
    if READOUTS[name].gives != asks:
        fitting = ", ".join(other for other, readout in READOUTS.items() if readout.gives == asks)
        raise InputError(
            f"task={config.task}: asks for another kind of answer than readout={name} gives; "
            f"allowed is readout={fitting}"
        )
