"""What a search chose, by validation, and where that stands in the test: the two need not agree, and why."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sweep.analysis.choice import rank
from sweep.analysis.report_data import ReportData
from sweep.analysis.results import Cell, Results
from sweep.report.group_lines import say_group
from sweep.report.sheet import join_names, percent


@dataclass(frozen=True)
class Standing:
    """A configuration with its score in [0, 1] by which a search chooses, and in the test."""

    name: str
    validation: float
    test: float


def choice_lines(data: ReportData) -> list[str]:
    """Return, of each search in a report, what it chose and whether it is the highest in the test, too."""
    results = data.results
    lines = []
    for one in results.experiments:
        if one.sweep.kind == "search" and results.groups:
            own = tuple(cell for cell in results.shown if cell.experiment == one.name)
            standings = _standings(results, own)
            if len(standings) > 1:
                lines += say_choice(
                    one.name, standings, results.broadest_group, len(one.sweep.seeds), results.chosen_by
                )
    return lines


def say_choice(search: str, standings: Sequence[Standing], group: str, num_seeds: int, metric: str) -> list[str]:
    """Return what a search chose, the first of `standings`, and where it stands in the test on a group."""
    chosen = standings[0]
    lines = [f"{search} chose {chosen.name} by validation {metric} ({percent(chosen.validation)} %)."]
    best = max(float(percent(one.test)) for one in standings)
    highest = [one.name for one in standings if float(percent(one.test)) == best]
    where = f"In the test on {say_group(group)}"
    if chosen.name in highest:
        equal = "" if len(highest) == 1 else f", with {join_names([name for name in highest if name != chosen.name])}"
        return [*lines, f"{where} it is the highest, too{equal}: {percent(chosen.test)} %."]
    verb = "is" if len(highest) == 1 else "are"
    seeds = f"{num_seeds} seed{'' if num_seeds == 1 else 's'}"
    return [
        *lines,
        f"{where} {join_names(highest)} {verb} higher: {best:.1f} % against {percent(chosen.test)} %.",
        f"The test takes no part in the choice; with {seeds} such a difference can be chance.",
    ]


def _standings(results: Results, cells: Sequence[Cell]) -> list[Standing]:
    """Return a search's cells that stand in the tables, what it chose first; those without all numbers are absent."""
    group = results.broadest_group
    by_config = {(cell.config_id, cell.source_set): cell for cell in cells}
    found = []
    for row in rank(replace(results, cells=tuple(cells))).iter_rows(named=True):
        cell = by_config[row["config_id"], row["source_set"]]
        if results.differs(cell, group) is None:
            found.append(Standing(cell.arm, row["score"], float(results.group_means(cell, group).mean())))
    return found
