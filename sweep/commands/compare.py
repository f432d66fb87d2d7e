"""The command `compare`."""

from typing import Annotated

import typer
from rich.console import Console

from sweep.commands.options import Exclude, Metric, Storage


def compare(
    first: Annotated[str, typer.Argument(help="An arm, EXPERIMENT:arm, config_id, run_id or experiment.")],
    second: Annotated[str, typer.Argument(help="What it is compared with.")],
    purpose: Annotated[str | None, typer.Option("--for", help="Only on this target group, or several.")] = None,
    exclude: Exclude = None,
    metric: Metric = None,
    storage: Storage = "results",
) -> None:
    """Show the paired difference of two configurations, runs or experiments."""
    from sweep.report import commands

    commands.compare_two(Console(), storage, first, second, purpose, exclude, metric)
