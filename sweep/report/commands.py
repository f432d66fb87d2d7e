"""What the commands `report`, `best` and `compare` do with experiments of a storage."""

from collections.abc import Sequence

import polars as pl
from rich.console import Console
from rich.text import Text

from sweep.analysis.choice import compare, find_experiments_of, parse_weights
from sweep.analysis.reading import read_begun, read_together
from sweep.analysis.report_data import ReportData, read_reports
from sweep.analysis.results import Results
from sweep.records.finding import find_experiment, find_experiments
from sweep.report.captions import with_caption
from sweep.report.difference_sheets import difference_sheet
from sweep.report.formats import FORMATS, name_file, write_sheets
from sweep.report.frames import with_ids
from sweep.report.language_sheets import language_sheet
from sweep.report.sheet import Sheet
from sweep.report.sheets import all_sheets
from sweep.report.targets import PAGE, choose_form, choose_target
from sweep.report.terminal import print_problems, print_report, print_sheet
from sweep.report.verdicts import judge
from sweep.storage import Folder
from xpe_core.errors import InputError


def report(
    console: Console,
    storage: str,
    names: Sequence[str],
    baseline: str | None,
    exclude: str | None,
    form: str | None,
    to: str | None,
    every_language: bool,
    watched: bool,
    everything: bool = False,
    metric: str | None = None,
) -> None:
    """Print a report, or write its tables or page as files; watched, both until the experiments end."""
    form = choose_form(form, to)
    _check_options(form, to, every_language, watched, everything)
    folders = [find_experiment(storage, name) for name in names]
    target, page = (folders[0] / "report", PAGE) if to is None else choose_target(to, form)
    if form != "terminal" or watched:
        _check_writable(target, to)
    if watched:
        from sweep.report.watch import watch

        watch(console, folders, lambda: read_reports(folders, baseline, exclude, metric), target, page=page)
        return
    reports = read_reports(folders, baseline, exclude, metric)
    if form == "terminal":
        for number, data in enumerate(reports):
            if number:
                console.print()
            print_report(console, data, every_language, everything, storage)
        return
    said = _write(reports, form, target, page)
    for data in reports:
        print_problems(console, data.problems)
    console.print(Text(said), soft_wrap=True)


def _check_options(form: str, to: str | None, every_language: bool, watched: bool, everything: bool) -> None:
    """Raise InputError where options do not go together."""
    if form not in (known := ("terminal", "html", *FORMATS)):
        raise InputError(f"--format {form}: must be one of {', '.join(known)}")
    if watched and form not in ("terminal", "html"):
        raise InputError(f"--watch: writes the page and prints the answer, it cannot be with --format {form}")
    if to is not None and form == "terminal" and not watched:
        raise InputError(f"--to {to}: nothing is written with --format terminal; say --format html or another")
    if every_language and (form != "terminal" or watched):
        raise InputError("--languages: is for the terminal; files and page hold every language without it")
    if everything and (form != "terminal" or watched):
        raise InputError("--all: is for the terminal; files and page hold every table without it")


def _write(reports: Sequence[ReportData], form: str, target: Folder, page: str) -> str:
    """Write a page a report, or a file a table, and return what was written where."""
    if form == "html":
        from sweep.report.page import write_pages

        pages = write_pages(reports, target, page)
        if len(pages) == 1:
            return f"The page is {target / page}"
        return f"The pages are {', '.join(str(target / name) for name in pages)}"
    written = []
    for data in reports:
        written += write_sheets(_prepare(data, form), form, target, name_file(data.panel))
    return f"{len(written)} tables in {target}: {', '.join(written)}"


def _prepare(data: ReportData, form: str) -> list[Sheet]:
    """Return all tables, with what a file of this format has beside their cells."""
    sheets = [sheet for sheet in (*all_sheets(data), language_sheet(data)) if sheet.rows]
    if form == "csv":
        return [with_ids(sheet, data) for sheet in sheets]
    return [with_caption(sheet, data) for sheet in sheets] if form == "latex" else sheets


def compare_two(
    console: Console,
    storage: str,
    first: str,
    second: str,
    purpose: str | None,
    exclude: str | None,
    metric: str | None = None,
) -> None:
    """Print the paired difference of two configurations, arms, runs or experiments."""
    results, unreadable = _read_homes(storage, first, second, exclude, metric)
    groups = None if purpose is None else list(parse_weights(purpose, list(results.groups)))
    table = compare(results, first, second, groups)
    for line in judge(table, None):
        console.print(Text(line, style="bold"), soft_wrap=True)
    title = f"{first} - {second}, in points of {results.metric_title}, paired by seed"
    print_sheet(console, difference_sheet(table, title))
    arms = table["arm"].unique().to_list() + table["baseline"].unique().to_list()
    print_problems(console, results.problems.filter(pl.col("arm").is_null() | pl.col("arm").is_in(arms)))
    for name, reason in unreadable.items():
        console.print(Text(f"{name} was left out: {reason}"), soft_wrap=True)


def _read_homes(
    storage: str, first: str, second: str, exclude: str | None, metric: str | None
) -> tuple[Results, dict[str, str]]:
    """Return the experiments that two names stand for, read together, and why others could not be looked into."""
    known = [folder for folder in find_experiments(storage) if (folder / "runs").names(".parquet")]
    if not known:
        raise InputError(f"storage {storage} holds no experiment with results; say where with --storage DIR")
    named = {part for name in (first, second) for part in (name, name.rpartition(":")[0])}
    each, unreadable = [], {}
    for folder in known:
        try:
            each += [read_together([one], exclude, metric=metric) for one in read_begun(folder)]
        except InputError as error:
            if folder.name in named or len(known) == 1:
                raise
            unreadable[folder.name] = str(error)
    if not each:
        raise InputError(next(iter(unreadable.values())))
    try:
        homes = find_experiments_of(each, first, second)
    except InputError as error:
        left_out = f" ({', '.join(unreadable)} cannot be read)" if unreadable else ""
        raise InputError(f"{error}{left_out}") from None
    meant = [one for results in each for one in results.experiments if one.name in homes]
    return read_together(meant, exclude, merged=False, metric=metric), unreadable


def _check_writable(target: Folder, to: str | None) -> None:
    """Raise InputError where a report cannot be written; it names the option that says where."""
    try:
        target.check_writable()
    except InputError as error:
        reason = str(error).removesuffix("; say where with --storage DIR")
        raise InputError(f"{'' if to is None else f'--to {to}: '}{reason}; say where with --to DIR") from None
