"""A table's rows as objects: the same values, in columns of the fields' types."""

from dataclasses import dataclass

import polars as pl

from sweep.analysis.rows import rows_of, schema_of, table_of


@dataclass(frozen=True)
class _Row:
    name: str
    count: int | None = None
    score: float | None = None
    is_shown: bool = False


ROWS = [_Row("spt"), _Row("xpe", 3, 0.5, True)]


def test_columns_have_the_types_of_the_fields_also_where_all_is_null() -> None:
    schema = {"name": pl.String, "count": pl.Int64, "score": pl.Float64, "is_shown": pl.Boolean}
    assert schema_of(_Row) == schema
    for rows in ([], ROWS[:1], ROWS):
        assert table_of(_Row, rows).schema == schema


def test_rows_come_back_as_they_were_whatever_columns_stand_beside_and_between_them() -> None:
    table = table_of(_Row, ROWS).with_columns(more=pl.lit(1)).select("more", "score", "name", "is_shown", "count")
    assert list(rows_of(_Row, table)) == ROWS


def test_a_whole_number_in_a_column_of_floats_is_a_float() -> None:
    assert table_of(_Row, [_Row("spt", score=1)])["score"].to_list() == [1.0]
