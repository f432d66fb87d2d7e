"""A report in the terminal: the answer and the main table, or all tables; and the answers of `best` and `compare`."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from shlex import quote

import polars as pl
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.text import Text

from sweep.analysis.report_data import ReportData
from sweep.report.answer_sheets import answer_sheets
from sweep.report.chance_lines import chance_lines
from sweep.report.language_sheets import language_sheet
from sweep.report.layout import GAP, lay_out
from sweep.report.main_sheets import main_sheets
from sweep.report.replication_lines import replication_lines
from sweep.report.setup_sheets import setup_line
from sweep.report.sheet import Sheet
from sweep.report.sheets import all_sheets, problem_lines
from sweep.report.study_sheets import duel_sheets, study_lines
from sweep.report.transfer_sheets import transfer_sheets
from sweep.report.wrapping import wrap

MAX_PROBLEMS = 20
MAX_PROBLEMS_IN_SHORT = 3
MAX_ARMS_IN_SHORT = 8
"""Of the short report's main table."""
ALL_ARMS = 10_000
"""A table in the terminal is cut into blocks by its width, not by a number of arms."""


def print_report(console: Console, data: ReportData, every_language: bool, everything: bool, storage: str) -> None:
    """Print what must be known first, then the answer and the main table; with `everything` all other tables, too."""
    names = ", ".join(one.name for one in data.results.experiments)
    print_lines(console, f"{names}: {setup_line(data)}", style="bold")
    for line in (*chance_lines(data), *replication_lines(data.results, data.curse), *study_lines(data)):
        print_lines(console, line, "  ")
    print_problems(console, data.problems, MAX_PROBLEMS if everything else MAX_PROBLEMS_IN_SHORT)
    if everything:
        _print_all(console, data, every_language)
        return
    said: set[str] = set()
    main = main_sheets(data, ALL_ARMS, MAX_ARMS_IN_SHORT)
    for sheet in [*answer_sheets(data), *main, *duel_sheets(data), *transfer_sheets(data)]:
        print_sheet(console, replace(sheet, notes=tuple(note for note in sheet.notes if note not in said)))
        said.update(sheet.notes)
    if every_language:
        print_sheet(console, language_sheet(data))
    _print_more(console, data, storage)


def _print_all(console: Console, data: ReportData, every_language: bool) -> None:
    for sheet in all_sheets(data, ALL_ARMS):
        if sheet.name == "gains-and-losses" and every_language:
            print_sheet(console, language_sheet(data))
        print_sheet(console, sheet)
    if data.differences.is_empty() and len(data.results.arms) > 1:
        print_lines(console, f"\nNo differences: there is no arm {data.baseline!r} (--baseline ARM names another).")
    if data.not_comparable:
        print_lines(console, f"\nNot comparable with the published table: {data.not_comparable}.")


def _print_more(console: Console, data: ReportData, storage: str) -> None:
    """Say what else there is, and how to see it."""
    names = " ".join(dict.fromkeys(quote(one.folder.name) for one in data.results.experiments))
    where = f" --storage {quote(storage)}" if storage != "results" else ""
    console.print()
    print_lines(console, "More (differences, languages, trade-off, what mattered, cost, setup):")
    console.print(Text(f"  python sweep/run.py report {names}{where} --all"), soft_wrap=True)
    print_lines(console, "The same on a page with charts: --format html.")


def print_problems(console: Console, problems: pl.DataFrame, most: int = MAX_PROBLEMS) -> None:
    """Print one line a problem, those of the same kind in an arm together."""
    if problems.is_empty():
        return
    lines = problem_lines(problems)
    print_lines(console, "What to know about these results:", style="yellow")
    for line in lines[:most]:
        print_lines(console, f"- {line}", "  ")
    if len(lines) > most:
        more = f"and {len(lines) - most} more" + ("" if most == MAX_PROBLEMS else " (--all shows them)")
        print_lines(console, f"- {more}")


def print_sheet(console: Console, sheet: Sheet) -> None:
    """Print a table with its title and its notes; where it is too wide, a few columns at a time."""
    console.print()
    print_lines(console, sheet.title, style="bold")
    console.print()
    print_table(console, sheet)
    if sheet.notes or sheet.hints:
        console.print()
    for note in (*sheet.notes, *sheet.hints):
        print_lines(console, note, "  ", style="dim")


def print_table(console: Console, sheet: Sheet) -> None:
    """Print a table alone."""
    for line in lay_out(sheet, console.width):
        console.print(line, soft_wrap=True, highlight=False)


def print_rows(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """Print a table of cells alone, of which the first `left` columns name the rows."""
    cells = tuple(tuple(row) for row in rows)
    print_table(console, Sheet("rows", "", tuple(columns), cells, pl.DataFrame(), left=left))


class Facts:
    """Names with what is said of each, in two columns; one under the other where there is no room."""

    def __init__(self, rows: Sequence[tuple[str, str]] = ()) -> None:
        """Begin with these."""
        self._rows: list[tuple[str, str | Text]] = list(rows)

    def add_row(self, name: str, value: str | Text) -> None:
        """Add one."""
        self._rows.append((name, value))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        widest = max((cell_len(name) for name, _ in self._rows), default=0)
        beside = options.max_width - widest - GAP
        for name, value in self._rows:
            text = value.plain if isinstance(value, Text) else value
            if beside < 2 * widest:
                yield from map(Text, wrap(f"{name} {text}".strip(), options.max_width, " " * GAP))
                continue
            for number, line in enumerate(wrap(text, beside)):
                head = "" if number else name
                yield Text.assemble((head, "dim"), " " * (widest - cell_len(head) + GAP), line)


def print_lines(console: Console, text: str, indent: str = "", style: str = "") -> None:
    """Print text, a word or a number never broken; all lines but the first begin with `indent`."""
    for line in wrap(text, console.width, indent):
        console.print(Text(line, style=style), soft_wrap=True, highlight=False)
