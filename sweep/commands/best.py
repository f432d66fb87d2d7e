"""The command `best`."""

from typing import Annotated

import typer
from rich.console import Console

from sweep.commands.options import Exclude, Kept, Metric, Storage
from xpe_core.tunings import METHOD_NAMES


def best(
    name: Kept,
    purpose: Annotated[
        str | None, typer.Option("--for", help="By test score on a target group, or GROUP=WEIGHT,GROUP=WEIGHT.")
    ] = None,
    method: Annotated[str | None, typer.Option("--method", help=f"Only of one of {', '.join(METHOD_NAMES)}.")] = None,
    panel: Annotated[
        str | None, typer.Option("--panel", help="Of this backbone or data set, where it has several.")
    ] = None,
    exclude: Exclude = None,
    metric: Metric = None,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="The whole experiment file (as where standard output is no terminal).")
    ] = False,
    storage: Storage = "results",
) -> None:
    """Show the best configuration and where its adapters lie; `best NAME > FILE` writes it as an experiment file."""
    from sweep.report.best import best as print_best

    print_best(Console(), storage, name, purpose, method, exclude, as_yaml, metric, panel)
