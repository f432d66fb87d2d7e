"""A report in the terminal, readable at 100 columns; and the answers of `best` and `compare`."""

from typing import Literal

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sweep.analysis.answers import Answers
from sweep.report.language_sheets import language_sheet
from sweep.report.sheet import Sheet
from sweep.report.sheets import all_sheets, problem_lines

MAX_PROBLEMS = 20


def print_report(console: Console, answers: Answers, every_language: bool) -> None:
    """Print what is wrong with the results first, then every table."""
    names = ", ".join(one.name for one in answers.results.experiments)
    console.print(Text(f"{names}: {len(answers.results.languages)} tested languages", style="bold"), soft_wrap=True)
    print_problems(console, answers.problems)
    for sheet in all_sheets(answers):
        if sheet.name == "gains-and-losses" and every_language:
            print_sheet(console, language_sheet(answers))
        print_sheet(console, sheet)
    if answers.differences.is_empty():
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
    """Print a table with its title and its notes."""
    console.print()
    console.print(Text(sheet.title, style="bold"), soft_wrap=True)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for place, name in enumerate(sheet.columns):
        words = place < sheet.left
        # headings stand in the first column and are not wrapped
        width = max((len(row[0]) for row in sheet.rows if len(row) == 1), default=0) if place == 0 else 0
        justify: Literal["left", "right"] = "left" if words else "right"
        table.add_column(Text(name), justify=justify, overflow="fold", no_wrap=not words, min_width=min(width, 30))
    for place, row in enumerate(sheet.rows):
        if len(row) > 1:
            table.add_row(*(_show(cell) for cell in row))
            continue
        if place:
            table.add_section()
        table.add_row(Text(row[0], style="italic"))
    console.print(table)
    for note in (*sheet.notes, *sheet.hints):
        console.print(Text(note, style="dim"))


def _show(cell: str) -> Text:
    value, _, counts = cell.partition("\n")
    return Text.assemble(value, "\n", (counts, "dim")) if counts else Text(value)
