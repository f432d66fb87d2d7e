"""JSON Lines, and JSON files that hold one table, as rows of text."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeAlias, TypeGuard

from xpe_core.data.opening import read_lines
from xpe_core.data.table import EMPTY_LINE, Nested, Number, Row, Table
from xpe_core.errors import InputError

PEEKED_ROWS = 1000
TWICE = "\0twice"
"""The key under which an object keeps the keys that it holds twice."""
Record: TypeAlias = dict[str, object]
"""An object of a file, one a row."""
SHAPES = 'one array of objects, {"data": [...]}, or one object a line'


def open_json_lines(path: Path) -> Table:
    """Open a file with one JSON object a line, or with one array of them after all."""
    if next((line for line in read_lines(path) if line.strip()), "").lstrip().startswith(("[{", "[\n", "[\r")):
        return open_json(path)
    return _open(path, partial(_read_lines, path), "line")


def open_json(path: Path) -> Table:
    """Open a JSON file: an array of objects, alone or as the one table of an object; columns as pandas writes them."""
    if _has_object_lines(path):
        return open_json_lines(path)
    records = _find_records(path, _parse(path, "".join(read_lines(path)), 0))
    return _open(path, partial(_number, records), "row")


def to_text(value: object) -> str | None:
    """Return a cell of any type as text; None for nothing and for what is no number."""
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list | dict | tuple):
        return Nested(json.dumps(value, ensure_ascii=False, default=str))
    return Number(value) if isinstance(value, int | float) else str(value)


def _open(path: Path, read: Callable[[], Iterator[Row]], unit: str) -> Table:
    columns: dict[str, None] = {}
    twice: set[str] = set()
    for row in islice(read(), PEEKED_ROWS):
        columns.update(dict.fromkeys(row.values))
        twice |= set((row.values.get(TWICE) or "").split("\0")) - {""}
    columns.pop(TWICE, None)
    return Table(path, tuple(columns), frozenset(twice), unit, (), read, may_nest=True)


def _read_lines(path: Path) -> Iterator[Row]:
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            yield Row(number, {}, EMPTY_LINE)
            continue
        value = _parse(path, line, number)
        if not isinstance(value, dict):
            raise InputError(f'{path}, line {number}: must be a JSON object such as {{"text": ...}}, not {line[:40]!r}')
        yield _make_row(number, value, line)


def _number(records: Iterable[object]) -> Iterator[Row]:
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            yield Row(number, {}, "it is no JSON object")
        else:
            yield _make_row(number, record, None)


def _make_row(number: int, record: Mapping[str, object], line: str | None) -> Row:
    values = {name: to_text(value) for name, value in record.items()}
    if line is None or "\\ud" in line or "\\uD" in line:
        for name, value in values.items():
            try:
                (value or "").encode()
            except UnicodeEncodeError:
                return Row(number, {}, f"{name!r} holds half of a character (a lone surrogate)")
    return Row(number, values)


def _collect(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object's pairs, and under TWICE the keys that it holds twice."""
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        record[TWICE] = "\0".join(sorted({name for name in names if names.count(name) > 1}))
    return record


DECODER = json.JSONDecoder(object_pairs_hook=_collect)
"""Made once: `json.loads` makes another for every line, which takes as long as reading it."""


def _parse(path: Path, text: str, line: int) -> object:
    try:
        return DECODER.decode(text)
    except json.JSONDecodeError as error:
        where = f"line {line or error.lineno}, column {error.colno}"
        raise InputError(f"{path}: cannot be read as JSON: {where}: {error.msg[0].lower()}{error.msg[1:]}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {f'line {line}: ' if line else ''}{error}") from None


def _has_object_lines(path: Path) -> bool:
    """Whether the first line that is not empty is an object, and others follow or it is no table of its own."""
    lines = (line for line in read_lines(path) if line.strip())
    first, second = next(lines, "{}"), next(lines, "")
    if not first.lstrip().startswith("{"):
        return False
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return bool(second) or not any(isinstance(part, list | dict) for part in value.values())


