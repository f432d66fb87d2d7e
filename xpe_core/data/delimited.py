"""Tables as text: TSV with and without quotation marks around cells, CSV with any delimiter, and plain lines.

SIB-200's TSV files are read without quotation marks, as every published number of this project was: a reader that
honours them merges rows where a text begins with one. pandas puts them around cells that hold one, or a line's end.
"""

import csv
import re
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from xpe_core.data.opening import open_bytes, read_lines
from xpe_core.data.table import EMPTY_LINE, Row, Table, find_twice
from xpe_core.errors import InputError

SIB200_COLUMNS = ("index_id", "category", "text")
DELIMITERS = ",;\t|"
"""Of CSV, in the order in which they are tried."""
BLOCK_BYTES = 1 << 20
RETURN = "\ue00d"
"""Stands for a carriage return within a line while `csv` reads it, which would take it for a line's end."""
QUOTED = re.compile(r'"(?:[^"]|"")*"')

csv.field_size_limit(sys.maxsize)  # texts have any length


class Fit(NamedTuple):
    """How well a way of reading fits a file."""

    num_bad: float
    """Rows with another number of fields than the header."""
    first_bad: float
    """The line of the first of them."""


def open_tsv(path: Path) -> Table:
    """Open a TSV file and tell by what fits its header whether cells are in quotation marks."""
    header, start = _read_header(path, "\t", quoted=False)
    columns = [_clean(name) for name in header]
    is_sib200 = tuple(columns) == SIB200_COLUMNS
    quoted = not (is_sib200 and _has_all_tabs(path, len(columns))) and _is_quoted(path, start, len(columns), is_sib200)
    read = partial(_read_tsv, path, start, columns)
    note = "TSV without quotation marks around cells"
    if quoted:
        read = partial(_read_quoted, path, start, columns, "\t", False)
        note = "TSV with quotation marks around cells, as pandas writes it"
    names, twice = tuple(dict.fromkeys(columns)), find_twice(columns)
    return Table(path, names, twice, "line", (note,), read, has_header=True, reads_anew=quoted)


def open_csv(path: Path) -> Table:
    """Open a CSV file with commas, semicolons, tabs or bars between its cells."""
    headers = {delimiter: _read_header(path, delimiter, quoted=True) for delimiter in DELIMITERS}
    delimiter = max(headers, key=lambda one: len(headers[one][0]))  # the first of those that are equally good
    header, start = headers[delimiter]
    columns = [_clean(name) for name in header]
    name = {";": "semicolons", "\t": "tabs", "|": "bars"}.get(delimiter)
    notes = (f"CSV with {name} between cells",) if name else ()
    read = partial(_read_quoted, path, start, columns, delimiter, True)
    return Table(path, tuple(dict.fromkeys(columns)), find_twice(columns), "row", notes, read, has_header=True)


def open_lines(path: Path) -> Table:
    """Open a file with one text a line, the column `text`."""
    return Table(path, ("text",), frozenset(), "line", (), partial(_read_plain, path))


def _read_plain(path: Path) -> Iterator[Row]:
    for number, line in enumerate(read_lines(path), start=1):
        yield Row(number, {"text": line.rstrip("\r\n")})


def _read_header(path: Path, delimiter: str, quoted: bool) -> tuple[list[str], int]:
    """Return the first row that is not empty, and its last line; Excel's line `sep=;` is no row."""
    lines = read_lines(path)
    rows = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
    try:
        for row in rows:
            if any(cell.strip() for cell in row) and not re.fullmatch(r"sep=.?", "".join(row).strip().lower()):
                return row, rows.line_num
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: {error}") from None
    return [], 0


def _clean(name: str) -> str:
    name = " ".join(name.split())
    return name[1:-1].replace('""', '"') if QUOTED.fullmatch(name) else name


