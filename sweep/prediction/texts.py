"""Texts to be classified: from a file with its other columns, or from standard input as they come, in windows.

Tables are read by the reader of the training data; any other file, and standard input, has one text a line. Of a task
about pairs an item is two texts, in two columns of a table, or in a line with a tab between them.
"""

import os
import select
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from sweep.prediction.text_columns import ONE_TEXT, Fields, choose_columns
from xpe_core.data import Table, open_rows
from xpe_core.data.delimited import open_lines
from xpe_core.data.json_rows import TWICE
from xpe_core.data.opening import COMPRESSED, WAYS, find_kind
from xpe_core.data.table import EMPTY_LINE, Nested
from xpe_core.errors import InputError
from xpe_core.tasks.texts import TEXT, Text

READ_BYTES = 1 << 20
WAIT_SECONDS = 0.05
"""How long a window that is not full waits for more lines before it is answered."""
NUM_NAMED = 3
"""Rows that are named; the others are counted."""
HELD_CHARACTERS = 1 << 26
"""Of texts that are kept between the two times that a file is read; a longer one is read twice."""


TextRow = tuple[Text, list[str | None]]
"""An item and the cells of all columns in its row; of one that stands in no table, its texts alone."""


class Texts(NamedTuple):
    """The texts of a file, in their order."""

    columns: tuple[str, ...] | None
    """Of the table that they stand in; None where they stand in none."""
    notes: list[str]
    """What was read how, and what is left out, where that was not certain."""
    num_rows: int | None
    """None where they can be read only once."""
    rows: Iterator[TextRow]


def open_texts(path: Path, column: str | None = None, fields: Fields = ONE_TEXT) -> Texts:
    """Return the texts of a file, which was read to its end: what cannot be read is refused before any is answered.

    `column` is the one that they stand in (None: `text`, or the only one whose name says so); for pairs it says both,
    as in `first=a,second=b`. Raises InputError that names the file, the column, or the first rows that cannot be used
    and how many there are.
    """
    if path.is_dir() or not path.exists():
        what = "it is a folder" if path.is_dir() else "there is no such file"
        raise InputError(f"--file {path}: {what}")
    if not path.is_file():  # a pipe, which can be read once only
        _refuse_column(path, column)
        return Texts(None, [], None, _read_pipe(path, fields))
    try:
        return _open_file(path, column, fields)
    except InputError as error:
        raise InputError(f"--file {error}" if str(error).startswith(str(path)) else str(error)) from None


def _open_file(path: Path, column: str | None, fields: Fields) -> Texts:
    kind = find_kind(path)
    is_table = kind is not None or path.suffix.lower() in (*WAYS, *COMPRESSED)
    table = open_rows(path) if is_table else open_lines(path)
    if kind in (None, "txt"):
        _refuse_column(path, column)
        lines = TableTexts(table, [TEXT.name])
        lines.check()
        return Texts(None, [], lines.num_texts, iter(lines) if len(fields) == 1 else _split_lines(path, lines, fields))
    found, notes = choose_columns(table, column, fields)
    texts = TableTexts(table, found, kind in ("csv", "tsv") and len(table.columns) == 1)
    return Texts(texts.check(), [*notes, *texts.notes], texts.num_texts, iter(texts))


def _split_lines(path: Path, lines: "TableTexts", fields: Fields) -> Iterator[TextRow]:
    """Return the items in a file's lines; InputError, before the first is given, where one cannot be split."""

    def split() -> Iterator[Text]:
        for number, (line, _) in enumerate(lines, start=1):
            yield split_line(str(line), fields, f"--file {path}, line {number}")

    deque(split(), maxlen=0)
    return ((text, list(as_cells(text))) for text in split())


def split_line(line: str, fields: Fields, where: str) -> Text:
    """Return the item in a line: of a pair the two texts on both sides of a tab; InputError where they are not two."""
    if len(fields) == 1:
        return line
    parts = tuple(line.split("\t"))
    if len(parts) != len(fields):
        names = " and ".join(field.name for field in fields)
        raise InputError(f"{where}: a line must hold {names} with a tab between them, not {line[:60]!r}")
    return parts


def as_cells(text: Text) -> tuple[str, ...]:
    """Return an item's texts."""
    return (text,) if isinstance(text, str) else text


