"""The command `report`."""

from typing import Annotated

import typer
from rich.console import Console

from sweep.commands.options import Exclude, Metric, Storage
from xpe_core.tunings import BASELINES


def report(
    names: Annotated[list[str], typer.Argument(help="Experiments below the storage.")],
    baseline: Annotated[
        str | None, typer.Option("--baseline", help=f"The arm to compare with ({BASELINES[0]}).")
    ] = None,
    exclude: Exclude = None,
    metric: Metric = None,
    form: Annotated[
        str | None, typer.Option("--format", help="terminal, html (a page with charts), markdown, csv or latex.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Folder for files, or PAGE.html (NAME/report below the storage).")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Print every table, not the answer and the main one only.")
    ] = False,
    languages: Annotated[
        bool, typer.Option("--languages", help="Print every language, not the extremes only.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep the page and the terminal up to date until the experiments end.")
    ] = False,
    storage: Storage = "results",
) -> None:
    """Say which configuration is better, for which languages, and whether it is real."""
    from sweep.report import commands

    commands.report(Console(), storage, names, baseline, exclude, form, to, languages, watch, everything, metric)
