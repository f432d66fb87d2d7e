"""What a person sees of an experiment: one calm screen while it runs, and the table after it."""

import time
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweep.analysis import (
    TableRows,
    find_best,
    find_experiment_rows,
    group_means,
    of_full_length,
    read_evaluations,
    read_runs,
)
from sweep.ledger import TrialRecord
from sweep.plan import Plan
from sweep.recorder import STATES
from sweep.report.wording import format_duration, format_number, format_percent, name_group, shorten
from sweep.storage import Folder

WIDE = 100
"""Columns of a console from which on a table's cells are written with spaces."""
METHOD_NAMES = {"spt": "SPT", "xpe": "XPE", "dual": "DUAL"}


class Screen:
    """The one screen of a running experiment; on something that is no terminal, one line a finished trial."""

    def __init__(self, console: Console, plan: Plan, records: dict[str, TrialRecord]) -> None:
        """Start from what the ledger knows of the experiment, `records`."""
        self._console = console
        self._plan = plan
        self._records = {trial_id: record for trial_id, record in records.items() if record.state}
        self._steps: dict[str, int] = {}
        self._trained: set[str] = set()
        self._started = time.monotonic()
        self._num_ended = 0
        self._live = Live(self, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> "Screen":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def listen(self, record: TrialRecord, result: dict[str, Any] | None) -> None:
        """Take note of a started trial (no result), a report, or an end."""
        self._records[record.trial_id] = record
        self._steps[record.trial_id] = result["step"] if result else max(record.reports, default=0)
        if result and result.get("trained"):
            self._trained.add(record.trial_id)
        if record.state is None:
            return
        self._num_ended += 1
        detail = f"step {self._steps[record.trial_id]}" if record.reports else ""
        if record.error:
            detail = record.error.strip().splitlines()[-1]
        line = Text.assemble(
            (f"{record.number + 1:>4}/{max(self._plan.num_trials, record.number + 1)}  ", "dim"),
            (f"{record.state:<9}", {"complete": "green", "pruned": "yellow"}.get(record.state, "red")),
            f"{format_percent(record.value):>6}  {self._describe(record)}  ",
            (detail, "dim"),
        )
        self._console.print(line, highlight=False, soft_wrap=True)

    def say(self, sentence: str) -> None:
        """Print a sentence above what is running."""
        self._console.print(Text(f"          {sentence}", style="dim"), soft_wrap=True)

    def __rich__(self) -> Group:
        running = [record for record in self._records.values() if record.state is None]
        states = [record.state for record in self._records.values()]
        counts = Text.assemble(
            (f"{len(running)} running", "cyan"),
            f", {states.count('complete')} complete, {states.count('pruned')} pruned, "
            f"{sum(states.count(state) for state in ('failed', 'crashed', 'infeasible'))} failed",
            (f"   {format_duration(time.monotonic() - self._started)} gone, {self._remaining()}", "dim"),
        )
        lines = [Text(), counts]
        for record in running:
            steps = f"step {self._steps[record.trial_id]}/{record.run_config.max_steps}"
            if record.trial_id in self._trained or self._plan.sweep.kind == "evaluate":
                steps = f"testing on {len(self._plan.target_languages)}"
            lines.append(Text(f"  {steps:<16} {format_percent(record.value):>6}  {self._describe(record)}"))
        complete = [record for record in self._records.values() if record.state == "complete"]
        if complete:
            best = max(complete, key=lambda record: record.value or 0.0)
            lines.append(
                Text(f"best so far       {format_percent(best.value):>6}  {self._describe(best)}", style="bold")
            )
        return Group(*lines)

    def _describe(self, record: TrialRecord) -> str:
        if record.arm is not None:
            return f"{record.arm} on {self._plan.sweep.name_source_set(record.run_config.source_set)}"
        values = [f"{name}={format_number(record.config[name])}" for name in self._plan.sweep.varying]
        return " ".join([f"{METHOD_NAMES[record.run_config.method]:<4}", *values])

    def _remaining(self) -> str:
        """Estimate from the trials that have ended or, before, from the share of the first one's steps."""
        gone = time.monotonic() - self._started
        done = float(self._num_ended)
        for record in self._records.values():
            if record.state is None:
                done += self._steps[record.trial_id] / record.run_config.max_steps
        left = max(self._plan.num_trials, len(self._records)) - len([r for r in self._records.values() if r.state])
        return f"about {format_duration(gone / done * left)} to go" if done else "starting"


def print_answer(console: Console, plan: Plan, folder: Folder) -> None:
    """Print the best configuration beside SPT and XPE, by target group."""
    runs = of_full_length(read_runs(folder), plan.sweep)
    evaluations = read_evaluations(folder)
    table_rows = find_experiment_rows(plan.sweep, runs, evaluations)
    means = group_means(runs, evaluations, table_rows)
    if plan.sweep.kind != "search":
        _print_grid(console, plan, runs, means, table_rows)
        return
    best = find_best(runs)
    if best is None:
        return
    rows = [row for row in (find_best(runs, method) for method in METHOD_NAMES) if row is not None]
    rows.sort(key=lambda row: row.selection_accuracy, reverse=True)
    table, groups = _start_table(means, table_rows, "best of", "valid.")
    for row in rows:
        cells = [_cell(console, means, row.config_id, group) for group in groups]
        marked = METHOD_NAMES[row.method] + (" *" if row.config_id == best.config_id else "")
        style = "bold" if row.config_id == best.config_id else ""
        table.add_row(marked, format_percent(row.selection_accuracy), *cells, style=style)
    seeds = f"{len(plan.sweep.seeds)} seed{'s' if len(plan.sweep.seeds) > 1 else ''}"
    console.print(f"\n{plan.name}: test accuracy in % (mean ± standard deviation over {seeds})")
    console.print(table)
    tried = dict(runs.group_by("method").agg(pl.col("config_id").n_unique()).iter_rows())
    for row in rows:
        values = runs.filter(pl.col("config_id") == row.config_id).row(0, named=True)
        searched = " ".join(f"{name}={format_number(values[name])}" for name in plan.sweep.varying)
        failed = f"  ({row.num_failed} of {row.num_seeds} seeds failed)" if row.num_failed else ""
        name = METHOD_NAMES[row.method]
        number = f"best of {tried[row.method]}" if tried[row.method] > 1 else "the only one"
        console.print(f"{name:<4}  {searched or 'as the experiment says'}  ({number}){failed}", highlight=False)
    states = runs.group_by("trial_id").agg("state")["state"]
    counts = Counter(next(state for state in STATES if state in list(trial)) for trial in states)
    ended = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    console.print(f"Always guessing a language's most frequent class: {format_percent(most_frequent_class(plan))}")
    console.print(f"* the best by validation accuracy on {shorten(plan.selection_languages)}")
    for sentence in table_rows.explain(sorted(plan.target_languages)):
        console.print(sentence, highlight=False)
    console.print(f"Trials: {ended}.")
    if plan.chosen_by_targets:
        console.print(f"Not zero-shot: {shorten(plan.chosen_by_targets)} took part in the choice (validation split).")
    if len(plan.sweep.seeds) < 6:
        console.print(f"With {seeds} this ranks configurations; it does not prove a difference.")


def most_frequent_class(plan: Plan) -> float:
    """Return the mean over the target languages of the share of the most frequent class in the test split."""
    shares = []
    for language in plan.target_languages:
        places = plan.data.select([language], "test", plan.sweep.evaluation.max_examples)
        shares.append(np.bincount(plan.data.labels[places]).max() / len(places))
    return float(np.mean(shares))


def _print_grid(console: Console, plan: Plan, runs: pl.DataFrame, means: pl.DataFrame, table_rows: TableRows) -> None:
    """Print every cell of a grid or a replication by target group."""
    is_chosen = plan.sweep.kind != "evaluate"  # there is no validation accuracy of what was trained elsewhere
    table, groups = _start_table(means, table_rows, "arm", "trained on", "seeds", *(["valid."] if is_chosen else []))
    notes: list[str] = []
    for (arm, _), config in zip(plan.sweep.cells, plan.sweep.corners, strict=True):
        own = runs.filter(pl.col("config_id") == config.config_id)
        complete = own.filter(pl.col("state") == "complete")
        if len(own) > len(complete):
            notes.append(f"{arm} on {config.source_set}: {len(own) - len(complete)} of {len(own)} runs failed")
        chosen = format_percent(complete["selection_accuracy"].mean()) if len(complete) else "–"  # type: ignore[arg-type]
        cells = [_cell(console, means, config.config_id, group) if len(complete) else "–" for group in groups]
        table.add_row(
            arm,
            plan.sweep.name_source_set(config.source_set),
            str(len(complete)),
            *([chosen] if is_chosen else []),
            *cells,
        )
    seeds = f"{len(plan.sweep.seeds)} seed{'s' if len(plan.sweep.seeds) > 1 else ''}"
    console.print(f"\n{plan.name}: test accuracy in % (mean ± standard deviation over {seeds})")
    console.print(table)
    for note in notes:
        console.print(note, highlight=False)
    console.print(f"Always guessing a language's most frequent class: {format_percent(most_frequent_class(plan))}")
    for source_set, count in plan.trained_on_targets.items():
        console.print(f"Not zero-shot: {source_set} trains on {count} of the tested languages.")
    for sentence in table_rows.explain(sorted(plan.target_languages)):
        console.print(sentence, highlight=False)
    if len(plan.sweep.seeds) < 6:
        console.print(f"With {seeds} this ranks configurations; it does not prove a difference.")


def _start_table(means: pl.DataFrame, table_rows: TableRows, *names: str) -> tuple[Table, list[str]]:
    """Return a table with these columns and one a target group, and the groups."""
    sizes: dict[str, set[int]] = {}
    for group, size in means.select("group", "num_languages").iter_rows():
        sizes.setdefault(group, set()).add(size)
    groups = sorted(sizes, key=table_rows.names.index)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for place, name in enumerate(names):
        is_text = place == 0 or name == "trained on"
        table.add_column(name, justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold")
    for group in groups:
        size = f"({' or '.join(map(str, sorted(sizes[group])))})"
        words = name_group(group).replace("_", " ").split()
        table.add_column("\n".join([*words, size]), justify="right", no_wrap=True)
    return table, groups


def _cell(console: Console, means: pl.DataFrame, config_id: str, group: str) -> str:
    found = means.filter((pl.col("config_id") == config_id) & (pl.col("group") == group))
    if found.is_empty():
        return "–"
    row = found.row(0, named=True)
    sign = " ± " if console.width >= WIDE else "±"
    spread = "" if row["spread"] is None else f"{sign}{100 * row['spread']:.1f}"
    return f"{format_percent(row['accuracy'])}{spread}"
