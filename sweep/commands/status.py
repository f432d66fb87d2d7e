"""The command `status`."""

from rich.console import Console

from sweep.commands.options import Kept, Storage


def status(name: Kept, storage: Storage = "results") -> None:
    """Show an experiment's trials and how far they are."""
    from sweep.report.inspection import print_status

    print_status(Console(), storage, name)
