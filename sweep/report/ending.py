"""What is said at the end of an experiment: the table, what was chosen and where it stands, and what that is worth."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from rich.console import Console

from sweep.analysis import asked_runs, rank, read_runs
from sweep.analysis.chance import is_above_most_frequent
from sweep.analysis.reading import read_together
from sweep.analysis.report_data import build_report_data, find_curse
from sweep.analysis.results import Cell, Results, means_of_complete
from sweep.analysis.statistics import MIN_SEEDS, Array
from sweep.analysis.stored_experiment import read_experiment, split_experiment
from sweep.planning.panel import Panel
from sweep.planning.plan import Plan
from sweep.records.states import RUN_ENDS, State
from sweep.report.chance_lines import say_not_above
from sweep.report.choice_lines import Standing, say_choice
from sweep.report.group_lines import group_lines
from sweep.report.replication_lines import replication_lines
from sweep.report.sheet import Sheet, percent
from sweep.report.study_sheets import study_lines
from sweep.report.terminal import Facts, print_lines, print_table
from sweep.report.wording import name_group
from sweep.storage import Folder
from sweep.wording import count_nouns, format_number, shorten
from xpe_core.errors import InputError
from xpe_core.tasks import TASKS
from xpe_core.tasks.metrics import METRICS, title_of
from xpe_core.tunings import METHOD_NAMES


def print_answer(console: Console, plan: Plan, folder: Folder) -> None:
    """Print the best configuration beside SPT and XPE, by target group; of a grid every cell, panel by panel."""
    experiment = read_experiment(folder)
    for panel, one in zip(plan.panels, split_experiment(experiment), strict=True):
        try:
            results = read_together([one])
        except InputError as error:
            if len(plan.panels) == 1:
                raise
            print_lines(console, f"{one.name}: {error}")  # the others have their answers
            continue
        if plan.sweep.kind == "search":
            _print_search(console, panel, results, asked_runs(read_runs(folder), plan.sweep))
        else:
            _print_grid(console, panel, results)


def print_replication(console: Console, folder: Folder) -> None:
    """Print what a replication answers, in three lines a panel: promised, held, and really better or not."""

    def answer(results: Results) -> list[str]:
        return replication_lines(results, find_curse(results)[0])

    _print_panels(console, folder, answer, "Whether it is really better")


def print_study(console: Console, folder: Folder) -> None:
    """Print what a study answers, panel by panel: which method is the highest, and whether it is really higher."""
    _print_panels(console, folder, lambda results: study_lines(build_report_data(results)), "Which method is the best")


def _print_panels(console: Console, folder: Folder, answer: Callable[[Results], Sequence[str]], question: str) -> None:
    """Print the answer to a question panel by panel, or why there is none."""
    for one in split_experiment(read_experiment(folder)):
        try:
            lines = answer(read_together([one]))
        except InputError as error:  # what was printed before stands
            lines = [f"{question} cannot be said: {error}."]
        console.print()
        if one.panel is not None:
            print_lines(console, f"{one.name}:")
        for line in lines:
            print_lines(console, line, "  ", style="bold")


def most_frequent_class(panel: Panel) -> float | None:
    """Return the mean over the target languages of what always giving the most frequent class scores in the test.

    None where the task's metric has no such bar.
    """
    known = _most_frequent_classes(panel)
    return float(np.mean([share for share, _ in known])) if known else None


def _print_search(console: Console, panel: Panel, results: Results, runs: pl.DataFrame) -> None:
    chosen = rank(results).unique("method", keep="first", maintain_order=True)
    if chosen.is_empty():
        return
    by_config = {cell.config_id: cell for cell in results.cells}
    best = [
        (by_config[config_id], float(score)) for config_id, score in chosen.select("config_id", "score").iter_rows()
    ]
    named = {METHOD_NAMES[cell.method]: cell for cell, _ in best}
    _print_chance(console, panel, results, named)
    sizes = _group_sizes(results)
    rows = [
        (METHOD_NAMES[cell.method] + (" *" if index == 0 else ""), percent(score))
        + tuple(_mean_and_spread(results.group_means(cell, group)) for group in sizes)
        for index, (cell, score) in enumerate(best)
    ]
    _print_table(console, panel, results.experiments[0].name, ("method", "validation"), rows, sizes, strong_row=0)
    console.print(Facts([(name, _describe(panel, results, cell)) for name, cell in named.items()]), highlight=False)
    _print_most_frequent(console, panel)
    console.print()
    where = shorten(panel.selection_languages)
    print_lines(console, f"* the best by validation {results.chosen_by} on {where}", "  ")
    _print_choice(console, panel, results, best, sizes)
    if panel.chosen_by_targets:
        took = shorten(panel.chosen_by_targets)
        print_lines(console, f"Not zero-shot: {took} took part in the choice (validation split).", "  ")
    _print_groups(console, panel, results, sizes)
    print_lines(console, f"Trials: {_count_trials(runs)}.")
    if len(panel.sweep.final_seeds) < MIN_SEEDS:
        print_lines(console, _say_few_seeds(panel))


def _print_grid(console: Console, panel: Panel, results: Results) -> None:
    """Print every cell of a grid, a replication or an evaluation by target group."""
    is_chosen = panel.sweep.kind != "evaluate"  # there is no validation accuracy of what was trained elsewhere
    sizes = _group_sizes(results)
    notes: list[str] = []
    rows: list[tuple[str, ...]] = []
    named: dict[str, Cell] = {}
    for cell in results.cells:
        if cell.states[State.FAILED]:
            ended = cell.states[State.FAILED] + len(cell.seeds)
            notes.append(
                f"{cell.arm} on {cell.config.data.source_set}: {cell.states[State.FAILED]} of {ended} runs failed"
            )
        chosen = percent(float(cell.selection_scores.mean()) if cell.seeds else None)
        numbers = [_mean_and_spread(results.group_means(cell, group)) for group in sizes]
        rows.append((cell.arm, cell.source_set, str(len(cell.seeds)), *([chosen] if is_chosen else []), *numbers))
        if cell.seeds:
            named[f"{cell.arm} on {cell.source_set}"] = cell
    _print_chance(console, panel, results, named)
    heads = ("arm", "trained on", "seeds", *(["validation"] if is_chosen else []))
    _print_table(console, panel, results.experiments[0].name, heads, rows, sizes, left=2)
    for note in notes:
        print_lines(console, note, "  ")
    _print_most_frequent(console, panel)
    console.print()
    for source_set, count in panel.trained_on_targets.items():
        print_lines(console, f"Not zero-shot: {source_set} trains on {count} of the tested languages.", "  ")
    _print_groups(console, panel, results, sizes)
    if len(panel.sweep.final_seeds) < MIN_SEEDS:
        print_lines(console, _say_few_seeds(panel))


def _print_table(
    console: Console,
    panel: Panel,
    name: str,
    heads: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    sizes: dict[str, str],
    left: int = 1,
    strong_row: int | None = None,
) -> None:
    sweep = panel.sweep  # in an evaluation each arm has as many seeds as adapters
    num_seeds = max((len(sweep.seeds_of(arm)) for arm, _ in sweep.cells), default=len(sweep.final_seeds))
    seeds = count_nouns(num_seeds, "seed")
    spread = f" ± standard deviation over {seeds}" if num_seeds > 1 else f", {seeds}"
    console.print()
    print_lines(console, f"{name}: test {title_of(_find_metric(panel))} in % (mean{spread})", style="bold")
    console.print()
    groups = [f"{name_group(group).replace('_', ' ')} ({size})" for group, size in sizes.items()]
    columns = (*heads, *groups)
    strong = frozenset((strong_row, index) for index in range(len(columns))) if strong_row is not None else frozenset()
    print_table(console, Sheet("end", "", columns, tuple(rows), pl.DataFrame(), strong=strong, left=left))
    console.print()


def _print_most_frequent(console: Console, panel: Panel) -> None:
    if (level := most_frequent_class(panel)) is not None:
        print_lines(console, f"Always answering a language's most frequent class: {percent(level)} %")


def _print_chance(console: Console, panel: Panel, results: Results, named: dict[str, Cell]) -> None:
    """Say first where a configuration, by its name, is not better than always answering the most frequent class."""
    known = _most_frequent_classes(panel)
    shares, counts = [share for share, _ in known], [count for _, count in known]
    below = []
    for name, cell in named.items() if known else ():
        values = means_of_complete(cell.scores)
        if len(values) and not is_above_most_frequent(values, shares, counts):
            below.append(f"{name} ({percent(float(values.mean()))} %)")
    if below:
        console.print()
        sentence = say_not_above(below, percent(float(np.mean(shares))), len(below) == len(named))
        print_lines(console, sentence, style="bold yellow")


def _print_choice(
    console: Console, panel: Panel, results: Results, best: Sequence[tuple[Cell, float]], sizes: dict[str, str]
) -> None:
    """Say where the chosen configuration, the first of the best, stands in the test."""
    if len(best) < 2 or not sizes:
        return
    group = results.broadest_group
    standings = [
        Standing(METHOD_NAMES[cell.method], score, float(means.mean()))
        for cell, score in best
        if len(means := results.group_means(cell, group))
    ]
    if not standings or standings[0].name != METHOD_NAMES[best[0][0].method]:
        return
    for line in say_choice(
        results.experiments[0].name, standings, group, len(panel.sweep.final_seeds), results.chosen_by
    ):
        print_lines(console, line, "  ")


def _print_groups(console: Console, panel: Panel, results: Results, sizes: dict[str, str]) -> None:
    """Say what the names of groups mean, and which tested languages are in none."""
    lines = group_lines(sizes, results.rows.facts, panel.sweep.used_source_sets)
    for line in (*lines, *results.left_out):
        print_lines(console, line, "  ", style="dim")


def _describe(panel: Panel, results: Results, cell: Cell) -> str:
    """Return what a method's best configuration is, and how many were tried."""
    searched = " ".join(f"{name}={format_number(cell.config.values[name])}" for name in panel.sweep.varying)
    num_failed = cell.states[State.FAILED]
    failed = f"; {num_failed} of {num_failed + len(cell.seeds)} runs failed" if num_failed else ""
    tried = sum(other.method == cell.method for other in results.cells)
    number = f"best of {tried}" if tried > 1 else "the only one"
    return f"{searched or 'as the experiment says'} ({number}){failed}"


