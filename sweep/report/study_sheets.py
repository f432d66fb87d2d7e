"""A study's answers as people read them: which method, what tuning brought, what it costs, how much of it is needed."""

import polars as pl

from sweep.analysis.report_data import ReportData
from sweep.analysis.rows import rows_of
from sweep.analysis.statistics import seeds_for
from sweep.analysis.studies import BudgetRow, MethodRow, PriceRow
from sweep.analysis.tables import DifferenceRow
from sweep.report.answer_sheets import SIGNIFICANT, why_impossible
from sweep.report.difference_sheets import difference_cells, explain_columns, summarise_differences
from sweep.report.sheet import Sheet, interval, join_names, percent, points, sections
from sweep.report.wording import name_group
from sweep.wording import count_nouns

DIFFERENCE_COLUMNS = ("pairs x\nlang.", "difference\n[these lang.]", "[such lang.]", "p", "Holm p", "could\nshow")
SHOWN_TRIALS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Sizes of a search that have a column of their own, beside the whole one."""


def study_sheets(data: ReportData) -> list[Sheet]:
    """Return all tables of a study; none of what is no study."""
    return [*duel_sheets(data), *gain_sheets(data), *method_sheets(data), *price_sheets(data), *budget_sheets(data)]


def duel_sheets(data: ReportData) -> list[Sheet]:
    """Return the winners compared with one another."""
    if data.study is None or data.study.duels.is_empty():
        return []
    table = data.study.duels
    rows = [
        (f"{row.arm} - {row.baseline}", f"{row.num_pairs} x {row.num_languages}", *difference_cells(row))
        for row in rows_of(DifferenceRow, table)
    ]
    title = f"Every method against every other, over {name_group(table['group'][0])} languages, paired by seed"
    family = f"Holm p: corrected for all {table['p_holm'].count()} pairs."
    notes = (
        [note for note in explain_columns(table) if not note.startswith("Holm p")]
        if data.differences.is_empty()
        else []
    )
    notes += [*([family] if table["p_holm"].count() else []), *summarise_differences(table)]
    return [Sheet("methods", title, ("methods", *DIFFERENCE_COLUMNS), tuple(rows), table, tuple(notes))]


def gain_sheets(data: ReportData) -> list[Sheet]:
    """Return what tuning each method brought over its default setting."""
    if data.study is None or data.study.gains.is_empty():
        return []
    table = data.study.gains
    rows: list[tuple[str, ...]] = []
    for group, part in sections(table, "group"):
        rows.append((name_group(group),))
        for row in rows_of(DifferenceRow, part):
            rows.append((row.arm, f"{row.num_pairs} x {row.num_languages}", *difference_cells(row)))
    title = f"What tuning brought: each winner less its method's default setting, in points of {data.metric}"
    notes = tuple(summarise_differences(table))
    return [Sheet("gains", title, ("method", *DIFFERENCE_COLUMNS), tuple(rows), table, notes)]


def method_sheets(data: ReportData) -> list[Sheet]:
    """Return what each method's search took and promised, and what its winner held."""
    if data.study is None:
        return []
    rows = []
    for row in rows_of(MethodRow, data.study.methods):
        counts = (str(row.num_trials), str(row.num_pruned), str(row.num_failed), f"{row.num_steps:,}")
        held = f"{interval(row.held, row.low, row.high)} ({row.num_seeds})"
        change = None if row.held is None or row.promised is None else row.held - row.promised
        winner = "–" if row.config_id is None else f"{row.config_id[:8]}{' (the default)' if row.is_default else ''}"
        hours = f"{row.device_hours:.2f}"
        rows.append((row.method, winner, *counts, hours, percent(row.promised), held, points(change)))
    columns = ("method", "winner", "trials", "stopped", "failed", "steps", "device-\nhours", "promised")
    notes = (
        f"promised: validation {data.chosen_by} in the search. held: the same on fresh seeds (their number). A "
        "search's best looks better than it is; no figure of another table is out of a search.",
        "No trial of a search was tested: no target label took part in what was chosen.",
    )
    title = "The searches: equal budgets, and whether their promises held, in %"
    sheet_columns = (*columns, "held [95 %] (seeds)", "difference")
    return [Sheet("searches", title, sheet_columns, tuple(rows), data.study.methods, notes, left=2)]