def _find_records(path: Path, value: object) -> Sequence[object]:
    """Return the records of a JSON value in any of the shapes that tables have."""
    records = value if isinstance(value, list) else None
    if isinstance(value, dict) and value:
        finders = (_find_questions, _find_named_columns, _find_tables, _find_columns)
        records = next((found for find in finders if (found := find(value)) is not None), None)
    if records is None:
        raise InputError(f"{path}: holds no table that is known: allowed are {SHAPES}")
    return records


def _find_named_columns(value: Mapping[str, object]) -> list[Record] | None:
    """Return the records of an object that holds rows of cells, and the names of their columns beside them."""
    names, rows = value.get("columns"), value.get("data")
    if isinstance(names, list | dict) and isinstance(rows, list) and all(isinstance(row, list) for row in rows):
        return [dict(zip(map(str, names), row, strict=False)) for row in rows]
    return None


def _find_questions(value: Mapping[str, object]) -> list[Record] | None:
    """Return a record a question of articles with paragraphs, as SQuAD has them, in the columns that the hub has."""
    articles = value.get("data")
    if not _is_table(articles) or not any(_is_table(article.get("paragraphs")) for article in articles):
        return None
    if not all(_is_table(part) or part == [] for part in (article.get("paragraphs") for article in articles)):
        return None
    return [
        {"id": asked.get("id"), "title": article.get("title"), "context": paragraph.get("context"), **asked}
        for article in articles
        for paragraph in _as_table(article["paragraphs"])
        for asked in _as_table(paragraph.get("qas"))
    ]


def _as_table(part: object) -> Sequence[Record]:
    return part if _is_table(part) else ()


def _find_tables(value: Mapping[str, object]) -> list[Record] | None:
    """Return the records of an object that holds tables: one, or one a split, a language, or both."""
    from xpe_core.data.files import is_language, read_split

    tables = {name: part for name, part in value.items() if _is_table(part)}
    if len(tables) > 1 and all(map(read_split, tables)):
        return [{"split": name, **record} for name, part in tables.items() for record in part]
    if len(tables) == len(value) and all(map(is_language, tables)):
        return [{"language": name, **record} for name, part in tables.items() for record in part]
    by_split = {language: part for language, part in value.items() if _is_split_tables(part)}
    if len(by_split) == len(value):
        return [
            {"language": language, "split": split, **record}
            for language, part in by_split.items()
            for split, records in part.items()
            for record in records
        ]
    return list(next(iter(tables.values()))) if len(tables) == 1 else None


def _find_columns(value: Mapping[str, object]) -> list[Record] | None:
    """Return the records of an object that holds columns, whose cells are listed or have an index each."""
    indexed = {name: cells for name, cells in value.items() if isinstance(cells, dict)}
    if len(indexed) == len(value):  # column -> index -> cell
        indices = dict.fromkeys(index for cells in indexed.values() for index in cells)
        return [{name: cells.get(index) for name, cells in indexed.items()} for index in indices]
    listed = {name: cells for name, cells in value.items() if isinstance(cells, list) and not _is_table(cells)}
    if len(listed) == len(value) and len({len(cells) for cells in listed.values()}) == 1:  # column -> cells
        return [dict(zip(listed, cells, strict=True)) for cells in zip(*listed.values(), strict=True)]
    return None


def _is_split_tables(part: object) -> TypeGuard[Mapping[str, Sequence[Record]]]:
    from xpe_core.data.files import read_split

    return (
        isinstance(part, dict) and bool(part) and all(read_split(name) and _is_table(one) for name, one in part.items())
    )


def _is_table(part: object) -> TypeGuard[Sequence[Record]]:
    return isinstance(part, list) and bool(part) and all(isinstance(record, dict) for record in part)
