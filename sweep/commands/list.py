"""The command `list`."""

from rich.console import Console

from sweep.commands.options import Storage


def list_experiments(storage: Storage = "results") -> None:
    """List the experiments in the storage, how far each is, and whether a driver is at work on it."""
    from sweep.report.inspection import print_experiments

    print_experiments(Console(), storage)
