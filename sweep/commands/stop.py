"""The command `stop`."""

from rich.console import Console

from sweep.commands.options import Kept, Storage


def stop(name: Kept, storage: Storage = "results") -> None:
    """Ask the driver that is at work on an experiment to write checkpoints and end."""
    from sweep.report.inspection import stop_experiment

    stop_experiment(Console(), storage, name)
