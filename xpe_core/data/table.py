"""What an opened table file is: rows with their numbers, whatever the format."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

EMPTY_LINE = "an empty line"
"""The problem of a row that is none: no reader of whole data sets minds it."""


class Nested(str):
    """A list or an object in a cell, as JSON: text of another kind, which is no text to be classified."""


class Number(str):
    """A number or a truth value, as text: whoever writes the cell again can write it as it was."""


class Row(NamedTuple):
    """One row of a table."""

    number: int
    """Its line, or its number among the rows where a row may have many lines, from 1: what an example is called by."""
    values: Mapping[str, str | None]
    """Its cells by column; None where there is none. A list or an object is a `Nested`, a number a `Number`."""
    problem: str | None = None
    """Why the row cannot be read ("2 fields where the header has 3", EMPTY_LINE); its values are then empty."""
    line: int | None = None
    """The line that it begins at, where `number` is another number."""


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
    has_header: bool = False
    """Its first line names the columns."""
    may_nest: bool = False
    """Cells may be `Nested`."""
    class_names: Mapping[str, Sequence[str]] | None = None
    """The names behind a column's numbers, as `datasets` writes them (ClassLabel)."""
    reads_anew: bool = False
    """Older versions read it, otherwise: they kept quotation marks around a TSV's cells, and bytes as `b'...'`."""

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows, bad ones with their problem; InputError where the file is damaged."""
        return self.read()

    def where(self, row: Row) -> str:
        """Return where a row stands, for a sentence."""
        line = f"line {row.line}, " if row.line is not None else ""
        return f"{self.path}, {line}{self.unit} {row.number}"


def find_twice(names: Sequence[str]) -> frozenset[str]:
    """Return the names that stand more than once."""
    return frozenset(name for name in names if names.count(name) > 1)
