"""Answers as lines of tsv, csv or jsonl, on standard output or in a file that appears when it is whole."""

import csv
import io
import itertools
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO

import numpy as np

from xpe_core.data.table import Nested, Number
from xpe_core.errors import InputError

FORMATS = ("tsv", "csv", "jsonl")
ENDINGS = {"": "tsv", ".tsv": "tsv", ".txt": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
"""The format of a file whose name ends so."""

Cell = str | None
Write = Callable[[str], None]


def choose_format(name: str | None, to: Path | None) -> str:
    """Return the format that is asked for, or that the file's name says.

    InputError where it is none of FORMATS, or where the name's ending says another kind of file.
    """
    if name is not None and name.lower() not in FORMATS:
        raise InputError(f"--format {name}: must be one of {', '.join(FORMATS)}")
    if name is not None:
        return name.lower()
    ending = "" if to is None else to.suffix.lower()
    if ending not in ENDINGS:
        raise InputError(
            f"--to {to}: a {ending} file is not written; allowed are .tsv, .csv and .jsonl, "
            f"or another name with --format {'|'.join(FORMATS)}"
        )
    return ENDINGS[ending]


class AnswerLines:
    """Lines of one format: the answer in front, then what the row of the text had, column by column.

    A column of the file keeps its name; where it has the name of one of ours, ours is `predicted_...`.
    """

    def __init__(
        self,
        form: str,
        label_names: Sequence[str],
        with_probabilities: bool,
        columns: Sequence[str] | None = None,
        texts: Sequence[str] = ("text",),
    ) -> None:
        """Set them up for rows of `columns`; None: `texts` that stood in no table."""
        self._form = form
        self._label_names = label_names
        self._with_probabilities = with_probabilities
        self._in_table = columns is not None
        self._columns = tuple(texts if columns is None else columns)
        classes = label_names if with_probabilities and form != "jsonl" else ()
        others = ("probabilities",) if with_probabilities and form == "jsonl" else ()
        self._names: dict[str, str] = {}
        """What our columns are called."""
        taken = set(self._columns)
        for name in ("label", "probability", *others):
            taken.add(self._name(name, name, "predicted", taken))
        for name in classes:
            taken.add(self._name(f"class {name}", name, "probability_of", taken))

    def _name(self, key: str, name: str, prefix: str, taken: Collection[str]) -> str:
        numbers = (f"{prefix}_{name}_{number}" for number in itertools.count(2))
        self._names[key] = next(one for one in itertools.chain((name, f"{prefix}_{name}"), numbers) if one not in taken)
        return self._names[key]

    @property
    def notes(self) -> list[str]:
        """What is called otherwise than usual, in a sentence each."""
        usual = {key: key.removeprefix("class ") for key in self._names}
        return [
            f"the file has a column {usual[key]!r} of its own: the answer's is called {name!r}"
            for key, name in self._names.items()
            if name != usual[key]
        ]

    def header(self) -> str:
        """Return the first line: columns of CSV, of a table's rows, and of a table whose columns are classes."""
        if self._form == "jsonl" or (self._form == "tsv" and not self._with_probabilities and not self._in_table):
            return ""
        return self._join([[*self._names.values(), *self._columns]])

    def lines(self, rows: Sequence[Sequence[Cell]], probabilities: np.ndarray) -> str:
        """Return a line a row of cells, given the probabilities [N, C]; in `tsv` tabs and line ends become spaces."""
        best = probabilities.argmax(-1).tolist()
        if self._form == "jsonl":
            return "".join(map(self._to_json, rows, probabilities.tolist(), best))
        digits = 4 if self._form == "tsv" else 6
        answers = []
        for row, values, place in zip(rows, probabilities.tolist(), best, strict=True):
            classes = [f"{value:.{digits}f}" for value in values] if self._with_probabilities else []
            answers.append([self._label_names[place], f"{values[place]:.{digits}f}", *classes, *row])
        return self._join(answers)

    def _to_json(self, row: Sequence[Cell], probabilities: Sequence[float], place: int) -> str:
        names = self._names
        values: dict[str, object] = {
            names["label"]: self._label_names[place],
            names["probability"]: round(probabilities[place], 6),
            **dict(zip(self._columns, map(_to_value, row), strict=True)),
        }
        if self._with_probabilities:
            rounded = (round(value, 6) for value in probabilities)
            values[names["probabilities"]] = dict(zip(self._label_names, rounded, strict=True))
        return json.dumps(values, ensure_ascii=False) + "\n"

    def _join(self, rows: Sequence[Sequence[Cell]]) -> str:
        if self._form == "tsv":
            return "".join("\t".join(map(_flatten, row)) + "\n" for row in rows)
        buffer = io.StringIO()
        plain = csv.writer(buffer, lineterminator="\n")
        quoted = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL)
        for row in rows:  # csv quotes a lone carriage return from Python 3.13 on only
            (quoted if any("\r" in (cell or "") for cell in row) else plain).writerow(row)
        return buffer.getvalue()


def _to_value(cell: Cell) -> object:
    """Return what a cell was before it was text, where that is known."""
    if isinstance(cell, Nested):
        return json.loads(cell)
    if isinstance(cell, Number):
        return cell == "True" if cell in ("True", "False") else json.loads(cell.replace("inf", "Infinity"))
    return cell


def _flatten(cell: Cell) -> str:
    """Return a cell without what would end a field or a line."""
    text = cell or ""
    return " ".join(text.replace("\t", " ").splitlines()) if not text.isprintable() else text


@contextmanager
def open_output(to: Path | None) -> Iterator[Write]:
    """Give a function that writes; a file appears under its name when everything is written, and not at all before.

    Raises InputError where it cannot be written, and BrokenPipeError where nobody reads standard output any more.
    """
    if to is None or str(to) == "-":
        yield _write_out
        return
    if to.exists() and not to.is_file() and not to.is_dir():  # /dev/null or a pipe, which must not be replaced
        with _refused(f"--to {to}"):
            special = to.open("wb", buffering=0)
        with special:
            yield lambda text: _write_into(special, text, f"--to {to}")
        return
    if to.is_dir() or not to.parent.is_dir():
        what = "it is a folder" if to.is_dir() else f"there is no folder {to.parent}"
        raise InputError(f"--to {to}: {what}")
    with _refused(f"--to {to}"):
        file = NamedTemporaryFile("w", dir=to.parent, prefix=f".{to.name}.", delete=False, encoding="utf-8", newline="")

    def write(text: str) -> None:
        with _refused(f"--to {to}"):
            file.write(text)

    try:
        yield write
        with _refused(f"--to {to}"):
            file.close()
            os.chmod(file.name, 0o666 & ~_read_umask())  # a temporary file is its owner's alone
            os.replace(file.name, to)
    except BaseException:
        with suppress(OSError):  # a full disk refuses what is still buffered, too
            file.close()
        Path(file.name).unlink(missing_ok=True)
        raise


def _write_out(text: str) -> None:
    _write_into(sys.stdout.buffer, text, "standard output")


def _write_into(file: BinaryIO, text: str, where: str) -> None:
    with _refused(where):
        file.write(text.encode())
        file.flush()


@contextmanager
def _refused(where: str) -> Iterator[None]:
    """Turn what the system says into a sentence, but let a broken pipe through."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"{where}: cannot be written: {error.strerror}") from None


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
