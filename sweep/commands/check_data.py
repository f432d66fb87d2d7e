"""The command `check-data`."""

from typing import Annotated

import typer
from rich.console import Console

from xpe_core.errors import InputError


def check_data(
    data: Annotated[
        list[str], typer.Argument(help="A file, a folder, a hub name, cldr, or a pattern in quotes: 'data/*.csv'.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="columns='text=NAME,label=NAME', task, dataset_config, on_bad_rows=skip, max_length."
        ),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", help="Count its tokens, too: a folder, a hub name, or e5-small.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every language and class, not the first ones only.")] = False,
) -> None:
    """Show what a data set is before anything is trained: languages, splits, classes, duplicates, bad rows, lengths."""
    from sweep.data_check.screen import check_data

    if len(data) > 1:
        raise InputError(
            f"check-data takes one data set, and these are {len(data)}: a pattern stands in quotes ('data/*.csv'), so "
            "that the shell leaves it as it is"
        )
    check_data(Console(), data[0], overrides or [], backbone, every)
