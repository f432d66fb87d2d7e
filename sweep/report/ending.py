"""What is said at the end of an experiment: the table, what was chosen and where it stands, and what that is worth."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from rich.console import Console

from sweep.analysis import (
    Best,
    TableRows,
    asked_runs,
    find_best,
    find_experiment_rows,
    group_means,
    read_evaluations,
    read_runs,
)
from sweep.analysis.chance import is_above_most_frequent
from sweep.analysis.reading import read_results
from sweep.analysis.report_data import find_curse
from sweep.analysis.statistics import MIN_SEEDS
from sweep.planning.plan import Plan
from sweep.records.states import STATES
from sweep.report.chance_lines import say_not_above
from sweep.report.choice_lines import Standing, say_choice
from sweep.report.group_lines import group_lines
from sweep.report.replication_lines import replication_lines
from sweep.report.sheet import Sheet, percent
from sweep.report.terminal import Facts, print_lines, print_table
from sweep.report.wording import METHOD_NAMES, name_group
from sweep.storage import Folder
from sweep.wording import count_nouns, format_number, shorten
from xpe_core.errors import InputError


@dataclass(frozen=True)
class _Found:
    """What an experiment has found."""

    runs: pl.DataFrame
    evaluations: pl.DataFrame
    means: pl.DataFrame
    """As `group_means` returns them."""
    rows: TableRows

    @property
    def sizes(self) -> dict[str, set[int]]:
        """How many languages each target group has, in the order of the table; source sets may differ."""
        sizes: dict[str, set[int]] = {}
        for group, size in self.means.select("group", "num_languages").iter_rows():
            sizes.setdefault(group, set()).add(size)
        return {group: sizes[group] for group in sorted(sizes, key=self.rows.names.index)}


def print_answer(console: Console, plan: Plan, folder: Folder) -> None:
    """Print the best configuration beside SPT and XPE, by target group; of a grid every cell."""
    runs = asked_runs(read_runs(folder), plan.sweep)
    evaluations = read_evaluations(folder)
    table_rows = find_experiment_rows(plan.sweep, runs, evaluations)
    found = _Found(runs, evaluations, group_means(runs, evaluations, table_rows), table_rows)
    if plan.sweep.kind == "search":
        _print_search(console, plan, found)
    else:
        _print_grid(console, plan, found)


def print_replication(console: Console, folder: Folder) -> None:
    """Print what a replication answers, in three lines: promised, held, and really better or not."""
    try:
        results = read_results([folder])
        lines = replication_lines(results, find_curse(results)[0])
    except InputError as error:  # what was printed before stands
        lines = [f"Whether it is really better cannot be said: {error}."]
    console.print()
    for line in lines:
        print_lines(console, line, "  ", style="bold")


def most_frequent_class(plan: Plan) -> float:
    """Return the mean over the target languages of the share of the most frequent class in the test split."""
    return float(np.mean([share for share, _ in _most_frequent_classes(plan)]))


def _print_search(console: Console, plan: Plan, found: _Found) -> None:
    runs = found.runs
    best = find_best(runs)
    if best is None:
        return
    rows = [row for row in (find_best(runs, method) for method in METHOD_NAMES) if row is not None]
    rows.sort(key=lambda row: row.config_id != best.config_id)  # a stable sort: what was chosen first
    rows[1:] = sorted(rows[1:], key=lambda row: row.selection_accuracy, reverse=True)
    _print_chance(console, plan, found, {METHOD_NAMES[row.method]: row.config_id for row in rows})
    cells = []
    for row in rows:
        marked = METHOD_NAMES[row.method] + (" *" if row.config_id == best.config_id else "")
        numbers = [_cell(found, row.config_id, group) for group in found.sizes]
        cells.append((marked, percent(row.selection_accuracy), *numbers))
    _print_table(console, plan, ("method", "validation"), cells, found, strong_row=0)
    console.print(Facts([(METHOD_NAMES[row.method], _describe(plan, runs, row)) for row in rows]), highlight=False)
    print_lines(console, f"Always answering a language's most frequent class: {percent(most_frequent_class(plan))} %")
    console.print()
    where = shorten(plan.selection_languages)
    print_lines(console, f"* the best by validation accuracy on {where}", "  ")
    _print_choice(console, plan, rows, found)
    if plan.chosen_by_targets:
        took = shorten(plan.chosen_by_targets)
        print_lines(console, f"Not zero-shot: {took} took part in the choice (validation split).", "  ")
    _print_groups(console, plan, found)
    print_lines(console, f"Trials: {_count_trials(runs)}.")
    if len(plan.sweep.seeds) < MIN_SEEDS:
        print_lines(console, _say_few_seeds(plan))


def _print_grid(console: Console, plan: Plan, found: _Found) -> None:
    """Print every cell of a grid, a replication or an evaluation by target group."""
    is_chosen = plan.sweep.kind != "evaluate"  # there is no validation accuracy of what was trained elsewhere
    notes: list[str] = []
    rows: list[tuple[str, ...]] = []
    named: dict[str, str] = {}
    for (arm, _), config in zip(plan.sweep.cells, plan.sweep.corners, strict=True):
        own = found.runs.filter(pl.col("config_id") == config.config_id)
        complete = own.filter(pl.col("state") == "complete")
        if len(own) > len(complete):
            notes.append(f"{arm} on {config.source_set}: {len(own) - len(complete)} of {len(own)} runs failed")
        chosen = percent(complete["selection_accuracy"].mean()) if len(complete) else "–"  # type: ignore[arg-type]
        numbers = [_cell(found, config.config_id, group) if len(complete) else "–" for group in found.sizes]
        source_set = plan.sweep.name_source_set(config.source_set)
        rows.append((arm, source_set, str(len(complete)), *([chosen] if is_chosen else []), *numbers))
        if len(complete):
            named[f"{arm} on {source_set}"] = config.config_id
    _print_chance(console, plan, found, named)
    heads = ("arm", "trained on", "seeds", *(["validation"] if is_chosen else []))
    _print_table(console, plan, heads, rows, found, left=2)
    for note in notes:
        print_lines(console, note, "  ")
    print_lines(console, f"Always answering a language's most frequent class: {percent(most_frequent_class(plan))} %")
    console.print()
    for source_set, count in plan.trained_on_targets.items():
        print_lines(console, f"Not zero-shot: {source_set} trains on {count} of the tested languages.", "  ")
    _print_groups(console, plan, found)
    if len(plan.sweep.seeds) < MIN_SEEDS:
        print_lines(console, _say_few_seeds(plan))


def _print_table(
    console: Console,
    plan: Plan,
    heads: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    found: _Found,
    left: int = 1,
    strong_row: int | None = None,
) -> None:
    seeds = count_nouns(len(plan.sweep.seeds), "seed")
    spread = f" ± standard deviation over {seeds}" if len(plan.sweep.seeds) > 1 else f", {seeds}"
    console.print()
    print_lines(console, f"{plan.name}: test accuracy in % (mean{spread})", style="bold")
    console.print()
    groups = [f"{name_group(group).replace('_', ' ')} ({_say_sizes(size)})" for group, size in found.sizes.items()]
    columns = (*heads, *groups)
    strong = frozenset((strong_row, place) for place in range(len(columns))) if strong_row is not None else frozenset()
    print_table(console, Sheet("end", "", columns, tuple(rows), pl.DataFrame(), strong=strong, left=left))
    console.print()


def _print_chance(console: Console, plan: Plan, found: _Found, named: dict[str, str]) -> None:
    """Say first where a configuration, by its name, is not better than always answering the most frequent class."""
    known = _most_frequent_classes(plan)
    shares, counts = [share for share, _ in known], [count for _, count in known]
    tested = found.evaluations.filter((pl.col("split") == "test") & pl.col("language").is_in(plan.target_languages))
    complete = found.runs.filter(pl.col("state") == "complete").select("run_id", "config_id")
    per_run = tested.join(complete, on="run_id").group_by("config_id", "run_id").agg(pl.col("accuracy").sort().mean())
    below = []
    for name, config_id in named.items():
        values = per_run.filter(pl.col("config_id") == config_id).sort("run_id")["accuracy"].to_numpy()
        if len(values) and not is_above_most_frequent(values, shares, counts):
            below.append(f"{name} ({percent(float(values.mean()))} %)")
    if below:
        console.print()
        sentence = say_not_above(below, percent(float(np.mean(shares))), len(below) == len(named))
        print_lines(console, sentence, style="bold yellow")


def _print_choice(console: Console, plan: Plan, rows: Sequence[Best], found: _Found) -> None:
    """Say where the chosen configuration stands in the test."""
    if len(rows) < 2 or not found.sizes:
        return
    group = max(found.sizes, key=lambda name: max(found.sizes[name]))
    tests = {row["config_id"]: row["accuracy"] for row in found.means.filter(group=group).iter_rows(named=True)}
    standings = [
        Standing(METHOD_NAMES[row.method], row.selection_accuracy, tests[row.config_id])
        for row in rows
        if row.config_id in tests
    ]
    if not standings or standings[0].name != METHOD_NAMES[rows[0].method]:
        return
    for line in say_choice(plan.name, standings, group, len(plan.sweep.seeds)):
        print_lines(console, line, "  ")


def _print_groups(console: Console, plan: Plan, found: _Found) -> None:
    """Say what the names of groups mean, and which tested languages are in none."""
    sizes = {group: _say_sizes(size) for group, size in found.sizes.items()}
    lines = group_lines(sizes, plan.sweep.corners[0].backbone, plan.sweep.used_source_sets)
    for line in (*lines, *found.rows.explain(sorted(plan.target_languages))):
        print_lines(console, line, "  ", style="dim")


def _describe(plan: Plan, runs: pl.DataFrame, row: Best) -> str:
    """Return what a method's best configuration is, and how many were tried."""
    values = runs.filter(pl.col("config_id") == row.config_id).row(0, named=True)
    searched = " ".join(f"{name}={format_number(values[name])}" for name in plan.sweep.varying)
    failed = f"; {row.num_failed} of {row.num_seeds} seeds failed" if row.num_failed else ""
    tried = runs.filter(pl.col("method") == row.method)["config_id"].n_unique()
    number = f"best of {tried}" if tried > 1 else "the only one"
    return f"{searched or 'as the experiment says'} ({number}){failed}"


