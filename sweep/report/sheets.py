"""A report's tables as people read them: which columns, in which order, and what must be said under each."""

from collections.abc import Callable
from functools import partial

import polars as pl

from sweep.analysis.report_data import ReportData
from sweep.report.answer_sheets import answer_sheets
from sweep.report.difference_sheets import difference_sheets
from sweep.report.language_sheets import extreme_sheets, kinship_sheets
from sweep.report.main_sheets import ARMS_A_TABLE, main_sheets
from sweep.report.search_sheets import curse_sheets, front_sheets, importance_sheets, rung_sheets
from sweep.report.setup_sheets import setup_sheets
from sweep.report.sheet import Sheet, interval, percent, points, sections
from sweep.report.study_sheets import study_sheets
from sweep.report.transfer_sheets import transfer_sheets


def all_sheets(data: ReportData, arms_a_table: int = ARMS_A_TABLE) -> list[Sheet]:
    """Return every table of a report that has something to say, in the order of the questions."""
    makers: tuple[Callable[[ReportData], list[Sheet]], ...] = (
        answer_sheets,
        partial(main_sheets, arms_a_table=arms_a_table),
        difference_sheets,
        study_sheets,
        transfer_sheets,
        curse_sheets,
        extreme_sheets,
        kinship_sheets,
        front_sheets,
        importance_sheets,
        rung_sheets,
        cost_sheets,
        published_sheets,
        setup_sheets,
    )
    return [sheet for make in makers for sheet in make(data)]


def problem_lines(problems: pl.DataFrame) -> list[str]:
    """Return a line a problem, those of the same kind in an arm together."""
    lines = []
    together = problems.group_by("experiment", "arm", "problem", maintain_order=True).agg("source_set")
    for row in together.iter_rows(named=True):
        sets = ", ".join(name for name in row["source_set"] if name)
        where = " ".join(filter(None, [row["experiment"], row["arm"], f"on {sets}" if sets else ""]))
        lines.append(f"{where}: {row['problem']}")
    return lines


def cost_sheets(data: ReportData) -> list[Sheet]:
    """Return what it cost."""
    rows: list[tuple[str, ...]] = []
    for row in data.costs.iter_rows(named=True):
        best = "–" if row["best_device_hours"] is None else f"{row['best_device_hours']:.2f}"
        saved = f"{row['saved_device_hours']:.2f} ({100 * row['saved_share']:.0f} %)" if row["num_stopped"] else "–"
        hours = (f"{row['hours']:.2f}", f"{row['device_hours']:.2f}", f"{row['gpu_hours']:.2f}")
        rows.append((row["experiment"], str(row["num_trials"]), *hours, best, saved))
    columns = ("experiment", "trials", "hours", "device-hours", "GPU-hours", "of the best", "saved by stopping")
    notes = (
        "A device is what one trial has to itself: a GPU, its share of one, or CPUs. Saved: estimated, at the stopped "
        "trials' own pace.",
    )
    return [Sheet("cost", "Cost", columns, tuple(rows), data.costs, notes)]


def published_sheets(data: ReportData) -> list[Sheet]:
    """Return the published figures beside ours."""
    rows: list[tuple[str, ...]] = []
    for source_set, part in sections(data.published, "source_set"):
        rows.append((f"trained on {source_set}",))
        for row in part.iter_rows(named=True):
            inside = {True: "yes", False: "no", None: ""}[row["inside"]]
            ours = row["note"] or interval(row["score"], row["low"], row["high"])
            figures = (percent(row["published"]), ours, points(row["difference"]), inside)
            rows.append((row["group"], row["method"], row["arm"] or "–", *figures))
    if not rows:
        return []
    columns = ("tested on", "method", "arm", "published", "ours [95 %]", "difference", "inside")
    notes = (
        "inside: whether the published value lies in our interval. It is itself a mean over ten seeds: of equal truths "
        "about one in six lies outside.",
    )
    title = "Beside the published table (arXiv:2508.10352, table 1), in %"
    return [Sheet("published", title, columns, tuple(rows), data.published, notes, left=3)]
