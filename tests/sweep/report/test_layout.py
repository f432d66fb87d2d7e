"""A table in a terminal: whole, closer, in blocks, or as a list, in this order."""

import polars as pl

from sweep.report.layout import lay_out
from sweep.report.sheet import Sheet

ROWS = (("trained on joshi5",), ("low_performing", "42.0 [38.2, 45.8]\n6 x 2", "yes"), ("unseen", "*", "no"))
SHEET = Sheet("main", "", ("tested on", "accuracy [95 %]", "higher?"), ROWS, pl.DataFrame(), strong=frozenset({(1, 1)}))


def show(width: int) -> list[str]:
    return [line.plain for line in lay_out(SHEET, width)]


def test_a_table_that_fits_has_a_line_a_row_and_line_of_a_cell() -> None:
    assert show(60) == [
        "tested on         accuracy [95 %]  higher?",
        "──────────────────────────────────────────",
        "trained on joshi5",
        "low_performing  42.0 [38.2, 45.8]  yes",
        "                            6 x 2",
        "unseen                          *  no",
    ]


def test_a_table_that_is_too_wide_is_set_closer() -> None:
    shown = [line.split() for line in show(38)]
    place = shown.index(["low_performing", "42.0", "yes"])
    assert shown[place + 1 : place + 3] == [["[38.2,", "45.8]"], ["6", "x", "2"]]


def test_on_a_narrow_screen_the_names_of_rows_are_repeated_in_each_block() -> None:
    lines = show(30)
    assert sum(line.startswith("low_performing") for line in lines) == 2
    assert max(map(len, lines)) <= 30 and "" in lines


def test_where_nothing_fits_beside_the_names_it_is_a_list() -> None:
    assert show(20)[2:5] == ["low_performing", "  accuracy [95 %]:", "    42.0"]
    assert "    [38.2, 45.8]" in show(20)


def test_what_stands_out_is_bold_in_its_first_line() -> None:
    line = next(line for line in lay_out(SHEET, 38) if line.plain.startswith("low_performing"))
    assert [line.plain[span.start : span.end] for span in line.spans if span.style == "bold"] == ["42.0"]
