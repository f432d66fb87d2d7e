"""All tables of a report at once: what the terminal, the files and the page show are these data frames."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from sweep.analysis.effort import costs, importances, learning_curves, rungs
from sweep.analysis.per_language import extremes, kinship_table, language_table
from sweep.analysis.problems import Problems
from sweep.analysis.published import published_table, why_not_comparable
from sweep.analysis.reading import read_results, read_together
from sweep.analysis.results import Experiment, Results
from sweep.analysis.rows import table_of
from sweep.analysis.score_tables import read_tables
from sweep.analysis.stored_experiment import read_experiment, read_panels, split_experiment
from sweep.analysis.studies import StudyTables, read_study_tables
from sweep.analysis.tables import BASELINE, differences, find_baseline, main_table
from sweep.analysis.tradeoff import CurseRow, name_search, pareto_front, winners_curse
from sweep.analysis.transfers import transfer_table
from sweep.records.specification import FILE, read_specification
from sweep.storage import Folder
from xpe_core.errors import InputError


@dataclass(frozen=True)
class ReportData:
    """A report's tables; each one's columns are in the docstring of the function that made it."""

    results: Results
    baseline: str
    main: pl.DataFrame
    differences: pl.DataFrame
    """Empty where there is nothing but the baseline."""
    curse: pl.DataFrame
    languages: pl.DataFrame
    extremes: pl.DataFrame
    families: pl.DataFrame
    scripts: pl.DataFrame
    front: pl.DataFrame
    published: pl.DataFrame
    not_comparable: str | None
    """Why nothing is comparable with the published table, None where something is."""
    importances: pl.DataFrame
    curves: pl.DataFrame
    rungs: pl.DataFrame
    costs: pl.DataFrame
    transfers: pl.DataFrame
    study: StudyTables | None = None
    """What is said of a study, where it is one."""

    @property
    def metric(self) -> str:
        """What people call that which scores are of."""
        return self.results.metric_title

    @property
    def panel(self) -> str:
        """What people call the backbone and data set, where the report's experiments have several; else empty."""
        return next((one.panel.name for one in self.results.experiments if one.panel is not None), "")

    @property
    def chosen_by(self) -> str:
        """What people call the metric that configurations are chosen by on validation examples."""
        return self.results.chosen_by

    @property
    def problems(self) -> pl.DataFrame:
        """What is wrong with the results."""
        return self.results.problems


def read_report_data(
    folders: Sequence[Folder], baseline: str | None = None, exclude: str | None = None, metric: str | None = None
) -> ReportData:
    """Return all tables of folders of experiments that have one backbone and data set each: as `build_report_data`."""
    return build_report_data(read_results(folders, exclude, metric=metric), baseline, exclude)


def read_reports(
    folders: Sequence[Folder], baseline: str | None = None, exclude: str | None = None, metric: str | None = None
) -> list[ReportData]:
    """Return the tables of experiments, a report for each backbone and data set that they have; one where all share it.

    A panel without results yet, or without the arm `baseline`, has its report without.
    """
    panels = read_panels(folders)
    if len(panels) == 1:
        return [build_report_data(read_together(panels[0], exclude, metric=metric), baseline, exclude)]
    begun = [group for group in panels if not read_tables(group, "runs").is_empty()] or panels[:1]
    found = [read_together(group, exclude, metric=metric) for group in begun]
    having = [
        results for results in found if baseline and any(find_baseline(results, a, baseline) for a in results.arms)
    ]
    if baseline is not None and not having:
        arms = ", ".join(dict.fromkeys(arm for results in found for arm in results.arms))
        raise InputError(f"--baseline {baseline}: must be one of the arms {arms}")
    return [build_report_data(results, baseline if results in having else None, exclude) for results in found]


def build_report_data(results: Results, baseline: str | None = None, exclude: str | None = None) -> ReportData:
    """Return all tables of these results; differences are to `baseline`, by default to SPT where there is one.

    Scores are of a metric, by default the task's first. Replications of a search are found beside it by what their
    specification names, and searches beside their replications; they only serve the winner's curse.
    """
    curse, problems = find_curse(results, exclude)
    results = replace(results, problems=pl.concat([results.problems, problems]))
    named = baseline or _choose_baseline(results)
    has_baseline = any(find_baseline(results, arm, named) for arm in results.arms)
    if baseline is not None and not has_baseline:
        raise InputError(f"--baseline {baseline}: must be one of the arms {', '.join(results.arms)}")
    main = main_table(results)
    languages = language_table(results, named)
    curves = learning_curves(results.experiments)
    reasons = dict.fromkeys(why_not_comparable(cell, results.metric) for cell in results.shown)
    return ReportData(
        results=results,
        baseline=named,
        main=main,
        differences=differences(results, named) if has_baseline else pl.DataFrame(),
        curse=curse,
        languages=languages,
        extremes=extremes(languages),
        families=kinship_table(results, "family", named),
        scripts=kinship_table(results, "script", named),
        front=pareto_front(results),
        published=published_table(results),
        not_comparable=None if None in reasons else next(iter(reasons), "there are no results"),
        importances=importances(results.experiments),
        curves=curves,
        rungs=rungs(results.experiments, curves),
        costs=costs(results.experiments),
        study=read_study_tables(results),
        transfers=transfer_table(results),
    )


def _choose_baseline(results: Results) -> str:
    """Return what is compared with where nothing is said: SPT, or of a study without it the first method."""
    is_study = results.experiments[0].study is not None
    answers = [arm for arm in results.arms if results.is_answer(arm)]
    if not is_study or not answers or find_baseline(results, answers[0], BASELINE):
        return BASELINE
    return answers[0]


def find_curse(results: Results, exclude: str | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the winner's curse of what is among the results, and why some of it is not there.

    A search or replication is looked for beside its half.
    """
    found = [table_of(CurseRow, [])]
    problems = Problems()
    for one in results.experiments:
        for other in _other_halves(one):
            pair = (other, one.folder) if one.sweep.kind == "replicate" else (one.folder, other)
            try:
                if _replicates(pair[1], pair[0].name) and all((half / "runs").names(".parquet") for half in pair):
                    halves = [_read_half(half, one, exclude, results.metric) for half in pair]
                    found.append(winners_curse(*halves))
            except InputError as error:  # nobody has asked for this experiment
                problems.add(one.name, f"without its half of the winner's curse, which cannot be read: {error}")
    table = pl.concat(found).unique(maintain_order=True)
    return table, problems.table()


def _read_half(folder: Folder, one: Experiment, exclude: str | None, metric: str) -> Results:
    """Return the results of one of two halves, on the backbone and data set that are meant."""
    panels = split_experiment(read_experiment(folder))
    key = one.panel.key if one.panel is not None else panels[0].sweep.corners[0].panel
    own = [half for half in panels if half.panel is None or half.panel.key == key]
    return read_together(own or panels[:1], exclude, metric=metric)


def _other_halves(one: Experiment) -> list[Folder]:
    """Return the search beside a replication, or what may be the replications beside a search."""
    beside = one.folder.parent
    if one.sweep.kind == "replicate":
        search = beside / name_search(one.sweep.of)
        return [search] if search.read(FILE) is not None else []
    return [beside / name for name in beside.folders()] if one.sweep.kind == "search" else []


def _replicates(folder: Folder, name: str) -> bool:
    """Whether an experiment is a replication of the search of that name."""
    content = folder.read(FILE)
    if content is None or b"kind: replicate" not in content:
        return False
    return name_search(read_specification(folder).values.get("of")) == name
