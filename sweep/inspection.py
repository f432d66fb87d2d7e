"""What is kept in a storage: experiments, how far they are, and single runs."""

from collections import Counter
from typing import Any

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweep.analysis import read_evaluations, read_runs
from sweep.ledger import TrialRecord, read_ledger, read_usage
from sweep.storage import Folder
from sweep.storage.lock import is_running
from sweep.storage.names import normalise_name
from sweep.store import read_specification, request_stop
from xpe_core.config import RunConfig
from xpe_core.errors import InputError


def find_experiments(storage: str) -> list[Folder]:
    """Return the folders below a storage that hold an experiment."""
    folders = [Folder(storage) / name for name in Folder(storage).folders()]
    return [folder for folder in folders if folder.read("experiment.yaml") is not None]


def print_experiments(console: Console, storage: str) -> None:
    """Print one line an experiment; one that cannot be read is damaged, and why stands under the table."""
    folders = find_experiments(storage)
    if not folders:
        raise InputError(f"storage {storage} holds no experiment; say where with --storage DIR")
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("experiment", "kind", "trials", "hours", "driver"):
        table.add_column(name, justify="right" if name == "hours" else "left")
    damages: list[str] = []
    for folder in folders:
        driver = "running" if is_running(folder) else "–"
        try:
            kind = read_specification(folder)["kind"]
            table.add_row(
                folder.name, str(kind), count_states(read_ledger(folder)), f"{read_usage(folder).hours:.1f}", driver
            )
        except InputError as error:
            table.add_row(folder.name, "damaged", "–", "–", driver)
            damages.append(str(error))
    console.print(table)
    for damage in damages:
        console.print(Text(damage), soft_wrap=True)


def print_status(console: Console, storage: str, name: str) -> None:
    """Print an experiment's trials."""
    folder = find_experiment(storage, name)
    records, usage = read_ledger(folder), read_usage(folder)
    running = is_running(folder)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("trial", "state", "step", "valid.", "configuration"):
        table.add_column(column, justify="right" if column in ("step", "valid.") else "left")
    for record in records.values():
        what = record.arm or " ".join(f"{key}={_short(value)}" for key, value in record.params.items())
        value = "–" if record.value is None else f"{100 * record.value:.1f}"
        state = record.state or ("running" if running else "to go on")
        steps = f"{max(record.reports, default=0)}/{record.run_config.max_steps}"
        if record.run_config.imported is not None:  # it is tested, not trained
            steps = "–"
        table.add_row(f"{record.number + 1}", state, steps, value, what or record.run_config.method)
    console.print(table)
    at_work = "A driver is at work on it." if running else "No driver is at work on it."
    console.print(f"{count_states(records)}; {usage.hours:.2f} hours, {usage.gpu_hours:.2f} GPU-hours. {at_work}")


def print_run(console: Console, storage: str, run_id: str) -> None:
    """Print a run's configuration, origin and accuracy by language."""
    name, _, digits = run_id.rpartition(":")
    found: list[tuple[Folder, dict[str, Any]]] = []
    for folder in [find_experiment(storage, name)] if name else find_experiments(storage):
        try:
            runs = read_runs(folder).filter(pl.col("run_id").str.starts_with(digits))
        except InputError:
            continue
        found += [(folder, row) for row in runs.iter_rows(named=True)]
    if not found:
        raise InputError(f"storage {storage} holds no run {run_id!r}; the column run_id of a table `runs` has them")
    if len(found) > 1:
        known = [f"{folder.name}:{row['run_id']}" for folder, row in found[:5]]
        raise InputError(f"run {run_id!r} could be {', '.join(known)}; give more digits, or its experiment like this")
    folder, row = found[0]
    console.print(f"run {row['run_id']} of {folder.name}", highlight=False)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    for key, value in row.items():
        if value is not None and key not in ("run_id", "package_versions"):
            default = key in RunConfig.model_fields and RunConfig.model_fields[key].default == value
            table.add_row(key, f"{_short(value)}{'  (default)' if default else ''}")
    console.print(table)
    tested = read_evaluations(folder).filter((pl.col("run_id") == row["run_id"]) & (pl.col("split") == "test"))
    for language in tested.sort("accuracy", descending=True).iter_rows(named=True):
        counts = f"{language['num_correct']:>4}/{language['num_examples']:<4}"
        console.print(f"{language['language']:<10} {100 * language['accuracy']:5.1f}  {counts}", highlight=False)


def stop_experiment(console: Console, storage: str, name: str) -> None:
    """Ask an experiment's driver to end; InputError where none is at work."""
    folder = find_experiment(storage, name)
    if not is_running(folder):
        raise InputError(f"no driver is at work on {folder}")
    request_stop(folder)
    console.print(f"{name} will end as soon as its running trials have sent a checkpoint.")


def find_experiment(storage: str, name: str) -> Folder:
    """Return an experiment's folder; InputError where there is none of that name."""
    folder = Folder(storage) / normalise_name(name)
    if folder.read("experiment.yaml") is None:
        known = ", ".join(one.name for one in find_experiments(storage)) or "none"
        raise InputError(f"storage {storage} holds no experiment {name!r}; there are {known}")
    return folder


def count_states(records: dict[str, TrialRecord]) -> str:
    """Return how many trials there are in each state, in words."""
    counts = Counter(record.state or "unfinished" for record in records.values())
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none yet"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
