"""The answer in one table: which arm is highest, and is it really higher than the baseline."""

from typing import Any

import polars as pl

from sweep.analysis.answers import Answers
from sweep.analysis.statistics import LEVEL, seeds_for, smallest_p
from sweep.report.sheet import Sheet, interval, p_value, points, sections

SIGNIFICANT = 1 - LEVEL


def answer_sheets(answers: Answers) -> list[Sheet]:
    """Return which arm is highest in each row, and whether it is really higher than the baseline."""
    averaged = answering_cells(answers)
    chosen = set(answers.results.chosen_arms) & set(averaged["arm"])
    if averaged["arm"].n_unique() < 2:
        return []
    keys = ["source_set", "group", "arm"]
    highest = averaged.sort("accuracy", descending=True, maintain_order=True).unique(keys[:2], keep="first")
    places = averaged.select(keys[:2]).unique(maintain_order=True)
    names = ("difference", "low", "high", "p_holm")
    if answers.differences.is_empty():
        tested = pl.DataFrame(schema={**dict.fromkeys(keys, pl.String), **dict.fromkeys(names, pl.Float64)})
    else:
        tested = answers.differences.select(*keys, *names)
    found = places.join(highest, on=keys[:2], how="left", maintain_order="left")
    found = found.join(tested, on=keys, how="left", suffix="_difference", maintain_order="left")
    verdicts = [_verdict(row, answers, row["arm"] in chosen) for row in found.iter_rows(named=True)]
    found = found.with_columns(verdict=pl.Series(verdicts, dtype=pl.String))
    rows: list[tuple[str, ...]] = []
    for source_set, part in sections(found, "source_set"):
        rows.append((f"trained on {source_set}",))
        for row in part.iter_rows(named=True):
            shown = interval(row["accuracy"], row["low"], row["high"])
            change = interval(row["difference"], row["low_difference"], row["high_difference"], points)
            rows.append((row["group"], row["arm"], shown, change, p_value(row["p_holm"]), row["verdict"]))
    columns = ("tested on", "highest", "accuracy [95 %]", "difference [95 %]", "Holm p", "really higher?")
    title = f"The answer: which is highest, and is it really higher than {answers.baseline}"
    notes = ["really higher: yes where Holm's p is at most 0.05. 'not shown' is no proof of being equal."]
    if answers.differences.is_empty():
        notes = [f"There is no arm {answers.baseline} to compare with; --baseline ARM names another."]
    elif impossible := why_impossible(answers.differences):
        notes.append(impossible)
    if chosen:
        notes.append("not replicated: chosen by these very seeds, so it looks better than it is; run `replicate`.")
    return [Sheet("answer", title, columns, tuple(rows), found, tuple(notes), left=2)]


def answering_cells(answers: Answers) -> pl.DataFrame:
    """Return the main table's cells that may be the answer: not a search's where something was run on fresh seeds."""
    averaged = answers.main.filter(pl.col("accuracy").is_not_null())
    searched = [cell.arm for cell in answers.results.shown if answers.results.is_searched(cell)]
    fresh = averaged.filter(~pl.col("arm").is_in(searched))
    has_answer = any(not _is_baseline(arm, answers.baseline) for arm in fresh["arm"].unique())
    return fresh if has_answer else averaged


def _is_baseline(arm: str, baseline: str) -> bool:
    return arm.rpartition(":")[2] == baseline.rpartition(":")[2]


def _verdict(row: dict[str, Any], answers: Answers, is_chosen: bool) -> str:
    if _is_baseline(row["arm"], answers.baseline):
        return "is the baseline"
    if row["difference"] is None:
        return "not compared"
    if is_chosen:
        return "not replicated"
    # of the seeds that both have, which may be fewer than those of the mean that made it the highest
    is_higher = row["difference"] > 0 and row["p_holm"] is not None and row["p_holm"] <= SIGNIFICANT
    return "yes" if is_higher else "not shown"


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
        f"differences survives Holm's correction. It takes {needed} seeds, or fewer comparisons (compare A B --for "
        "GROUP)."
    )
