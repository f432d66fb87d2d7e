"""One table file of any format as a stream of rows, each with its place and all its columns as text."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Nested(str):
    """A list or an object in a cell, as JSON: text of another kind, which is no text to be classified."""


class Row(NamedTuple):
    """One row of a table."""

    number: int
    """Its line (Parquet and Arrow: its row) in the file, from 1."""
    values: Mapping[str, str | None]
    """Its cells by column; None where there is none. A list or an object is a `Nested`."""
    problem: str | None = None
    """Why the row cannot be read ("2 fields where the header has 3"); its values are then empty."""


@dataclass(frozen=True)
class Table:
    """An opened file; iterating reads it from its beginning, every time."""

    path: Path
    columns: tuple[str, ...]
    """Their names, each once; of JSON those of the first thousand rows."""
    twice: frozenset[str]
    """Names that stand twice: whoever needs one of them must refuse the file."""
    unit: str
    """What `Row.number` counts: `line` or `row`."""
    notes: tuple[str, ...]
    """How the file was read, where that was not certain."""
    read: Callable[[], Iterator[Row]]

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows, bad ones with their problem; InputError where the file is damaged."""
        return self.read()

    def where(self, row: Row) -> str:
        """Return where a row stands, for a sentence."""
        return f"{self.path}, {self.unit} {row.number}"


def open_rows(path: Path) -> Table:
    """Open a table file: .tsv, .csv, .jsonl, .json, .parquet, .arrow or .txt, also compressed.

    A .txt file has one text a line, in the column `text`. InputError where it cannot be opened or is of another kind.
    """
    raise NotImplementedError