def price_sheets(data: ReportData) -> list[Sheet]:
    """Return scores beside what they cost."""
    if data.study is None or data.study.prices.is_empty():
        return []
    table = data.study.prices.sort("score", descending=True)
    rows, strong = [], set()
    for number, row in enumerate(rows_of(PriceRow, table)):
        memory = "–" if row.peak_memory_bytes is None else f"{row.peak_memory_bytes / 2**20:,.0f}"
        seconds = "–" if row.train_seconds is None else f"{row.train_seconds:,.1f}"
        parameters = "–" if row.num_trained_parameters is None else f"{row.num_trained_parameters:,}"
        rows.append((row.arm, interval(row.score, row.low, row.high), parameters, seconds, memory))
        on_front = (row.is_cheapest, row.is_fastest, row.is_smallest)
        strong |= {(number, column) for column, is_on in enumerate(on_front, start=2) if is_on}
    columns = ("arm", f"{data.metric} [95 %]", "trained\nparameters", "seconds\na run", "memory\nin MiB")
    notes = (
        f"{data.metric}: over {name_group(table['group'][0])} languages. Bold: no arm is as good at less (Pareto).",
        "seconds: of training one run, its share of its pack. memory: the most that its process, or its GPU, had "
        "meanwhile.",
    )
    title = f"The price of {data.metric}"
    return [Sheet("prices", title, columns, tuple(rows), table, notes, strong=frozenset(strong))]


def budget_sheets(data: ReportData) -> list[Sheet]:
    """Return how the best validation accuracy grows with the number of trials."""
    if data.study is None or data.study.budget.is_empty():
        return []
    table = data.study.budget
    by_method = {name: list(rows_of(BudgetRow, part)) for name, part in sections(table, "method")}
    longest = max(map(len, by_method.values()))
    sizes = [*(size for size in SHOWN_TRIALS if size < longest), longest]
    rows = [
        (name, *(percent(of_method[size - 1].expected) if size <= len(of_method) else "–" for size in sizes))
        for name, of_method in by_method.items()
    ]
    first = _first_by_size(by_method, longest)
    notes = (
        f"Expected best validation {data.chosen_by} of so many trials, drawn with replacement from those that ended "
        "(Dodge et al. 2019). A trial that was stopped early counts with its best report.",
        f"The first in expectation: {first}.",
    )
    columns = ("method", *(f"{size} trial{'' if size == 1 else 's'}" for size in sizes))
    title = f"How the ranking depends on the budget: expected best validation {data.chosen_by} in %"
    return [Sheet("budget", title, columns, tuple(rows), table, notes)]


def _first_by_size(by_method: dict[str, list[BudgetRow]], longest: int) -> str:
    """Return which method is expected to be the first at which size of the search."""
    leaders: list[tuple[str, int]] = []
    for size in range(1, longest + 1):
        known = {name: rows[size - 1].expected for name, rows in by_method.items() if size <= len(rows)}
        leader = max(known, key=lambda name: known[name])
        if not leaders or leaders[-1][0] != leader:
            leaders.append((leader, size))
    return join_names([f"{name} from {size} trial{'' if size == 1 else 's'} on" for name, size in leaders])


def study_lines(data: ReportData) -> list[str]:
    """Return a study's answer in a few sentences: which method, whether it is real, and what tuning brought."""
    if data.study is None or data.study.duels.is_empty():
        return []
    duels = list(rows_of(DifferenceRow, data.study.duels))
    best = duels[0].arm
    against = [row for row in duels if row.arm == best and row.difference is not None]
    lines = []
    if against:
        real = [row for row in against if row.p_holm is not None and row.p_holm <= SIGNIFICANT]
        # means are over all of a method's seeds, and pairs over those that both have
        higher = [row.baseline for row in real if (row.difference or 0.0) > 0]
        lower = [row.baseline for row in real if row.baseline not in higher]
        open_ones = [row.baseline for row in against if row.baseline not in (*higher, *lower)]
        told = [f"really higher than {join_names(higher)}"] if higher else []
        told += [f"not to be told apart from {join_names(open_ones)}"] if open_ones else []
        told += [f"really lower than {join_names(lower)} on the seeds that both have"] if lower else []
        where = name_group(data.study.duels["group"][0])
        lines.append(f"{best} has the highest {data.metric} over {where} languages; it is {' and '.join(told)}.")
        nearest = against[0]
        change = interval(nearest.difference, nearest.low, nearest.high, points)
        pairs = count_nouns(nearest.num_pairs, "seed")
        lines.append(f"To the next one, {nearest.baseline}, it is {change} points, paired over {pairs}.")
    if why_impossible(data.study.duels):
        needed = seeds_for(len(data.study.duels.filter(pl.col("p_holm").is_not_null())))
        lines.append(f"So few seeds can show none of these differences to be real: {needed} can (replication_seeds).")
    return lines
