"""Experiments read together, and what is wrong with them.

What does not belong into a mean is named in `Results.problems` and never drops out silently: rows that stand twice,
runs that failed, were pruned, have not ended or are not asked for, languages that a run lacks or was tested on with
another number of examples, trials that the ledger lacks.
"""

from collections.abc import Sequence

import polars as pl

from sweep.analysis.cells import find_cells, find_lacking_trials, judge_cell, merge_seeds, name_apart, score_cell
from sweep.analysis.problems import Problems
from sweep.analysis.results import Cell, Experiment, Results
from sweep.analysis.score_tables import RUN, ScoreTables, read_score_tables, read_tables
from sweep.analysis.stored_experiment import check_comparable, read_experiment, split_experiment
from sweep.analysis.targets import TableRows, find_rows
from sweep.experiment.groups import Groups
from sweep.storage import Folder
from xpe_core.errors import InputError
from xpe_core.language_facts import find_facts
from xpe_core.steps import long_step


def read_results(
    folders: Sequence[Folder], exclude: str | None = None, merged: bool = True, metric: str | None = None
) -> Results:
    """Read folders of experiments that have one backbone and data set each; otherwise as `read_together`."""
    experiments = list(map(read_experiment, {str(folder): folder for folder in folders}.values()))
    for one in experiments:
        if len(panels := split_experiment(one)) > 1:
            names = ", ".join(panel.name for panel in panels)
            raise InputError(f"{one.name} has several backbones or data sets, whose scores do not compare: {names}")
    return read_together(experiments, exclude, merged, metric)


@long_step("Reading results")
def read_together(
    experiments: Sequence[Experiment], exclude: str | None = None, merged: bool = True, metric: str | None = None
) -> Results:
    """Read experiments for tables without the languages of `exclude` (groups, families, scripts, languages, or `none`).

    Without it, these are the languages trained on, or those of the published table (`targets.choose_exclusions`).
    `merged` puts the seeds together that several experiments ran of one arm. `metric` is what is averaged, by default
    the task's first. InputError where a folder holds no experiment, their scores do not compare (another data set or
    backbone), none of them has results yet, rows are impossible, or the exclusion set is unknown or holds all tested
    languages.
    """
    for other in experiments[1:]:
        check_comparable(experiments[0], other)
    problems = Problems()
    tables = read_score_tables(experiments, metric, problems)
    unscored = [cell for one in experiments for cell in find_cells(one, tables.runs, problems)]
    for one in experiments:
        find_lacking_trials(one, tables.runs, problems)
    if merged:
        unscored = merge_seeds(unscored, problems)
    groups = _collect_groups(experiments, problems)
    cells = tuple(score_cell(cell, tables.tested, groups) for cell in name_apart(unscored))
    foreign = frozenset(code for codes in tables.tested.foreign.values() for code in codes)
    for cell in cells:
        judge_cell(cell, tables.tested.languages, foreign, problems)
    results = Results(
        experiments=tuple(experiments),
        rows=_find_table_rows(experiments[0], cells, tables, groups, exclude),
        languages=tables.tested.languages,
        cells=cells,
        foreign=foreign,
        problems=problems.table(),
        most_frequent=tables.most_frequent,
        metric=tables.metric,
    )
    if results.languages and not results.groups:
        raise InputError(f"--exclude {exclude}: holds all tested languages, so there is no target group to report on")
    return results


def read_begun(folder: Folder) -> list[Experiment]:
    """Return an experiment's panels that have results, or its first one where none has; itself where it has one."""
    panels = split_experiment(read_experiment(folder))
    return [one for one in panels if not read_tables([one], "runs").is_empty()] or panels[:1]


def _collect_groups(experiments: Sequence[Experiment], problems: Problems) -> dict[str, tuple[str, ...]]:
    """Return the experiments' own groups; of two with one name the first."""
    groups: dict[str, tuple[str, ...]] = {}
    for one in experiments:
        for name, members in one.sweep.groups.items():
            if groups.setdefault(name, members) != members:
                problems.add(one.name, f"its group {name} has other languages: {experiments[0].name}'s are shown")
    return groups


def _find_table_rows(
    first: Experiment, cells: Sequence[Cell], tables: ScoreTables, groups: Groups, exclude: str | None
) -> TableRows:
    """Return what rows average over; data set and backbone are those of the first experiment, and of all."""
    source_sets = {cell.source_set: cell.config.data.source_set for cell in cells}
    validated = _collect_validated(cells, tables.runs, tables.validated)
    config = first.sweep.corners[0]
    facts = find_facts(config.backbone, config.task)
    return find_rows(config.data.dataset, source_sets, tables.tested.languages, validated, groups, exclude, facts)


def _collect_validated(cells: Sequence[Cell], runs: pl.DataFrame, validated: pl.DataFrame) -> dict[str, list[str]]:
    """Return which languages the runs of each source set were validated on."""
    named = {cell.config.data.source_set: cell.source_set for cell in cells}
    rows = validated.join(runs.select(*RUN, "source_set"), on=RUN).unique(["source_set", "language"])
    of_set = rows.group_by("source_set").agg("language").iter_rows()
    return {named[source_set]: sorted(codes) for source_set, codes in of_set if source_set in named}
