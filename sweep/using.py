"""The commands for texts and data of one's own: predict and check-data."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sweep.kept import Storage
from xpe_core.errors import InputError

using = typer.Typer()


@using.command()
def predict(
    adapter: Annotated[
        str,
        typer.Argument(help="An adapter: a file, a folder, hub:USER/NAME; or an experiment, for its best."),
    ],
    text: Annotated[list[str] | None, typer.Option("--text", help="A text; may be given several times.")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="One text a line, or a table: .tsv, .csv, .jsonl, .json, .parquet; also .gz."),
    ] = None,
    column: Annotated[
        str | None, typer.Option("--column", help="The table's column with the texts (text, or what else says so).")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", help="File for the answers (standard output).")] = None,
    form: Annotated[str | None, typer.Option("--format", help="tsv, csv or jsonl (as --to ends, else tsv).")] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Those of all classes, too.")] = False,
    backbone: Annotated[
        str | None, typer.Option("--backbone", help="The adapter's backbone in another place: a folder or hub name.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option("--classes", help="Names of unnamed classes in logits' order: a,b,c or @FILE.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda or cuda:1 (a GPU, if any).")] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="float32 or bfloat16 (as trained, where the device has it).")
    ] = None,
    storage: Storage = "results",
) -> None:
    """Classify texts with a trained adapter: label, probability and text, a line each, in the order of the texts.

    A table's rows keep all their columns, behind the answer. Without --text and --file: standard input, one text a
    line.
    """
    from sweep import prediction
    from sweep.classes import read_classes

    names = read_classes(classes) if classes is not None else None
    if not (os.path.isfile(os.path.expanduser(adapter)) or adapter.startswith("hub:")):
        from sweep.choosing import locate_adapter  # slow to import, and seldom needed

        adapter = locate_adapter(adapter, storage)
    status = prediction.predict(
        adapter, text or [], file, column, to, form, probabilities, backbone, device, precision, names
    )
    raise typer.Exit(status)


@using.command(name="check-data")
def check_data(
    data: Annotated[
        list[str], typer.Argument(help="A file, a folder, a hub name, cldr, or a pattern in quotes: 'data/*.csv'.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="columns='text=NAME,label=NAME', dataset_config, on_bad_rows=skip, or max_length."),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", help="Count its tokens, too: a folder, a hub name, or e5-small.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every language and class, not the first ones only.")] = False,
) -> None:
    """Show what a data set is before anything is trained: languages, splits, classes, duplicates, bad rows, lengths."""
    from sweep.data_screen import check_data

    if len(data) > 1:
        raise InputError(
            f"check-data takes one data set, and these are {len(data)}: a pattern stands in quotes ('data/*.csv'), so "
            "that the shell leaves it as it is"
        )
    check_data(Console(), data[0], overrides or [], backbone, every)
