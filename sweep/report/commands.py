"""What the commands `report`, `best` and `compare` do with experiments of a storage."""

from collections.abc import Sequence
from shlex import quote

import polars as pl
import yaml
from rich.console import Console
from rich.text import Text

from sweep.analysis.answers import answer
from sweep.analysis.choice import compare, find_experiments_of, parse_weights, rank
from sweep.analysis.configurations import single_experiment
from sweep.analysis.reading import read_results
from sweep.analysis.results import UNFINISHED, Cell, Results
from sweep.inspection import find_experiment, find_experiments
from sweep.report.formats import FORMATS, write_sheets
from sweep.report.language_sheets import language_sheet
from sweep.report.sheet import percent
from sweep.report.sheets import all_sheets, difference_sheet
from sweep.report.terminal import print_problems, print_report, print_sheet
from sweep.storage import Folder
from sweep.store import NO_TRAINING, read_specification
from xpe_core.config import METHODS
from xpe_core.errors import InputError


def report(
    console: Console,
    storage: str,
    names: Sequence[str],
    baseline: str | None,
    exclude: str | None,
    form: str,
    to: str | None,
    every_language: bool,
    watched: bool,
) -> None:
    """Print a report, or write its tables or page as files; watched, both until the experiments end."""
    if form not in (known := ("terminal", "html", *FORMATS)):
        raise InputError(f"--format {form}: must be one of {', '.join(known)}")
    if watched and form not in ("terminal", "html"):
        raise InputError(f"--watch: writes the page and prints the answer, it cannot be with --format {form}")
    if to is not None and form == "terminal" and not watched:
        raise InputError(f"--to {to}: nothing is written with --format terminal; say --format html or another")
    if every_language and (form != "terminal" or watched):
        raise InputError("--languages: is for the terminal; files and page hold every language without it")
    folders = [find_experiment(storage, name) for name in names]
    target = Folder(to) if to is not None else folders[0] / "report"
    if form != "terminal" or watched:
        _check_writable(target, to)
    if watched:
        from sweep.report.watch import watch

        watch(console, folders, lambda: answer(folders, baseline, exclude), target)
        return
    answers = answer(folders, baseline, exclude)
    if form == "terminal":
        print_report(console, answers, every_language)
        return
    if form == "html":
        from sweep.report.page import PAGE, build_page

        target.write(PAGE, build_page(answers).encode())
        print_problems(console, answers.problems)
        console.print(Text(f"The page is {target / PAGE}"), soft_wrap=True)
        return
    written = write_sheets([*all_sheets(answers), language_sheet(answers)], form, target)
    print_problems(console, answers.problems)
    console.print(Text(f"{len(written)} tables in {target}: {', '.join(written)}"), soft_wrap=True)


def best(
    console: Console, storage: str, name: str, purpose: str | None, method: str | None, exclude: str | None
) -> None:
    """Print the best configuration as an experiment file; what is said about it stands in comments."""
    if method is not None and method not in METHODS:
        raise InputError(f"--method {method}: must be one of {', '.join(METHODS)}")
    folder = find_experiment(storage, name)
    if read_specification(folder)["kind"] == "evaluate":
        raise InputError(f"{name} {NO_TRAINING}; report and compare show which of them is best")
    results = read_results([folder], exclude)
    weights = None if purpose is None else parse_weights(purpose, list(results.groups))
    ranked = rank(results, weights, method)
    if ranked.is_empty():
        of = f" with method {method}" if method else ""
        lacking = "with a validation accuracy" if weights is None else f"that was tested on all languages of {purpose}"
        raise InputError(f"{name} has no finished configuration{of} {lacking}")
    row = ranked.row(0, named=True)
    cell = next(cell for cell in results.cells if cell.config_id == row["config_id"])
    measure = "validation accuracy" if weights is None else f"test accuracy ({purpose})"
    failed = f", {row['num_failed']} failed and count as 0" if row["num_failed"] else ""
    num_tried = sum(_was_tried(cell) for cell in results.cells if method in (None, cell.method))
    tried = f" ({num_tried} tried)" if num_tried > len(ranked) else ""
    lines = [
        f"The best of {len(ranked)} finished configurations{tried} of {name} by {measure}:",
        f"{row['arm']} on {row['source_set']} (config_id {row['config_id']}),",
        f"{percent(row['score'])} % as a mean over {row['num_seeds']} seeds{failed}.",
        "The best of many looks better than it is; run it again on fresh seeds:",
    ]
    options = "".join([f" --for {quote(purpose)}" if purpose else "", f" --method {method}" if method else ""])
    options += f" --exclude {quote(exclude)}" if exclude is not None else ""
    again = f" --storage {quote(storage)}" if storage != "results" else ""
    file = quote(f"{name}-{'-'.join([method or 'best', *(weights or ())])}.yaml")
    lines.append(f"  python sweep/run.py best {quote(name)}{options}{again} > {file}")
    lines.append(f"  python sweep/run.py replicate {file}{again}")
    sweep = next(one.sweep for one in results.experiments if one.name == cell.experiment)
    values = single_experiment(cell.config, sweep, cell.seeds)
    print_plain(console, "".join(f"# {line}\n" for line in lines))
    print_plain(console, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def compare_two(
    console: Console, storage: str, first: str, second: str, purpose: str | None, exclude: str | None
) -> None:
    """Print the paired difference of two configurations, arms, runs or experiments."""
    results, unreadable = _read_homes(storage, first, second, exclude)
    groups = None if purpose is None else list(parse_weights(purpose, list(results.groups)))
    table = compare(results, first, second, groups)
    print_sheet(console, difference_sheet(table, f"{first} - {second}, in points of accuracy, paired by seed"))
    arms = table["arm"].unique().to_list() + table["baseline"].unique().to_list()
    print_problems(console, results.problems.filter(pl.col("arm").is_null() | pl.col("arm").is_in(arms)))
    for name, reason in unreadable.items():
        console.print(Text(f"{name} was left out: {reason}"), soft_wrap=True)


def _read_homes(storage: str, first: str, second: str, exclude: str | None) -> tuple[Results, dict[str, str]]:
    """Return the experiments that two names stand for, read together, and why others could not be looked into."""
    known = [folder for folder in find_experiments(storage) if (folder / "runs").names(".parquet")]
    if not known:
        raise InputError(f"storage {storage} holds no experiment with results; say where with --storage DIR")
    named = {part for name in (first, second) for part in (name, name.rpartition(":")[0])}
    each, unreadable = [], {}
    for folder in known:
        try:
            each.append(read_results([folder], exclude))
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
    return read_results([folder for folder in known if folder.name in homes], exclude, merged=False), unreadable


def _check_writable(target: Folder, to: str | None) -> None:
    """Raise InputError where a report cannot be written; it names the option that says where."""
    try:
        target.check_writable()
    except InputError as error:
        reason = str(error).removesuffix("; say where with --storage DIR")
        raise InputError(f"{'' if to is None else f'--to {to}: '}{reason}; say where with --to DIR") from None


def _was_tried(cell: Cell) -> bool:
    return any(count for state, count in cell.states.items() if state != UNFINISHED)


def print_plain(console: Console, text: str) -> None:
    """Print text as it is, also where it is longer than a line."""
    console.print(Text(text), soft_wrap=True, end="")
