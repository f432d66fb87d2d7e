"""The command `show`."""

from typing import Annotated

import typer
from rich.console import Console

from sweep.commands.options import Storage


def show(
    run_id: Annotated[str, typer.Argument(help="A run's id, or its first digits (or EXPERIMENT:ID).")],
    storage: Storage = "results",
) -> None:
    """Show a run: its configuration, where it came from, and its result by language."""
    from sweep.report.one_run import print_run

    print_run(Console(), storage, run_id)