def _count_trials(runs: pl.DataFrame) -> str:
    states = runs.group_by("trial_id").agg("state")["state"]
    counts = Counter(next(state for state in STATES if state in list(trial)) for trial in states)
    ended = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    return f"{ended} (ended early, as others were better)" if counts["pruned"] else ended


def _say_few_seeds(plan: Plan) -> str:
    return (
        f"With {count_nouns(len(plan.sweep.seeds), 'seed')} this is a ranking. To show a difference takes {MIN_SEEDS} "
        "seeds or more."
    )


def _say_sizes(sizes: set[int]) -> str:
    return " or ".join(map(str, sorted(sizes)))


def _cell(found: _Found, config_id: str, group: str) -> str:
    rows = found.means.filter((pl.col("config_id") == config_id) & (pl.col("group") == group))
    if rows.is_empty():
        return "–"
    row = rows.row(0, named=True)
    return percent(row["accuracy"]) + ("" if row["spread"] is None else f" ± {percent(row['spread'])}")


def _most_frequent_classes(plan: Plan) -> list[tuple[float, int]]:
    """Return, of each target language, the share of its most frequent class in the test split, and of how many."""
    found = []
    for language in plan.target_languages:
        places = plan.data.select([language], "test", plan.sweep.evaluation.max_examples)
        found.append((float(np.bincount(plan.data.labels[places]).max() / len(places)), len(places)))
    return found
