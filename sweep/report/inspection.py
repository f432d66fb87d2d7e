"""What is kept in a storage: experiments, how far they are, and who is at work on them."""

from collections import Counter

from rich.console import Console
from rich.text import Text

from sweep.analysis.stored_experiment import read_experiment, split_experiment
from sweep.records.experiment_folder import request_stop
from sweep.records.finding import find_experiment, find_experiments, refuse_empty
from sweep.records.ledger import TrialRecord, Usage, read_ledger, read_usage
from sweep.records.ranking import Candidate, rank_trials
from sweep.records.specification import read_specification
from sweep.records.states import State
from sweep.report.terminal import print_lines, print_rows
from sweep.report.wording import format_percent, name_trial
from sweep.storage import Folder
from sweep.storage.lock import is_running
from sweep.wording import count_nouns, format_duration, format_number
from xpe_core.errors import InputError

__all__ = ["find_experiment", "find_experiments", "print_experiments", "print_status", "stop_experiment"]

MAX_ERRORS = 5
"""Reasons of failed trials under the table of `status`."""


def print_experiments(console: Console, storage: str) -> None:
    """Print one line an experiment; one that cannot be read is damaged, and why stands under the table."""
    folders = find_experiments(storage)
    if not folders:
        refuse_empty(storage)
    rows: list[tuple[str, ...]] = []
    damages: list[str] = []
    for folder in folders:
        driver = "running" if is_running(folder) else "–"
        try:
            kind, records = read_specification(folder).kind, read_ledger(folder)
            row = (kind, count_states(records), _best_value(folder, records), _time(read_usage(folder)))
        except InputError as error:
            row = ("damaged", "–", "–", "–")
            damages.append(str(error))
        rows.append((folder.name, *row, driver))
    print_rows(console, ("experiment", "kind", "trials", "best", "time", "driver"), rows, left=2)
    console.print()
    explained = (
        "best: the validation accuracy of the best configuration in %, where there is one backbone and data set; time: "
        "with a driver at work."
    )
    print_lines(console, explained, "  ", style="dim")
    for damage in damages:
        print_lines(console, damage, "  ")


def print_status(console: Console, storage: str, name: str) -> None:
    """Print how far an experiment is, its trials, and what can be done now."""
    folder = find_experiment(storage, name)
    kind, records, usage = read_specification(folder).kind, read_ledger(folder), read_usage(folder)
    running = is_running(folder)
    gpu = f", {usage.gpu_hours:.2f} GPU-hours" if usage.gpu_hours else ""
    print_lines(console, f"{folder.name} ({kind}): {count_states(records)}; {_time(usage)}{gpu}.", style="bold")
    if records:
        console.print()
        columns = ("trial", "state", "step", "validation", "configuration")
        print_rows(console, columns, _trial_rows(folder, records, running), left=2)
        console.print()
        explained = "validation: accuracy in %, mean over the trial's runs; * the best configuration."
        print_lines(console, explained, "  ", style="dim")
    failed = [
        record for record in records.values() if record.state in (State.FAILED, State.INFEASIBLE) and record.error
    ]
    for record in failed[:MAX_ERRORS]:
        reason = (record.error or "").strip().splitlines()[-1]
        print_lines(console, f"Trial {record.number + 1} {record.state}: {reason}", "  ")
    if len(failed) > MAX_ERRORS:
        console.print(f"and {len(failed) - MAX_ERRORS} more")
    console.print(Text(_say_what_next(folder, records, running, storage, name)), soft_wrap=True)


def stop_experiment(console: Console, storage: str, name: str) -> None:
    """Ask an experiment's driver to end; InputError where none is at work."""
    folder = find_experiment(storage, name)
    if not is_running(folder):
        raise InputError(f"no driver is at work on {folder}, so there is nothing to stop")
    request_stop(folder)
    console.print(Text(f"{folder.name} will end as soon as its running trials have sent a checkpoint."), soft_wrap=True)


def count_states(records: dict[str, TrialRecord]) -> str:
    """Return how many trials there are in each state, in words."""
    counts = Counter(record.state or State.UNFINISHED for record in records.values())
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none yet"


def _trial_rows(folder: Folder, records: dict[str, TrialRecord], running: bool) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    best = {candidate.subject for candidate in _find_best(folder, records)}
    for record in records.values():
        what = (
            name_trial(record)
            if record.stage
            else record.arm or " ".join(f"{key}={format_number(value)}" for key, value in record.params.items())
        )
        steps = f"{max(record.reports, default=0)}/{record.run_config.training.max_steps}"
        if record.run_config.imported is not None:  # it is tested, not trained
            steps = "–"
        mark = " *" if record.config_id in best else "  "
        cells = (
            str(record.number + 1),
            record.state or (State.RUNNING if running else "to go on"),
            steps,
            format_percent(record.value) + mark,
            what or record.run_config.method,
        )
        rows.append(cells)
    return rows


def _say_what_next(folder: Folder, records: dict[str, TrialRecord], running: bool, storage: str, name: str) -> str:
    there = f" --storage {storage}" if storage != "results" else ""
    if running:
        return f"A driver is at work on it; python sweep/run.py stop {name}{there} ends it."
    if left := sum(record.state is None for record in records.values()):
        return f"No driver is at work on it. To go on with {count_nouns(left, 'trial')}: the command that started it."
    if not records:
        return "No driver is at work on it, and no trial has begun: the command that started it begins again."
    return f"No driver is at work on it. What it says: python sweep/run.py report {name}{there}"


def _find_best(folder: Folder, records: dict[str, TrialRecord]) -> list[Candidate[str]]:
    """Return the best configuration of an experiment on each of its backbones and data sets, where one is complete."""
    panels = split_experiment(read_experiment(folder))
    return [best for panel in panels for best in rank_trials(panel.sweep, records.values())[:1]]


def _best_value(folder: Folder, records: dict[str, TrialRecord]) -> str:
    best = _find_best(folder, records)
    return "–" if len(best) != 1 else format_percent(best[0].score)


def _time(usage: Usage) -> str:
    return format_duration(3600 * usage.hours)