def _read_tsv(path: Path, start: int, columns: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a TSV file whose quotation marks are text like any other."""
    num_fields = len(columns)
    for number, line in enumerate(read_lines(path), start=1):
        if number <= start:
            continue
        line = line.rstrip("\r\n")
        cells = line.split("\t")
        if len(cells) == num_fields and (num_fields == 1 or not (line == "" or line.isspace())):
            yield Row(number, dict(zip(columns, cells, strict=True)))
        else:
            yield Row(number, {}, _describe(cells, num_fields))


def _read_quoted(path: Path, start: int, columns: Sequence[str], delimiter: str, is_csv: bool) -> Iterator[Row]:
    """Yield the rows of a table whose cells may be in quotation marks.

    Of a CSV file rows are counted, and a cell such as `"so" they said` is read as it stands; else lines are counted.
    """
    num_fields, num_rows, begins = len(columns), 0, 1
    lines = _Lines(path)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            if not is_csv or "expected after" not in str(error) or rows.line_num != begins:
                unclosed = "unexpected end" in str(error)
                reason = "a cell in quotation marks begins here and does not end" if unclosed else error
                raise InputError(f"{path}, line {begins}: {reason}") from None
            cells = next(csv.reader([lines.last], delimiter=delimiter))
        line, begins = begins, rows.line_num + 1
        if line <= start:
            continue
        if is_csv and len(cells) > num_fields and not any(cells[num_fields:]):
            del cells[num_fields:]  # some programs end every row with a comma, or fill it up
        is_row = len(cells) == num_fields and (num_fields == 1 or not _is_blank(cells))
        if num_fields == 1 and not cells:  # an empty line of a single column is an empty text
            cells, is_row = [""], True
        num_rows += is_row or not _is_blank(cells)
        number, beside = (num_rows, line) if is_csv else (line, None)
        if is_row:
            cells = [cell.replace(RETURN, "\r") for cell in cells]
            yield Row(number, dict(zip(columns, cells, strict=True)), None, beside)
        else:
            yield Row(number, {}, _describe(cells, num_fields), beside)


class _Lines:
    """A file's lines as `csv` may read them, of which the last one read is kept."""

    def __init__(self, path: Path) -> None:
        self._lines = read_lines(path)
        self.last = ""

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if "\r" in line:
            end = "\r\n" if line.endswith("\r\n") else "\n" if line.endswith("\n") else ""
            line = line[: len(line) - len(end)].replace("\r", RETURN) + end
        self.last = line
        return line


def _describe(cells: Sequence[str], num_fields: int) -> str:
    return EMPTY_LINE if _is_blank(cells) else f"{len(cells)} fields where the header has {num_fields}"


def _is_blank(cells: Sequence[str]) -> bool:
    return not any(cells) or not any(map(str.strip, cells))


def _has_all_tabs(path: Path, num_fields: int) -> bool:
    """Whether a file has as many tabs as its lines need: a quick look at what is nearly always so."""
    num_tabs, num_lines, last = 0, 0, b"\n"
    with open_bytes(path) as file:
        while block := file.read(BLOCK_BYTES):
            num_tabs, num_lines, last = num_tabs + block.count(b"\t"), num_lines + block.count(b"\n"), block
    return num_tabs == (num_lines + (not last.endswith(b"\n"))) * (num_fields - 1)


def _is_quoted(path: Path, start: int, num_fields: int, is_sib200: bool) -> bool:
    """Return whether cells are in quotation marks: whether only that reading fits the header's number of fields.

    Where both fit and differ, cells are in quotation marks if every one that holds such a mark is written as `csv` and
    pandas write it, and one at least with a mark doubled; those of a file with SIB-200's columns never are.
    """
    plain, has_marks, is_proper, has_doubled = _fit_plain(path, start, num_fields)
    if not has_marks:
        return False
    quoted = _fit_quoted(path, start, num_fields)
    if plain.num_bad == quoted.num_bad == 0:
        return is_proper and has_doubled and not is_sib200
    return (quoted.num_bad, -quoted.first_bad) < (plain.num_bad, -plain.first_bad)


def _fit_plain(path: Path, start: int, num_fields: int) -> tuple[Fit, bool, bool, bool]:
    """Return how the reading without quotation marks fits, and what marks there are: any, only proper ones, doubled."""
    num_bad, first_bad = 0, float("inf")
    has_marks, is_proper, has_doubled = False, True, False
    for number, line in enumerate(read_lines(path), start=1):
        line = line.rstrip("\r\n")
        if number > start and line and line.count("\t") != num_fields - 1:
            num_bad, first_bad = num_bad + 1, min(first_bad, number)
        if number >= start and '"' in line:
            has_marks = True
            for cell in line.split("\t"):
                if '"' in cell:
                    is_proper = is_proper and QUOTED.fullmatch(cell) is not None
                    has_doubled = has_doubled or '""' in cell[1:-1] or number == start
    return Fit(num_bad, first_bad), has_marks, is_proper, has_doubled


def _fit_quoted(path: Path, start: int, num_fields: int) -> Fit:
    num_bad, first_bad, last = 0, float("inf"), start
    try:
        for row in _read_quoted(path, start, list(map(str, range(num_fields))), "\t", False):
            last = row.number
            if row.problem and row.problem != EMPTY_LINE:
                num_bad, first_bad = num_bad + 1, min(first_bad, row.number)
    except InputError:
        return Fit(float("inf"), min(first_bad, last + 1))
    return Fit(num_bad, first_bad)
