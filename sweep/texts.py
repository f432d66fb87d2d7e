"""Texts to be classified: from a file, or from standard input as they come, in windows of bounded size.

Text lines and `.tsv` files have no quoting, as SIB-200's have none; `.csv` files have the usual one.
"""

import csv
import json
import os
import select
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from xpe_core.errors import InputError

COLUMN = "text"
NO_TEXTS = (".json", ".xls", ".xlsx", ".ods", ".docx", ".pdf", ".gz", ".bz2", ".xz", ".zip", ".zst")
"""Files that would be taken for lines of text by mistake."""
READ_BYTES = 1 << 20
WAIT_SECONDS = 0.05
"""How long a window that is not full waits for more lines before it is answered."""


def open_texts(path: Path) -> Iterator[str]:
    """Return the texts of a file, read as they are taken.

    `.tsv`, `.csv`, `.jsonl` and `.parquet` have a column `text`; any other file has one text a line. Raises InputError
    at once where it cannot be opened or has no such column, and on the way where a row is damaged, naming it.
    """
    if not path.is_file():
        what = "it is a folder" if path.is_dir() else "there is no such file"
        raise InputError(f"--file {path}: {what}")
    readers: dict[str, Callable[[Path], Iterator[str]]] = {
        ".tsv": _read_table,
        ".csv": _read_table,
        ".jsonl": _read_json_lines,
        ".parquet": _read_parquet,
    }
    kind = path.suffix.lower()
    if kind in NO_TEXTS:
        raise InputError(
            f"--file {path}: a {kind} file is not read; allowed are {', '.join(readers)}, or text with one text a line"
        )
    try:
        path.open("rb").close()
    except OSError as error:
        raise InputError(f"--file {path}: cannot be read: {error.strerror}") from None
    return readers.get(kind, _read_lines)(path)


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


def _read_lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            yield _decode(line, f"--file {path}, line {number}")


def _read_table(path: Path) -> Iterator[str]:
    csv.field_size_limit(sys.maxsize)  # texts have any length
    dialect: dict[str, Any] = {"strict": True}
    if path.suffix.lower() == ".tsv":
        dialect = {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    lines = _read_lines_with_ends(path)
    rows = csv.reader(lines, **dialect)
    with closing(lines), _refused(path, rows):
        header = next(rows, [])
        place = _find_column(path, header)
    return _read_rows(path, place, len(header), dialect)


def _read_rows(path: Path, place: int, num_fields: int, dialect: dict[str, Any]) -> Iterator[str]:
    """Yield the fields at a place of all rows after the first."""
    lines = _read_lines_with_ends(path)
    rows = csv.reader(lines, **dialect)
    with closing(lines), _refused(path, rows):
        next(rows)
        for row in rows:
            if len(row) != num_fields and (row or num_fields > 1):  # an empty line of a single column is an empty text
                where = f"--file {path}, line {rows.line_num}"
                raise InputError(f"{where}: {len(row)} fields where the header has {num_fields}")
            yield row[place] if row else ""


@contextmanager
def _refused(path: Path, rows: Any) -> Iterator[None]:
    """Turn what the reader of `rows` says into a sentence."""
    try:
        yield
    except csv.Error as error:
        raise InputError(f"--file {path}, line {rows.line_num}: {error}") from None


def _read_lines_with_ends(path: Path) -> Generator[str, None, None]:
    """Yield lines with their ends, which are part of a quoted field."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            end = b"\r\n" if line.endswith(b"\r\n") else b"\n" if line.endswith(b"\n") else b""
            yield _decode(line, f"--file {path}, line {number}") + end.decode()


def _read_json_lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"--file {path}, line {number}"
            try:
                row = json.loads(_decode(line, where))
            except (ValueError, RecursionError) as error:
                raise InputError(f"{where}: is no JSON: {error}") from None
            yield _check_text(row.get(COLUMN) if isinstance(row, dict) else None, where)


def _read_parquet(path: Path) -> Iterator[str]:
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"--file {path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    _find_column(path, file.schema_arrow.names)

    def read() -> Iterator[str]:
        number = 0
        with file:
            batches = file.iter_batches(batch_size=1024, columns=[COLUMN])
            while True:
                try:
                    texts = next(batches).column(0).to_pylist()
                except StopIteration:
                    return
                except (pyarrow.ArrowException, OSError) as error:
                    reason = str(error).splitlines()[0]
                    raise InputError(f"--file {path}: is damaged after row {number}: {reason}") from None
                for text in texts:
                    number += 1
                    yield _check_text(text, f"--file {path}, row {number}")

    return read()


def _find_column(path: Path, header: list[str]) -> int:
    if COLUMN not in header:
        raise InputError(f"--file {path}: no column {COLUMN!r}; its columns are {', '.join(header) or 'none'}")
    return header.index(COLUMN)


def _check_text(text: Any, where: str) -> str:
    if not isinstance(text, str):
        found = "there is none" if text is None else f"it is of the type {type(text).__name__}"
        raise InputError(f"{where}: {COLUMN!r} must be a string; {found}")
    return text