class TableTexts:
    """The column, or the columns, of a table that texts stand in, with the others."""

    def __init__(self, table: Table, text_columns: Sequence[str], skips_empty_end: bool = False) -> None:
        """Read nothing yet; `skips_empty_end`: empty texts at the end are a file's empty last lines, and no texts."""
        self._table = table
        self._text_columns = text_columns
        self._skips_empty_end = skips_empty_end
        self._held: list[TextRow] | None = []
        self.num_texts = 0
        """After `check`."""
        self._columns = table.columns
        self.notes: list[str] = []
        """What was read how, and what is left out; after `check`."""

    def check(self) -> tuple[str, ...]:
        """Read every row once, and return all columns; InputError counts and names the rows that cannot be read."""
        table, held = self._table, self._held
        columns = dict.fromkeys(table.columns)
        bad, empty, empty_lines = _Locations(), _Locations(), _Locations()
        num_texts = num_until_last = num_characters = 0
        for row in table:
            _, values, problem, _ = row
            texts = [values.get(column) or "" for column in self._text_columns]
            if problem is not None or any(isinstance(text, Nested) for text in texts):
                (empty_lines if problem == EMPTY_LINE else bad).add(f"{table.where(row)}: {problem or self._nested}")
                continue
            num_texts += 1
            if any(texts):
                num_until_last = num_texts
                num_characters += sum(map(len, texts))
            if not all(texts):
                empty.add(table.where(row).removeprefix(f"{table.path}, "))
            if len(values) != len(columns):
                columns.update(dict.fromkeys(name for name in values if name != TWICE))
            if held is not None:
                in_order = table.has_header and len(values) == len(columns)
                cells = list(values.values()) if in_order else [values.get(name) for name in columns]
                held.append((_join(texts), cells))
                if num_characters > HELD_CHARACTERS:
                    held = self._held = None
        if bad.number:
            raise InputError(f"{bad}; {bad.number} rows cannot be read" if bad.number > 1 else str(bad))
        self.num_texts = num_until_last if self._skips_empty_end else num_texts
        num_skipped = num_texts - self.num_texts
        empty.number -= num_skipped
        self.notes = [
            *(f"{table.path}: read as {note}" for note in table.notes),
            *self._describe(empty_lines.number + num_skipped, empty),
        ]
        self._columns = tuple(columns)
        return self._columns

    def __iter__(self) -> Iterator[TextRow]:
        """Yield the rows that `check` has found."""
        rows = islice(self._read_again() if self._held is None else self._held, self.num_texts)
        width = len(self._columns)
        for row in rows:
            if len(row[1]) < width:  # columns that came later in the file
                row[1].extend([None] * (width - len(row[1])))
            yield row

    def _read_again(self) -> Iterator[TextRow]:
        for row in self._table:
            texts = [row.values.get(column) or "" for column in self._text_columns]
            if row.problem == EMPTY_LINE:
                continue
            if row.problem is not None or any(isinstance(text, Nested) for text in texts):  # changed since
                raise InputError(f"--file {self._table.where(row)}: {row.problem or self._nested}")
            yield _join(texts), [row.values.get(name) for name in self._columns]

    @property
    def _nested(self) -> str:
        columns = " or ".join(map(repr, self._text_columns))
        return f"{columns} holds a list or an object where a text must stand"

    def _describe(self, num_lines: int, empty: "_Locations") -> list[str]:
        notes = []
        if num_lines:
            notes.append(f"{self._table.path}: {num_lines} empty line{'s are' if num_lines > 1 else ' is'} left out")
        if empty.number > 0:
            what = "1 text is empty" if empty.number == 1 else f"{empty.number} texts are empty"
            notes.append(
                f"{self._table.path}: {what} ({empty}), and answered nevertheless, so that every row has a line"
            )
        return notes


def _join(texts: list[str]) -> Text:
    return texts[0] if len(texts) == 1 else tuple(texts)


@dataclass
class _Locations:
    """How many there are, and where the first are."""

    number: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, place: str) -> None:
        self.number += 1
        if len(self.first) < NUM_NAMED:
            self.first.append(place)

    def __str__(self) -> str:
        return "; ".join(self.first[: self.number]) + ("; ..." if self.number > NUM_NAMED else "")


def _refuse_column(path: Path, column: str | None) -> None:
    if column is not None:
        raise InputError(f"--column {column}: {path} has one text a line, and no columns")


def _read_pipe(path: Path, fields: Fields) -> Iterator[TextRow]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"--file {path}, line {number}"
            text = split_line(_decode(line, where), fields, where)
            yield text, list(as_cells(text))


def read_standard_input(sizes: Iterator[int]) -> Iterator[list[str]]:
    """Yield the lines of standard input in windows of at most these sizes; a slow writer's lines do not wait for more.

    Every line is a text, an empty one, too. Raises InputError where one is no UTF-8.
    """
    descriptor = sys.stdin.fileno()
    buffered, number, ended = [b""], 0, False
    waiting: list[bytes] = []
    for size in sizes:
        while len(waiting) < size and not ended:
            if waiting and not select.select([descriptor], [], [], WAIT_SECONDS)[0]:
                break
            block = os.read(descriptor, READ_BYTES)
            ended = not block
            buffered.append(block)
            if b"\n" in block or ended:
                *lines, rest = b"".join(buffered).split(b"\n")
                buffered = [rest]
                waiting += lines
        if ended and buffered != [b""]:
            waiting.append(b"".join(buffered))
            buffered = [b""]
        if not waiting:
            return
        window, waiting = waiting[:size], waiting[size:]
        yield [_decode(line, f"standard input, line {number + place}") for place, line in enumerate(window, start=1)]
        number += len(window)


def _decode(line: bytes, where: str) -> str:
    """Return a line as text, without its end and, in the first, without a byte order mark."""
    try:
        text = line.rstrip(b"\r\n").decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: the byte 0x{line[error.start]:02x} is no UTF-8") from None
    return text.removeprefix("\ufeff") if where.endswith("line 1") else text