def _count_trials(runs: pl.DataFrame) -> str:
    states = runs.group_by("trial_id").agg("state")["state"]
    counts = Counter(next(state for state in RUN_ENDS if state in list(trial)) for trial in states)
    ended = ", ".join(f"{counts[state]} {state}" for state in RUN_ENDS if counts[state])
    return f"{ended} (ended early, as others were better)" if counts[State.PRUNED] else ended


def _say_few_seeds(panel: Panel) -> str:
    seeds = count_nouns(len(panel.sweep.final_seeds), "seed")
    return f"With {seeds} this is a ranking. To show a difference takes {MIN_SEEDS} seeds or more."


def _group_sizes(results: Results) -> dict[str, str]:
    """Return how many languages each target group has, in the order of the table; source sets may differ."""
    source_sets = dict.fromkeys(cell.source_set for cell in results.cells if cell.seeds)
    sizes = {
        group: sorted({len(indices) for name in source_sets if (indices := results.language_indices(group, name))})
        for group in sorted(results.groups, key=results.rows.names.index)
    }
    return {group: " or ".join(map(str, numbers)) for group, numbers in sizes.items() if numbers}


def _mean_and_spread(values: Array) -> str:
    """Return a mean over seeds with its standard deviation (n - 1), in percent."""
    if not len(values):
        return "–"
    spread = f" ± {percent(float(values.std(ddof=1)))}" if len(values) > 1 else ""
    return percent(float(values.mean())) + spread


def _find_metric(panel: Panel) -> str:
    """Return the metric that selects: the first of the experiment's task."""
    return TASKS[panel.config.task].metrics[0]


def _most_frequent_classes(panel: Panel) -> list[tuple[float, int]]:
    """Return, of each target language, what always giving its most frequent class scores in the test split, and of how
    many examples.
    """
    metric = METRICS[_find_metric(panel)]
    found = []
    for language in panel.target_languages:
        rows = panel.data.select([language], "test", panel.sweep.evaluation.max_examples)
        if (total := metric.chance_sum(panel.data.labels[rows])) is not None:
            found.append((total / len(rows), len(rows)))
    return found
