"""A report's tables as people read them: which columns, in which order, and what must be said under each."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import polars as pl

from sweep.analysis.report_data import ReportData
from sweep.analysis.statistics import MIN_SEEDS, POWER
from sweep.records.states import State
from sweep.report.answer_sheets import (
    NO_INTERVAL,
    SIGNIFICANT,
    answer_sheets,
    few_seeds_line,
    highest_cells,
    lacks_interval,
    why_impossible,
)
from sweep.report.group_lines import group_lines
from sweep.report.language_sheets import extreme_sheets, kinship_sheets
from sweep.report.setup_sheets import setup_sheets
from sweep.report.sheet import Sheet, interval, p_value, percent, points, sections
from sweep.report.wording import name_exclusion, name_group

ARMS_A_TABLE = 4
"""Arms side by side in 100 columns."""


def all_sheets(data: ReportData, arms_a_table: int = ARMS_A_TABLE) -> list[Sheet]:
    """Return every table of a report that has something to say, in the order of the questions."""
    makers: tuple[Callable[[ReportData], list[Sheet]], ...] = (
        answer_sheets,
        partial(main_sheets, arms_a_table=arms_a_table),
        difference_sheets,
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


def main_sheets(data: ReportData, arms_a_table: int = ARMS_A_TABLE, most: int | None = None) -> list[Sheet]:
    """Return the main table, a few arms at a time; at most `most` of them, the baseline and the highest."""
    arms = _choose_arms(data, most)
    blocks = [arms[start : start + arms_a_table] for start in range(0, len(arms), arms_a_table)]
    found = {(row["source_set"], row["group"], row["arm"]): row for row in data.main.iter_rows(named=True)}
    highest = set(highest_cells(data).select("source_set", "group", "arm").iter_rows())
    sheets = []
    for number, block in enumerate(blocks):
        rows: list[tuple[str, ...]] = []
        strong = set()
        for source_set in data.results.source_sets:
            rows.append((f"trained on {source_set}",))
            for group in data.results.groups:
                places = [(source_set, group, arm) for arm in block]
                strong |= {(len(rows), column) for column, place in enumerate(places, 1) if place in highest}
                rows.append((name_group(group), *map(_main_cell, map(found.get, places))))
        part = f" ({number + 1} of {len(blocks)})" if len(blocks) > 1 else ""
        excluded = name_exclusion(data.results.exclude)
        title = f"Test {data.metric} in %{f'; {excluded} in no group' if excluded else ''}{part}"
        place = number + 1 if len(blocks) > 1 else None
        said = tuple(_explain_main(data)) if number == len(blocks) - 1 else ()
        hints = _name_left_out(data.results.arms, arms) if number == len(blocks) - 1 else ()
        sheet = Sheet("main", title, ("tested on", *block), tuple(rows), data.main, said, hints, part=place)
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
    if lacks_interval(data.main, "accuracy"):
        notes.append(NO_INTERVAL)
    notes.append("The highest of a row is in bold.")
    for row in data.main.filter(pl.col("note").is_not_null()).iter_rows(named=True):
        notes.append(f"* not averaged: {row['arm']} on {row['source_set']}, {row['group']}: {row['note']}")
    for source_set, count in results.trained_on_targets.items():
        notes.append(f"Not zero-shot: {source_set} trains on {count} of the tested languages.")
    notes += results.left_out
    sizes = {group: len(places) for group, places in results.groups.items()}
    return notes + group_lines(sizes, results.rows.facts, results.source_sets)


def _choose_arms(data: ReportData, most: int | None) -> list[str]:
    """Return the arms in their order: all, or the baseline and those that are highest over most languages."""
    arms = data.results.arms
    if most is None or len(arms) <= most:
        return arms
    broad = data.main.filter(pl.col("group") == data.results.broadest_group)
    means = dict(broad.group_by("arm").agg(pl.col("accuracy").mean()).iter_rows())
    baselines = [arm for arm in arms if arm.rpartition(":")[2] == data.baseline.rpartition(":")[2]][:1]
    ranked = sorted(arms, key=lambda arm: (arm not in baselines, -(means.get(arm) or 0.0), arms.index(arm)))
    return [arm for arm in arms if arm in ranked[:most]]


def _name_left_out(arms: Sequence[str], shown: Sequence[str]) -> tuple[str, ...]:
    left = [arm for arm in arms if arm not in shown]
    if not left:
        return ()
    return (f"Left out are {len(left)} of {len(arms)} arms, none of them higher: {', '.join(left)}; --all shows all.",)


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
        rows += [_difference_row(row) for row in part.iter_rows(named=True)]
    numbers = ("pairs x\nlang.", "difference\n[these lang.]", "[such lang.]", "p", "Holm p", "could\nshow")
    notes = (*explain_differences(table), *more_notes)
    return Sheet("differences", title, ("tested on", "arm", *numbers), tuple(rows), table, notes, left=2)


def explain_differences(table: pl.DataFrame) -> list[str]:
    """Return what must be known to read a table of `analysis.differences`."""
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


def curse_sheets(data: ReportData) -> list[Sheet]:
    """Return what searches promised and replications held."""
    rows: list[tuple[str, ...]] = []
    for row in data.curse.iter_rows(named=True):
        promise = f"{percent(row['search_accuracy'])} ({row['num_search_seeds']})"
        held = interval(row["replication_accuracy"], row["low"], row["high"]) + f" ({row['num_seeds']})"
        rows.append((row["arm"], row["measure"], promise, row["note"] or held, points(row["difference"])))
    if not rows:
        return []
    notes = (
        "A search's best looks better than it is: it was chosen because its seeds were lucky, too. In brackets: seeds. "
        "Only the replication's figures may be quoted; whether they are really better says its own report: "
        + ", ".join(f"report {name}" for name in data.curse["replication"].unique(maintain_order=True)),
    )
    columns = ("arm", "measure", "search (seeds)", "replication [95 %] (seeds)", "difference")
    title = "The winner's curse: promised and held, in %"
    return [Sheet("winners-curse", title, columns, tuple(rows), data.curse, notes, left=2)]


def front_sheets(data: ReportData) -> list[Sheet]:
    """Return the Pareto front of low-performing against seen languages."""
    front = data.front.filter("on_front")
    if front.is_empty():
        return []
    rows: list[tuple[str, ...]] = []
    for row in front.iter_rows(named=True):
        name = (row["arm"], row["source_set"], row["config_id"][:8], str(row["num_seeds"]))
        rows.append((*name, percent(row["seen"]), percent(row["low_performing"])))
    notes = (
        f"No other of the {len(data.front)} finished configurations is better on both. Means over few seeds: a "
        "point that is on the front by little may not belong there.",
    )
    columns = ("arm", "trained on", "config", "seeds", "seen", "low-performing")
    title = "The trade-off: Pareto front of low-performing against seen languages, in %"
    return [Sheet("trade-off", title, columns, tuple(rows), data.front, notes, left=3)]


def importance_sheets(data: ReportData) -> list[Sheet]:
    """Return which searched fields mattered."""
    rows: list[tuple[str, ...]] = []
    for experiment, part in sections(data.importances, "experiment"):
        rows.append((f"{experiment}, {part['num_trials'][0]} complete trials",))
        rows += [(row["field"], f"{row['importance']:.2f}") for row in part.iter_rows(named=True)]
    title = "What mattered: importance for the selection accuracy (Optuna's PED-ANOVA, adds up to 1)"
    notes = ("0.5: half of what the fields explain of the trials' validation accuracy. Few trials say little of it.",)
    return [Sheet("importance", title, ("field", "importance"), tuple(rows), data.importances, notes)] if rows else []


def rung_sheets(data: ReportData) -> list[Sheet]:
    """Return what happened at each rung of a search, and all learning curves as data."""
    rows: list[tuple[str, ...]] = []
    for experiment, part in sections(data.rungs, "experiment"):
        rows.append((experiment,))
        for row in part.iter_rows(named=True):
            counts = (str(row["num_reached"]), str(row["num_stopped"]))
            rows.append((str(row["step"]), *counts, percent(row["median"]), percent(row["best"])))
    columns = ("step", "trials", "stopped here", "median", "best")
    title = "Learning curves at ASHA's rungs: validation accuracy in %"
    notes = (
        "A rung is a step at which trials are compared, and the worse ones are stopped (ASHA).",
        "trials: how many came so far; median and best: of their validation accuracy.",
    )
    return [Sheet("rungs", title, columns, tuple(rows), data.rungs, notes)] if rows else []


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
            ours = row["note"] or interval(row["accuracy"], row["low"], row["high"])
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


def _main_cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    counts = [f"{row['num_seeds']} x {row['num_languages']}"]
    counts += [
        f"{row[f'num_{state}']} {state}"
        for state in (State.FAILED, State.PRUNED, State.UNFINISHED)
        if row[f"num_{state}"]
    ]
    value = "*" if row["note"] else interval(row["accuracy"], row["low"], row["high"])
    return f"{value}\n{', '.join(counts)}"


def _difference_row(row: dict[str, Any]) -> tuple[str, ...]:
    head = (name_group(row["group"]), row["arm"], f"{row['num_pairs']} x {row['num_languages']}")
    if row["difference"] is None:
        return (*head, "*", "", "", "", "")
    such = "–" if row["low_languages"] is None else f"[{points(row['low_languages'])}, {points(row['high_languages'])}]"
    could = "–" if row["detectable"] is None else f"{100 * row['detectable']:.1f}"
    found = interval(row["difference"], row["low"], row["high"], points)
    return (*head, found, such, p_value(row["p"]), p_value(row["p_holm"]), could)
