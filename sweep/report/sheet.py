"""One table for people: the same in the terminal, in Markdown and in LaTeX; and how its numbers are written.

CSV holds the data frame behind a table instead, not rounded.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from sweep.records.ranking import SAME_DIGITS


@dataclass(frozen=True)
class Sheet:
    """A table for people."""

    name: str
    """Of its files, with the part behind it."""
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """Cells of several lines have line breaks; a row of one cell is a heading."""
    frame: pl.DataFrame
    notes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    """Where more is to be found; only for who sits before the terminal."""
    strong: frozenset[tuple[int, int]] = frozenset()
    """Row and column of the cells that stand out."""
    part: int | None = None
    """Which part of the data frame's columns or arms it shows, where it shows only a part."""
    caption: str | None = None
    """What a paper says of it, where that is not its title and notes."""
    left: int = 1
    """How many columns hold words; the others hold numbers."""


def percent(value: float | None) -> str:
    """Return a share of 1 in percent."""
    return "–" if value is None else f"{_without_noise(100 * value):.1f}"


def points(value: float | None) -> str:
    """Return a difference in percentage points, with its sign; what rounds to 0 has a plus."""
    shown = "–" if value is None else f"{_without_noise(100 * value):+.1f}"
    return "+0.0" if shown == "-0.0" else shown


def interval(
    value: float | None, low: float | None, high: float | None, show: Callable[[float | None], str] = percent
) -> str:
    """Return a value with its interval, where it has one."""
    return show(value) if low is None or high is None else f"{show(value)} [{show(low)}, {show(high)}]"


def p_value(value: float | None) -> str:
    """Return a p-value with so many digits as matter."""
    if value is None:
        return "–"
    return f"{value:.4f}" if value < 0.01 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def join_names(names: Sequence[str]) -> str:
    """Return names as a sentence lists them."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _without_noise(value: float) -> float:
    """Return a percentage whose last digits, which differ with the order of a sum, do not decide how it is rounded."""
    return round(value, SAME_DIGITS - 2)


def sections(table: pl.DataFrame, by: str) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the rows of each value of a column, in their order."""
    for name in table[by].unique(maintain_order=True).to_list() if len(table) else ():
        yield name, table.filter(pl.col(by) == name)
