"""The command `predict`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from sweep.commands.options import Storage

Adapter = Annotated[
    str, typer.Argument(help="An adapter: a file, a folder, hub:USER/NAME; or an experiment, for its best.")
]
OneText = Annotated[
    list[str] | None, typer.Option("--text", help="A text; may be given several times, two for a pair.")
]
File = Annotated[
    Path | None,
    typer.Option("--file", help="One text a line, or a table: .tsv, .csv, .jsonl, .json, .parquet; also .gz."),
]
Column = Annotated[
    str | None, typer.Option("--column", help="The table's column with the texts (text, or what else says so).")
]
To = Annotated[Path | None, typer.Option("--to", help="File for the answers (standard output).")]
Form = Annotated[str | None, typer.Option("--format", help="tsv, csv or jsonl (as --to ends, else tsv).")]
Probabilities = Annotated[bool, typer.Option("--probabilities", help="Those of all classes, too.")]
Backbone = Annotated[
    str | None, typer.Option("--backbone", help="The adapter's backbone in another place: a folder or hub name.")
]
Classes = Annotated[
    str | None, typer.Option("--classes", help="Names of unnamed classes in logits' order: a,b,c or @FILE.")
]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda or cuda:1 (a GPU, if any).")]
Precision = Annotated[
    str | None, typer.Option("--precision", help="float32 or bfloat16 (as trained, where the device has it).")
]


def predict(
    adapter: Adapter,
    text: OneText = None,
    file: File = None,
    column: Column = None,
    to: To = None,
    form: Form = None,
    probabilities: Probabilities = False,
    backbone: Backbone = None,
    classes: Classes = None,
    device: Device = None,
    precision: Precision = None,
    storage: Storage = "results",
) -> None:
    """Classify texts, or answer questions, with a trained adapter: an answer a line, in the order of the texts.

    Of texts: label, probability and text. Of questions about passages: answer, place, score, and both texts.

    A table's rows keep all their columns, behind the answer. Without --text and --file: standard input, one text a
    line. Of a task about pairs: two columns, or two texts a line with a tab between them.
    """
    from sweep.experiment.classes import read_classes
    from sweep.prediction import prediction

    names = read_classes(classes) if classes is not None else None
    if not (os.path.isfile(os.path.expanduser(adapter)) or adapter.startswith("hub:")):
        from sweep.analysis.chosen_adapter import locate_adapter  # slow to import, and seldom needed

        adapter = locate_adapter(adapter, storage)
    request = prediction.Request(
        adapter, text or (), file, column, to, form, probabilities, backbone, device, precision, names
    )
    raise typer.Exit(prediction.predict(request))
