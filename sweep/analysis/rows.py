"""Tables with types: a frozen dataclass holds a row, its fields are the table's columns.

A field's type is `str`, `int`, `float` or `bool`, or one of these with None where a column has nulls.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar, get_args, get_type_hints

import polars as pl

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = TypeVar("Row", bound="DataclassInstance")
COLUMN_TYPES: dict[type, type[pl.DataType]] = {
    str: pl.String,
    int: pl.Int64,
    float: pl.Float64,
    bool: pl.Boolean,
}


def schema_of(kind: type[Row]) -> dict[str, type[pl.DataType]]:
    """Return the columns of a table whose rows are of this kind."""
    schema = {}
    for name, hint in get_type_hints(kind).items():
        (column_type,) = [one for one in get_args(hint) or (hint,) if one is not type(None)]
        schema[name] = COLUMN_TYPES[column_type]
    return schema


def table_of(kind: type[Row], rows: Sequence[Row]) -> pl.DataFrame:
    """Return the table of these rows, which may be none."""
    names = [field.name for field in fields(kind)]
    values = [tuple(getattr(row, name) for name in names) for row in rows]
    return pl.DataFrame(values, schema=schema_of(kind), orient="row")


def rows_of(kind: type[Row], table: pl.DataFrame) -> Iterator[Row]:
    """Yield the rows of a table, which may have more columns than this kind."""
    names = [field.name for field in fields(kind)]
    for values in table.select(names).iter_rows():
        yield kind(*values)
