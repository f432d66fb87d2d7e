"""What a replication answers, in three lines: what was promised, what held on fresh seeds, and is it really better."""

from collections.abc import Sequence

import polars as pl

from sweep.analysis.results import Cell, Results
from sweep.analysis.rows import rows_of
from sweep.analysis.statistics import LEVEL, MIN_SEEDS
from sweep.analysis.tables import DifferenceRow, compare_pairs, estimate, pair
from sweep.analysis.tradeoff import CurseRow, name_search, name_seeds
from sweep.report.group_lines import say_group
from sweep.report.sheet import interval, p_value, percent, points
from sweep.report.wording import name_group
from xpe_core.tunings import BASELINES

BEST = "best"
"""How the arms begin that a search chose."""
MAX_CONFIGURATIONS = 3
"""Of which the lines are printed: the first of `--top`."""


def replication_lines(results: Results, curse: pl.DataFrame) -> list[str]:
    """Return three lines for each configuration that a replication among the results ran again.

    `curse` is the table of `analysis.winners_curse`. A search among the results has a line that names its replication.
    """
    lines = []
    for one in results.experiments:
        if one.sweep.kind == "replicate" and results.groups:
            lines += _answer(results, curse, one.name, name_search(one.sweep.of))
    return lines or _announce(results, curse)


def _answer(results: Results, curse: pl.DataFrame, name: str, search: str) -> list[str]:
    group = results.broadest_group
    own = [cell for cell in results.shown if cell.experiment == name and cell.seeds]
    chosen = [cell for cell in own if _bare(cell).startswith(BEST)]
    others = [cell for cell in own if _bare(cell) in BASELINES]
    couples = [(cell, other) for cell in chosen for other in others if cell.source_set == other.source_set]
    table = compare_pairs([pair(results, cell, other, group) for cell, other in couples])
    rows = list(rows_of(DifferenceRow, table))
    lines = []
    for cell in chosen[:MAX_CONFIGURATIONS]:
        which = f" ({cell.arm})" if len(chosen) > 1 else ""
        promised = curse.filter(replication=name, arm=cell.arm, measure=group)
        promise = next(rows_of(CurseRow, promised), None)
        compared = [row for (one, _), row in zip(couples, rows, strict=True) if one is cell]
        lines.append(f"Promised{which}: {_promise(promise, search, say_group(group))}")
        lines.append(f"Held{which}: {_held(results, cell, group, promise)}")
        lines.append(f"Really better{which}? {_verdicts(cell, compared)}")
    return lines


def _promise(row: CurseRow | None, search: str, group: str) -> str:
    if row is None or row.search_score is None:
        reason = f": {row.note}" if row is not None and row.note else ""
        return f"what {search} found is not known here{reason}."
    seeds = f"seed{'s' if row.num_search_seeds > 1 else ''} {row.search_seeds}"
    return f"{search} found {percent(row.search_score)} % in the test on {name_group(group)}, with {seeds}."


def _held(results: Results, cell: Cell, group: str, promise: CurseRow | None) -> str:
    if note := results.differs(cell, group):
        return f"this cannot be said: {note}."
    (mean,) = estimate([results.group_means(cell, group)])
    seeds = f"the fresh seed{'s' if len(cell.seeds) > 1 else ''} {name_seeds(cell.seeds)}"
    said = f"{_with_interval(mean.mean, mean.low, mean.high)} with {seeds}"
    if promise is None or promise.difference is None:
        return f"{said}."
    change = points(abs(promise.difference)).lstrip("+")
    if change == "0.0":
        return f"{said}, as much as promised."
    return f"{said}, {change} points {'less' if promise.difference < 0 else 'more'} than promised."


def _verdicts(cell: Cell, rows: Sequence[DifferenceRow]) -> str:
    if not rows:
        return "there is nothing to compare it with."
    itself = [f"It is {cell.method.upper()} itself."] if cell.method in BASELINES else []
    return " ".join([*itself, *map(_verdict, rows)])


def _verdict(row: DifferenceRow) -> str:
    than = f"Than {row.baseline.rpartition(':')[2].upper()}"
    if row.difference is None:
        return f"{than}: cannot be compared: {row.note}."
    change = f"{interval(row.difference, row.low, row.high, points)} points"
    if row.p_holm is None:
        return f"{than}: {change}; with fewer than {MIN_SEEDS} seeds no difference can be shown."
    p = f"p {p_value(row.p_holm)}"
    if row.p_holm > 1 - LEVEL:
        return f"{than}: not shown: {change} could be chance ({p})."
    return f"{than}: {'yes' if row.difference > 0 else 'no, worse'}: {change} ({p})."


def _announce(results: Results, curse: pl.DataFrame) -> list[str]:
    """Return a line for each replication of a search among the results that is not among them itself."""
    if not results.groups:
        return []
    rows = curse.filter((pl.col("measure") == results.broadest_group) & pl.col("replication_score").is_not_null())
    lines = []
    chosen = [row for row in rows_of(CurseRow, rows) if row.arm.rpartition(":")[2].startswith(BEST)]
    for row in chosen[:MAX_CONFIGURATIONS]:
        held = _with_interval(row.replication_score, row.low, row.high)
        promise = percent(row.search_score)
        lines.append(
            f"On fresh seeds ({row.seeds}) the best of {row.search} has {held} on "
            f"{say_group(row.measure)}, where it had {promise} %. See: report {row.replication}."
        )
    return lines


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    shown = f"{percent(value)} %"
    return shown if low is None or high is None else f"{shown} [{percent(low)}, {percent(high)}]"


def _bare(cell: Cell) -> str:
    return cell.arm.rpartition(":")[2]
