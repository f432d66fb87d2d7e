"""What a trial's or a run's state is called, in ledgers, tables and for people: the text is the value."""

from enum import StrEnum


class State(StrEnum):
    """Where a run or a trial is."""

    COMPLETE = "complete"
    """Trained to its end, and tested."""
    PRUNED = "pruned"
    """Stopped by the scheduler, as others were better."""
    FAILED = "failed"
    """Diverged, or given up after an error."""
    INFEASIBLE = "infeasible"
    """Of a trial: its configuration cannot be run, and is not tried again."""
    CRASHED = "crashed"
    """Of a trial: its code or data failed; the next start tries it again."""
    TRAINING = "training"
    """Of a run, while its worker trains it."""
    RUNNING = "running"
    """Not ended, with a driver at work on it."""
    UNFINISHED = "unfinished"
    """Not ended, and no driver is at work on it."""


RUN_ENDS = (State.COMPLETE, State.PRUNED, State.FAILED)
"""How a run ends; a trial's state is the first of these that one of its runs is in."""
