"""Answers as lines of tsv, csv or jsonl, on standard output or in a file that appears when it is whole."""

import csv
import io
import itertools
import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, Generic, NamedTuple, TypeVar

import numpy as np

from xpe_core.answerer import SpanAnswer
from xpe_core.data.table import Nested, Number
from xpe_core.errors import InputError

FORMATS = ("tsv", "csv", "jsonl")
ENDINGS = {"": "tsv", ".tsv": "tsv", ".txt": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
"""The format of a file whose name ends so."""

SPAN_COLUMNS = ("answer", "start", "score")

Cell = str | None
Write = Callable[[str], None]
Answers = TypeVar("Answers")


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


class OwnColumn(NamedTuple):
    """A column of answers."""

    key: str
    name: str
    prefix: str = "predicted"
    """What stands before the name where the table has a column of that name, too."""


class Lines(ABC, Generic[Answers]):
    """Lines of one format: the answer in front, then what the row of the text had, column by column.

    A column of the file keeps its name; where it has the name of one of ours, ours is `predicted_...`.
    """

    def __init__(
        self,
        form: str,
        own: Sequence[OwnColumn],
        columns: Sequence[str] | None = None,
        texts: Sequence[str] = ("text",),
    ) -> None:
        """Set them up for rows of `columns`; None: `texts` that stood in no table. `own` are our columns."""
        self._form = form
        self._in_table = columns is not None
        self._columns = tuple(texts if columns is None else columns)
        self._own = own
        self.names: dict[str, str] = {}
        """What our columns are called, by their keys."""
        taken = set(self._columns)
        for key, name, prefix in own:
            numbers = (f"{prefix}_{name}_{number}" for number in itertools.count(2))
            choices = itertools.chain((name, f"{prefix}_{name}"), numbers)
            self.names[key] = next(one for one in choices if one not in taken)
            taken.add(self.names[key])

    @abstractmethod
    def cells(self, answers: Answers, digits: int = 4) -> list[list[str]]:
        """Return our columns of each answer, numbers with so many digits."""

    @abstractmethod
    def values(self, answers: Answers) -> list[dict[str, object]]:
        """Return our fields of each answer's JSON object, by the keys of our columns."""

    @property
    def _needs_header(self) -> bool:
        """Whether columns of ours must be named even where no table's are."""
        return False

    @property
    def notes(self) -> list[str]:
        """What is called otherwise than usual, in a sentence each."""
        return [
            f"the file has a column {name!r} of its own: the answer's is called {self.names[key]!r}"
            for key, name, _ in self._own
            if name != self.names[key]
        ]

    def header(self) -> str:
        """Return the first line: columns of CSV, of a table's rows, and of a table whose columns are classes."""
        if self._form == "jsonl" or (self._form == "tsv" and not self._needs_header and not self._in_table):
            return ""
        return self._join([[*self.names.values(), *self._columns]])

    def lines(self, rows: Sequence[Sequence[Cell]], answers: Answers) -> str:
        """Return a line a row of cells, given their answers; in `tsv` tabs and line ends become spaces."""
        if self._form == "jsonl":
            return "".join(map(self._to_json, rows, self.values(answers)))
        own = self.cells(answers, 4 if self._form == "tsv" else 6)
        return self._join([[*cells, *row] for row, cells in zip(rows, own, strict=True)])

    def _to_json(self, row: Sequence[Cell], own: Mapping[str, object]) -> str:
        values = {self.names[key]: value for key, value in own.items()}
        values |= dict(zip(self._columns, map(_to_value, row), strict=True))
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


class ClassLines(Lines[np.ndarray]):
    """Label and probability of each text, given the probabilities [N, C], and where asked for those of all classes."""

    def __init__(
        self,
        form: str,
        label_names: Sequence[str],
        with_probabilities: bool,
        columns: Sequence[str] | None = None,
        texts: Sequence[str] = ("text",),
    ) -> None:
        """See `Lines`; with all probabilities a class is a column, in JSON all are one field."""
        self._label_names = label_names
        self._with_probabilities = with_probabilities
        own = [OwnColumn(name, name) for name in ("label", "probability")]
        if with_probabilities and form == "jsonl":
            own.append(OwnColumn("probabilities", "probabilities"))
        elif with_probabilities:
            own += [OwnColumn(f"class {name}", name, "probability_of") for name in label_names]
        super().__init__(form, own, columns, texts)

    @property
    def _needs_header(self) -> bool:
        return self._with_probabilities

    def cells(self, answers: np.ndarray, digits: int = 4) -> list[list[str]]:
        """See `Lines`."""
        rows = []
        for values, place in zip(answers.tolist(), answers.argmax(-1).tolist(), strict=True):
            classes = [f"{value:.{digits}f}" for value in values] if self._with_probabilities else []
            rows.append([self._label_names[place], f"{values[place]:.{digits}f}", *classes])
        return rows

    def values(self, answers: np.ndarray) -> list[dict[str, object]]:
        """See `Lines`."""
        rows: list[dict[str, object]] = []
        for values, place in zip(answers.tolist(), answers.argmax(-1).tolist(), strict=True):
            rows.append({"label": self._label_names[place], "probability": round(values[place], 6)})
            if self._with_probabilities:
                rounded = (round(value, 6) for value in values)
                rows[-1]["probabilities"] = dict(zip(self._label_names, rounded, strict=True))
        return rows


class SpanLines(Lines[list[SpanAnswer]]):
    """Answer, place and score of each question."""

    def __init__(self, form: str, columns: Sequence[str] | None = None, texts: Sequence[str] = ("text",)) -> None:
        """See `Lines`."""
        super().__init__(form, [OwnColumn(name, name) for name in SPAN_COLUMNS], columns, texts)

    def cells(self, answers: list[SpanAnswer], digits: int = 4) -> list[list[str]]:
        """See `Lines`; an answer that is none has no score."""
        return [
            [one.text, str(one.start), f"{one.score:.{digits}f}" if np.isfinite(one.score) else ""] for one in answers
        ]

    def values(self, answers: list[SpanAnswer]) -> list[dict[str, object]]:
        """See `Lines`."""
        rows: list[dict[str, object]] = []
        for one in answers:
            score = round(one.score, 6) if np.isfinite(one.score) else None
            rows.append(dict(zip(SPAN_COLUMNS, (one.text, one.start, score), strict=True)))
        return rows


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
