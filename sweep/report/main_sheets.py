"""The main table as people read it: source sets and target groups down, a few arms across."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from sweep.analysis.report_data import ReportData
from sweep.analysis.rows import rows_of
from sweep.analysis.tables import MainRow
from sweep.records.states import State
from sweep.report.answer_sheets import NO_INTERVAL, highest_cells, lacks_interval
from sweep.report.group_lines import group_lines
from sweep.report.sheet import Sheet, interval
from sweep.report.wording import name_exclusion, name_group

ARMS_A_TABLE = 4
"""Arms side by side in 100 columns."""


def main_sheets(data: ReportData, arms_a_table: int = ARMS_A_TABLE, most: int | None = None) -> list[Sheet]:
    """Return the main table, a few arms at a time; at most `most` of them, the baseline and the highest."""
    arms = _choose_arms(data, most)
    blocks = [arms[start : start + arms_a_table] for start in range(0, len(arms), arms_a_table)]
    cells = {(row.source_set, row.group, row.arm): row for row in rows_of(MainRow, data.main)}
    highest = set(highest_cells(data).select("source_set", "group", "arm").iter_rows())
    sheets = []
    for number, block in enumerate(blocks):
        rows: list[tuple[str, ...]] = []
        strong = set()
        for source_set in data.results.source_sets:
            rows.append((f"trained on {source_set}",))
            for group in data.results.groups:
                keys = [(source_set, group, arm) for arm in block]
                strong |= {(len(rows), column) for column, key in enumerate(keys, 1) if key in highest}
                rows.append((name_group(group), *map(_main_cell, map(cells.get, keys))))
        part = f" ({number + 1} of {len(blocks)})" if len(blocks) > 1 else ""
        excluded = name_exclusion(data.results.exclude)
        title = f"Test {data.metric} in %{f'; {excluded} in no group' if excluded else ''}{part}"
        which = number + 1 if len(blocks) > 1 else None
        said = tuple(_explain_main(data)) if number == len(blocks) - 1 else ()
        hints = _name_left_out(data.results.arms, arms) if number == len(blocks) - 1 else ()
        sheet = Sheet("main", title, ("tested on", *block), tuple(rows), data.main, said, hints, part=which)
        sheets.append(replace(sheet, strong=frozenset(strong)))
    return sheets


def _explain_main(data: ReportData) -> list[str]:
    """Return what must be known to read the main table."""
    results = data.results
    has_interval = data.main["low"].drop_nulls().len()
    mean = "In each cell: the mean over seeds of the mean over languages"
    notes = [f"{mean}, its 95 % interval over seeds, and seeds x languages." if has_interval else f"{mean}."]
    if not has_interval:
        notes.append("Below it: seeds x languages.")
    if lacks_interval(data.main, "score"):
        notes.append(NO_INTERVAL)
    notes.append("The highest of a row is in bold.")
    for row in data.main.filter(pl.col("note").is_not_null()).iter_rows(named=True):
        notes.append(f"* not averaged: {row['arm']} on {row['source_set']}, {row['group']}: {row['note']}")
    for source_set, count in results.trained_on_targets.items():
        notes.append(f"Not zero-shot: {source_set} trains on {count} of the tested languages.")
    notes += results.left_out
    sizes = {group: len(indices) for group, indices in results.groups.items()}
    return notes + group_lines(sizes, results.rows.facts, results.source_sets)


def _choose_arms(data: ReportData, most: int | None) -> list[str]:
    """Return the arms in their order: all, or the baseline and those that are highest over most languages."""
    arms = data.results.arms
    if most is None or len(arms) <= most:
        return arms
    broad = data.main.filter(pl.col("group") == data.results.broadest_group)
    means = dict(broad.group_by("arm").agg(pl.col("score").mean()).iter_rows())
    baselines = [arm for arm in arms if arm.rpartition(":")[2] == data.baseline.rpartition(":")[2]][:1]
    ranked = sorted(arms, key=lambda arm: (arm not in baselines, -(means.get(arm) or 0.0), arms.index(arm)))
    return [arm for arm in arms if arm in ranked[:most]]


def _name_left_out(arms: Sequence[str], shown: Sequence[str]) -> tuple[str, ...]:
    left = [arm for arm in arms if arm not in shown]
    if not left:
        return ()
    return (f"Left out are {len(left)} of {len(arms)} arms, none of them higher: {', '.join(left)}; --all shows all.",)


def _main_cell(row: MainRow | None) -> str:
    if row is None:
        return ""
    counts = [f"{row.num_seeds} x {row.num_languages}"]
    for state, count in (
        (State.FAILED, row.num_failed),
        (State.PRUNED, row.num_pruned),
        (State.UNFINISHED, row.num_unfinished),
    ):
        counts += [f"{count} {state}"] if count else []
    value = "*" if row.note else interval(row.score, row.low, row.high)
    return f"{value}\n{', '.join(counts)}"
