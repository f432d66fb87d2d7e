"""The command `show`: one run, what came of it first, then what it was and where it comes from."""

import json
from collections.abc import Mapping
from typing import TypeAlias

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweep.analysis import read_evaluations, read_runs
from sweep.records.adapters import ADAPTERS, SUFFIX, kept_run_ids
from sweep.records.finding import find_experiment, find_experiments
from sweep.report.terminal import Facts
from sweep.report.wording import format_percent
from sweep.storage import Folder
from sweep.wording import count_nouns, format_duration, format_number
from xpe_core.config import DEFAULTS, FIELDS
from xpe_core.errors import InputError
from xpe_core.languages import load_languages
from xpe_core.tasks import DEFAULT_TASK, TASKS
from xpe_core.tasks.metrics import title_of

IDENTITY = ("run_id", "config_id", "trial_id", "trial_number", "arm", "method", "state", "error", "seed")
Row: TypeAlias = Mapping[str, str | int | float | bool | None]
"""Of the table `runs`."""
RESULTS = ("num_steps", "best_step", "validation_accuracy", "selection_accuracy")


def print_run(console: Console, storage: str, run_id: str) -> None:
    """Print a run's results, configuration and origin, and its score by language."""
    folder, row = _find_run(storage, run_id)
    tested = read_evaluations(folder).filter((pl.col("run_id") == row["run_id"]) & (pl.col("split") == "test"))
    _print_head(console, folder, row, tested)
    fields = [name for name in FIELDS if name != "seed" and row[name] is not None]
    defaults = [name for name in fields if DEFAULTS[name] == row[name]]
    _print_values(console, "Configuration", {name: row[name] for name in fields if name not in defaults})
    _print_values(console, "As by default", {name: row[name] for name in defaults})
    others = [name for name in row if name not in (*FIELDS, *IDENTITY, *RESULTS)]
    _print_values(console, "Measured, and where it ran", {name: row[name] for name in others})
    if len(tested):
        metric = TASKS[str(row["task"] or DEFAULT_TASK)].metrics[0]
        console.print(Text(f"\nTest {title_of(metric)} in %, by language", style="bold"))
        console.print(_languages_table(tested))


def _find_run(storage: str, run_id: str) -> tuple[Folder, Row]:
    """Return the run and its experiment's folder; InputError where there is none, or are several."""
    name, _, digits = run_id.strip().rpartition(":")
    matching: list[tuple[Folder, Row]] = []
    for folder in [find_experiment(storage, name)] if name else find_experiments(storage):
        try:
            runs = read_runs(folder).filter(pl.col("run_id").str.starts_with(digits))
        except InputError:
            if name:
                raise
            continue
        matching += [(folder, row) for row in runs.iter_rows(named=True)]
    if not matching:
        if not name and digits in [folder.name for folder in find_experiments(storage)]:
            raise InputError(
                f"{digits!r} is an experiment: status {digits} shows its trials, report {digits} its results"
            )
        raise InputError(f"storage {storage} holds no run {run_id!r}; the column run_id of a table `runs` has them")
    if len(matching) > 1:
        known = [f"{folder.name}:{row['run_id']}" for folder, row in matching[:5]]
        raise InputError(f"run {run_id!r} could be {', '.join(known)}; give more digits, or its experiment like this")
    return matching[0]


def _print_head(console: Console, folder: Folder, row: Row, tested: pl.DataFrame) -> None:
    """Print what came of the run, and where its adapter lies."""
    kind = " ".join(filter(None, [str(row["arm"] or ""), str(row["method"] or "").upper()]))
    state = row["state"] or "of an unknown state"
    console.print(Text(f"run {row['run_id']} of {folder.name}: {kind}, seed {row['seed']}, {state}", style="bold"))
    if row["error"]:
        console.print(Text(str(row["error"]).strip().splitlines()[-1]), soft_wrap=True)
    lines = []
    if row["adapted_to"] is not None:
        start = f"from run {row['parent_run_id']}" if row["parent_run_id"] else "from new weights"
        lines.append(f"further    on {row['adapted_to']}, {start}")
    if isinstance(validation := row["validation_accuracy"], float):
        step = "" if row["best_step"] is None else f", at step {row['best_step']} of {row['num_steps']}"
        lines.append(
            f"validation {format_percent(validation)} % on {row['adapted_to'] or 'the source languages'}{step}"
        )
    if len(tested):
        mean = format_percent(float(tested["score"].to_numpy().mean()))
        lines.append(f"test       {mean} %, the mean over {count_nouns(len(tested), 'language')}")
    is_kept = row["run_id"] in kept_run_ids(folder)
    lines.append(f"adapter    {folder}/{ADAPTERS}/{row['run_id']}{SUFFIX}" if is_kept else "adapter    not kept here")
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _print_values(console: Console, title: str, values: Row) -> None:
    shown = {name: _show(name, value) for name, value in values.items() if value is not None}
    if not shown:
        return
    console.print(Text(f"\n{title}", style="bold"))
    console.print(Facts(list(shown.items())), highlight=False)


def _show(name: str, value: str | int | float) -> str:
    """Return a value as a person reads it: seconds, bytes and shares with their units."""
    if name == "package_versions":
        return _show_packages(str(value))
    if isinstance(value, str):
        return value
    if name.endswith("_seconds"):
        return format_duration(value)
    if name.endswith("_bytes"):
        return f"{value / 2**20:,.0f} MiB"
    if name.endswith("_share"):
        return f"{format_percent(value)} %"
    return f"{value:,.0f}" if name == "tokens_per_second" else format_number(value)


def _show_packages(text: str) -> str:
    """Return packages with their versions out of JSON; what is no such JSON as it is."""
    try:
        versions = json.loads(text)
    except ValueError:
        return text
    if not isinstance(versions, dict):
        return text
    return ", ".join(f"{package} {version}" for package, version in versions.items())


def _languages_table(tested: pl.DataFrame) -> Table:
    names = {language.code: language.name for language in load_languages()}
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True, style="dim")
    for row in tested.sort("score", "language", descending=[True, False]).iter_rows(named=True):
        code = row["language"]
        counts = f"{format_number(row['score_sum'])}/{row['num_examples']}"
        table.add_row(Text(code), Text(names.get(code) or ""), format_percent(row["score"]), counts)
    return table
