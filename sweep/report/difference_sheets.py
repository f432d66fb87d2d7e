"""Paired differences as people read them, and what must be known to read them."""

from collections.abc import Sequence

import polars as pl

from sweep.analysis.report_data import ReportData
from sweep.analysis.rows import rows_of
from sweep.analysis.statistics import MIN_SEEDS, POWER
from sweep.analysis.tables import DifferenceRow
from sweep.report.answer_sheets import NO_INTERVAL, SIGNIFICANT, few_seeds_line, lacks_interval, why_impossible
from sweep.report.sheet import Sheet, interval, p_value, points, sections
from sweep.report.wording import name_group


def difference_sheets(data: ReportData) -> list[Sheet]:
    """Return the differences to the baseline."""
    if data.differences.is_empty():
        return []
    title = f"Difference to {data.baseline} in points of {data.metric}, paired by seed"
    notes = [
        f"{arm} is the best of {count}, chosen by these seeds: its differences look better than they are."
        for arm, count in data.results.chosen_arms.items()
        if arm in data.differences["arm"]
    ]
    return [difference_sheet(data.differences, title, notes)]


def difference_sheet(table: pl.DataFrame, title: str, more_notes: Sequence[str] = ()) -> Sheet:
    """Return a table of `analysis.differences` or `analysis.compare`."""
    rows: list[tuple[str, ...]] = []
    for source_set, part in sections(table, "source_set"):
        rows.append((f"trained on {source_set}",))
        rows += map(_difference_cells, rows_of(DifferenceRow, part))
    numbers = ("pairs x\nlang.", "difference\n[these lang.]", "[such lang.]", "p", "Holm p", "could\nshow")
    notes = (*explain_differences(table), *more_notes)
    return Sheet("differences", title, ("tested on", "arm", *numbers), tuple(rows), table, notes, left=2)


def explain_differences(table: pl.DataFrame) -> list[str]:
    """Return what must be known to read a table of `analysis.differences`."""
    return [*explain_columns(table), *summarise_differences(table)]


def explain_columns(table: pl.DataFrame) -> list[str]:
    """Return what the columns of a table of `analysis.differences` are."""
    has_p = table["p_holm"].drop_nulls().len()
    notes = []
    if table["low"].drop_nulls().len():
        notes += [
            "[these lang.]: 95 % interval over seeds, for these languages (bias-corrected bootstrap).",
            "[such lang.]: over seeds and languages, for languages like these. It may be the narrower one.",
        ]
    if lacks_interval(table, "difference"):
        notes.append(NO_INTERVAL)
    notes.append("p: exact sign-flip test over seeds: how often chance alone does as much.")
    if has_p:
        notes += [
            f"Holm p: corrected for all {table['p_holm'].count()} rows with {MIN_SEEDS} pairs or more.",
            f"could show: the true difference that the test finds {100 * POWER:.0f} times of 100, as the only one.",
            "An interval may leave out 0 where p is above 0.05: the test assumes less.",
        ]
    return notes


def summarise_differences(table: pl.DataFrame) -> list[str]:
    """Return what a table of `analysis.differences` lacks, and how many of its differences are real."""
    notes = []
    compared = table.filter(pl.col("p_holm").is_not_null())
    missing = table.filter(pl.col("note").is_not_null()).unique(["source_set", "arm", "note"], maintain_order=True)
    for row in missing.iter_rows(named=True):
        notes.append(f"* no difference for {row['arm']} on {row['source_set']}: {row['note']}")
    if few := [count for count in table["num_pairs"].to_list() if 0 < count < MIN_SEEDS]:
        notes.append(few_seeds_line(few))
    if compared.is_empty():
        return notes
    if impossible := why_impossible(table):
        notes.append(impossible)
    held = compared.filter(pl.col("p_holm") <= SIGNIFICANT)
    notes.append(f"After Holm's correction {len(held)} of {len(compared)} differences are real at 5 %.")
    return notes


def _difference_cells(row: DifferenceRow) -> tuple[str, ...]:
    head = (name_group(row.group), row.arm, f"{row.num_pairs} x {row.num_languages}")
    return (*head, *difference_cells(row))


def difference_cells(row: DifferenceRow) -> tuple[str, ...]:
    """Return the numbers of a row: difference, both intervals, both p-values, what could be shown."""
    if row.difference is None:
        return ("*", "", "", "", "")
    such = "–" if row.low_languages is None else f"[{points(row.low_languages)}, {points(row.high_languages)}]"
    could = "–" if row.detectable is None else f"{100 * row.detectable:.1f}"
    change = interval(row.difference, row.low, row.high, points)
    return (change, such, p_value(row.p), p_value(row.p_holm), could)
