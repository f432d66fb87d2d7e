"""A report in the terminal, readable at 100 columns; and the answers of `best` and `compare`."""

from collections.abc import Sequence
from typing import Literal

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sweep.analysis.answers import Answers
from sweep.report.language_sheets import language_sheet
from sweep.report.setup_sheets import setup_line
from sweep.report.sheet import Sheet
from sweep.report.sheets import all_sheets, problem_lines

MAX_PROBLEMS = 20
MAX_FIRST_WIDTH = 30
MAX_WORD_WIDTH = 18
"""Of columns of words; what is longer is folded."""


def print_report(console: Console, answers: Answers, every_language: bool) -> None:
    """Print what is wrong with the results first, then every table."""
    names = ", ".join(one.name for one in answers.results.experiments)
    console.print(Text(f"{names}: {setup_line(answers)}", style="bold"), soft_wrap=True)
    print_problems(console, answers.problems)
    for sheet in all_sheets(answers):
        if sheet.name == "gains-and-losses" and every_language:
            print_sheet(console, language_sheet(answers))
        print_sheet(console, sheet)
    if answers.differences.is_empty() and len(answers.results.arms) > 1:
        console.print(Text(f"\nNo differences: there is no arm {answers.baseline!r} (--baseline ARM names another)."))
    if answers.not_comparable:
        console.print(Text(f"\nNot comparable with the published table: {answers.not_comparable}."), soft_wrap=True)


def print_problems(console: Console, problems: pl.DataFrame) -> None:
    """Print one line a problem, those of the same kind in an arm together."""
    if problems.is_empty():
        return
    lines = problem_lines(problems)
    console.print(Text("What to know about these results:", style="yellow"))
    for line in lines[:MAX_PROBLEMS]:
        console.print(Padding(Text(line), (0, 0, 0, 2)))
    if len(lines) > MAX_PROBLEMS:
        console.print(f"  and {len(lines) - MAX_PROBLEMS} more")


def print_sheet(console: Console, sheet: Sheet) -> None:
    """Print a table with its title and its notes; where it is too wide, a few columns of numbers at a time."""
    console.print()
    console.print(Text(sheet.title, style="bold"), soft_wrap=True)
    for numbers in _blocks(sheet, console.width):
        console.print(_table(sheet, [*range(sheet.left), *numbers]))
    for note in (*sheet.notes, *sheet.hints):
        console.print(Text(note, style="dim"))


def _table(sheet: Sheet, places: Sequence[int]) -> Table:
    """Return a table of the columns at these places."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for place in places:
        words = place < sheet.left
        justify: Literal["left", "right"] = "left" if words else "right"
        head, least = Text(_head(sheet.columns[place])), _word_width(sheet, place) if words else None
        table.add_column(head, justify=justify, overflow="fold", no_wrap=not words, min_width=least)
    for number, row in enumerate(sheet.rows):
        if len(row) > 1:
            table.add_row(*(_show(row[place], (number, place) in sheet.strong) for place in places))
            continue
        if number:
            table.add_section()
        table.add_row(Text(row[0], style="italic"))
    return table


def _blocks(sheet: Sheet, width: int) -> list[list[int]]:
    """Return the columns of numbers, as many together as fit beside those of words."""
    room = width - sum(_word_width(sheet, place) + 1 for place in range(sheet.left))
    blocks: list[list[int]] = [[]]
    used = 0
    for place in range(sheet.left, len(sheet.columns)):
        texts = [_head(sheet.columns[place]), *(row[place] for row in sheet.rows if len(row) > 1)]
        needed = max(len(line) for text in texts for line in text.split("\n")) + 1
        if blocks[-1] and used + needed > room:
            blocks.append([])
            used = 0
        blocks[-1].append(place)
        used += needed
    return blocks


def _word_width(sheet: Sheet, place: int) -> int:
    """Return the width of a column of words below which it is not folded; headings stand in the first one."""
    texts = [sheet.columns[place]] + [row[place] for row in sheet.rows if len(row) > 1]
    if place == 0:
        texts += [row[0] for row in sheet.rows if len(row) == 1]
    return min(max(map(len, texts)), MAX_FIRST_WIDTH if place == 0 else MAX_WORD_WIDTH)


def _head(name: str) -> str:
    """Return a column's name in two lines where it is an experiment's arm."""
    return name.replace(":", ":\n")


def _show(cell: str, is_strong: bool) -> Text:
    value, _, counts = cell.partition("\n")
    shown = Text(value, style="bold" if is_strong else "")
    return Text.assemble(shown, "\n", (counts, "dim")) if counts else shown
