"""The answer in one table: which arm is highest, and is it really higher than the baseline."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from sweep.analysis.report_data import ReportData
from sweep.analysis.rows import rows_of
from sweep.analysis.statistics import LEVEL, MIN_INTERVAL_SEEDS, MIN_SEEDS, seeds_for, smallest_p
from sweep.analysis.tables import find_baseline
from sweep.report.choice_lines import choice_lines
from sweep.report.group_lines import say_group
from sweep.report.sheet import Sheet, interval, join_names, p_value, percent, points, sections
from sweep.report.wording import name_group

SIGNIFICANT = 1 - LEVEL
KEYS = ["source_set", "group"]
MAX_EQUAL = 3
"""Arms that are equal to the digit shown have a row each up to so many; a note names all."""
NO_INTERVAL = f"There is no interval below {MIN_INTERVAL_SEEDS} seeds: two say nothing about a third."


@dataclass(frozen=True)
class _Highest:
    """A cell that is the highest of its row, with its difference to the baseline where there is one."""

    source_set: str
    group: str
    arm: str
    score: float
    low: float | None
    high: float | None
    difference: float | None
    low_difference: float | None
    high_difference: float | None
    p_holm: float | None
    num_pairs: int | None


def answer_sheets(data: ReportData) -> list[Sheet]:
    """Return which arm is highest in each row, and whether it is really higher than the baseline."""
    if answering_cells(data)["arm"].n_unique() < 2:
        return []
    highest = highest_cells(data)
    highest_rows = _with_differences(data, highest)
    highest_rows = highest_rows.with_columns(verdict=pl.Series(_verdicts(highest_rows, data), dtype=pl.String))
    highest_rows = highest_rows.filter(pl.int_range(pl.len()).over(KEYS) < MAX_EQUAL)
    has_p = highest_rows["p_holm"].drop_nulls().len() > 0
    rows: list[tuple[str, ...]] = []
    for source_set, part in sections(highest_rows, "source_set"):
        rows.append((f"trained on {source_set}",))
        for row, verdict in zip(rows_of(_Highest, part), part["verdict"], strict=True):
            shown = interval(row.score, row.low, row.high)
            change = interval(row.difference, row.low_difference, row.high_difference, points)
            p = [p_value(row.p_holm)] if has_p else []
            said = _say_verdict(row, verdict, data.baseline)
            rows.append((name_group(row.group), row.arm, shown, change, *p, said))
    ends = " [95 %]" if highest_rows["low"].drop_nulls().len() else ""
    really = f"really higher than {data.baseline}?"
    columns = (
        "tested on",
        "highest",
        f"{data.metric}{ends}",
        f"difference{ends}",
        *["Holm p"] * has_p,
        really,
    )
    title = f"The answer: which is highest, and is it really higher than {data.baseline}"
    notes = [*choice_lines(data), *_equal_lines(highest), *_explain(data, highest_rows)]
    hints = _hints(data, highest_rows)
    return [Sheet("answer", title, columns, tuple(rows), highest_rows, tuple(notes), hints, left=2)]


def answering_cells(data: ReportData) -> pl.DataFrame:
    """Return the main table's cells that may be the answer: not a search's where something was run on fresh seeds."""
    answers = [arm for arm in data.results.arms if data.results.is_answer(arm)]
    averaged = data.main.filter(pl.col("score").is_not_null() & pl.col("arm").is_in(answers))
    searched = [cell.arm for cell in data.results.shown if data.results.is_searched(cell)]
    fresh = averaged.filter(~pl.col("arm").is_in(searched))
    has_answer = any(not _is_baseline(data, arm) for arm in fresh["arm"].unique())
    return fresh if has_answer else averaged


def highest_cells(data: ReportData) -> pl.DataFrame:
    """Return the highest of the cells that may be the answer, by row of the main table.

    What is equal to the digit shown is equally high: such cells are all there, in the order of the arms.
    """
    averaged = answering_cells(data)
    shown = pl.Series("shown", [float(percent(value)) for value in averaged["score"]], dtype=pl.Float64)
    marked = averaged.with_columns(shown)
    return marked.filter(pl.col("shown") == pl.col("shown").max().over(KEYS)).drop("shown")


def why_impossible(table: pl.DataFrame) -> str | None:
    """Return why no row of `analysis.differences` could be real whatever the numbers; None where one could."""
    compared = table.filter(pl.col("p_holm").is_not_null())
    if compared.is_empty():
        return None
    most, needed = int(compared["num_pairs"].to_numpy().max()), seeds_for(len(compared))
    if most >= needed:
        return None
    return (
        f"With {most} seeds p is at least {p_value(smallest_p(most))}: however large, none of {len(compared)} "
        f"differences survives Holm's correction. It takes {needed} seeds, or fewer comparisons."
    )


def _with_differences(data: ReportData, highest: pl.DataFrame) -> pl.DataFrame:
    """Return cells with their differences to the baseline, in the order of the main table."""
    names = {**dict.fromkeys(("difference", "low", "high", "p_holm"), pl.Float64), "num_pairs": pl.Int64}
    tested = pl.DataFrame(schema={**dict.fromkeys([*KEYS, "arm"], pl.String), **names})
    if not data.differences.is_empty():
        tested = data.differences.select(*KEYS, "arm", *names)
    table_rows = answering_cells(data).select(KEYS).unique(maintain_order=True)
    rows = table_rows.join(highest, on=KEYS, how="left", maintain_order="left_right")
    return rows.join(tested, on=[*KEYS, "arm"], how="left", suffix="_difference", maintain_order="left")


def _is_baseline(data: ReportData, arm: str) -> bool:
    return find_baseline(data.results, arm, data.baseline) == arm


def _verdicts(highest_rows: pl.DataFrame, data: ReportData) -> list[str]:
    """Return a verdict for each of the highest: one word or two, the same in every version."""
    rows = list(rows_of(_Highest, highest_rows))
    equal_to_baseline = {(row.source_set, row.group) for row in rows if _is_baseline(data, row.arm)}
    chosen = set(data.results.chosen_arms) & set(answering_cells(data)["arm"])
    return [
        _verdict(row, _is_baseline(data, row.arm), row.arm in chosen, (row.source_set, row.group) in equal_to_baseline)
        for row in rows
    ]


def _verdict(row: _Highest, is_baseline: bool, is_chosen: bool, is_equal: bool) -> str:
    if is_baseline:
        return "is the baseline"
    if is_equal:
        return "equal"
    if row.difference is None:
        return "not compared"
    if is_chosen:
        return "not replicated"
    # of the seeds that both have, which may be fewer than those of the mean that made it the highest
    is_higher = row.difference > 0 and row.p_holm is not None and row.p_holm <= SIGNIFICANT
    return "yes" if is_higher else "not shown"


def _say_verdict(row: _Highest, verdict: str, baseline: str) -> str:
    """Return a verdict in words that need no note."""
    if verdict != "not shown" or row.difference is None:
        words = {"is the baseline": f"{baseline} is the highest", "equal": f"no, equal to {baseline}"}
        words["not replicated"] = "not run on fresh seeds"
        return words.get(verdict, verdict)
    if row.p_holm is None:
        return f"cannot be shown with {row.num_pairs} seed{'' if row.num_pairs == 1 else 's'}"
    return "could be chance" if row.difference > 0 else "no, not on the same seeds"


def _equal_lines(highest: pl.DataFrame) -> list[str]:
    lines = []
    for (source_set, group), part in highest.group_by(KEYS, maintain_order=True):
        if len(part) > 1:
            arms = join_names(part["arm"].to_list())
            lines.append(f"{name_group(group)}, trained on {source_set}: {arms} are equal to the digit shown.")
    return lines


def _explain(data: ReportData, highest_rows: pl.DataFrame) -> list[str]:
    """Return what must be known to read the table."""
    if data.differences.is_empty():
        return [f"There is no arm {data.baseline} to compare with; --baseline ARM names another."]
    notes = []
    if lacks_interval(highest_rows, "score"):
        notes.append(NO_INTERVAL)
    if highest_rows["p_holm"].drop_nulls().len():
        notes.append("Holm p: how often chance alone does as much, corrected for all comparisons. yes: at most 0.05.")
    if replicated := [one.name for one in data.results.experiments if one.sweep.kind == "replicate"]:
        group = say_group(data.results.broadest_group)
        count = data.differences["p_holm"].count()
        notes.append(f"Whether {join_names(replicated)} holds is one question, on {group}.")
        notes.append(f"This table asks {count} at once, so its p is larger.")
    if "not shown" in highest_rows["verdict"] and highest_rows["p_holm"].drop_nulls().len():
        notes.append("could be chance: not shown by these seeds, which is no proof of being equal.")
    if impossible := why_impossible(data.differences):
        notes.append(impossible)
    few = data.differences.filter(pl.col("num_pairs").is_between(1, MIN_SEEDS - 1))["num_pairs"].to_list()
    if few:
        notes.append(few_seeds_line(few))
    if "not replicated" in highest_rows["verdict"]:
        notes.append("not run on fresh seeds: it was chosen by these very seeds, so it looks better than it is.")
    return notes


def lacks_interval(table: pl.DataFrame, value: str) -> bool:
    """Whether a table has a value without an interval."""
    return not table.filter(pl.col(value).is_not_null() & pl.col("low").is_null()).is_empty()


def few_seeds_line(counts: Sequence[int]) -> str:
    """Return that nothing can be claimed with so few pairs of seeds."""
    seeds = f"{max(counts)} seed{'s' if max(counts) > 1 else ''}"
    return (
        f"With {seeds} no claim at 5 % is possible: p is at least {p_value(smallest_p(max(counts)))}; "
        f"it takes {MIN_SEEDS} seeds."
    )


def _hints(data: ReportData, highest_rows: pl.DataFrame) -> tuple[str, ...]:
    """Return what to do next, at the command line."""
    hints = []
    if not data.differences.is_empty() and why_impossible(data.differences):
        hints.append("Fewer comparisons: compare A B --for GROUP.")
    searches = {cell.experiment for cell in data.results.shown if data.results.is_searched(cell)}
    searches -= set(data.curse["search"])
    if "not replicated" in highest_rows["verdict"] and searches:
        hints.append(f"Fresh seeds: replicate {' or '.join(sorted(searches))}.")
    return tuple(hints)
