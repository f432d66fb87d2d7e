"""The tables of experiments read together: every row once, and the test scores by run on the same languages."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from sweep.analysis.metrics import choose_metric, of_metric
from sweep.analysis.problems import Problems
from sweep.analysis.results import Experiment
from sweep.analysis.statistics import Array
from sweep.records.ledger import read_ledger
from sweep.records.parquet import SCHEMAS, read_rows
from sweep.records.stages import Stage
from sweep.records.states import State
from sweep.records.winners import search_records
from sweep.storage import Folder
from sweep.wording import count_nouns
from xpe_core.config import PANEL_FIELDS, RunConfig
from xpe_core.errors import InputError

RUN = ["experiment", "run_id"]
ROUNDING = 1e-9
RunKey = tuple[str, str]
"""Experiment and run_id."""


@dataclass(frozen=True)
class RunScores:
    """All test results of complete runs, by run."""

    languages: tuple[str, ...]
    """Those that most runs were tested on."""
    scores: dict[RunKey, Array]
    """In [0, 1], of each language; NaN where the run has none."""
    foreign: dict[RunKey, tuple[str, ...]]
    """Languages beside those of most runs."""
    resized: dict[RunKey, tuple[str, ...]]
    """Languages that were tested on another number of examples than in most runs."""
    disputed: frozenset[RunKey]
    """Runs whose rows stand twice with different numbers."""
    selection: dict[RunKey, float]
    """Selection accuracy in [0, 1]."""


@dataclass(frozen=True)
class ScoreTables:
    """What the tables of several experiments say, every row once."""

    runs: pl.DataFrame
    validated: pl.DataFrame
    """Which languages each run was validated on: experiment, run_id, language."""
    tested: RunScores
    most_frequent: dict[str, tuple[float, int]]
    """By language: the share of its most frequent class in the test, and of how many examples; where it is known."""
    metric: str


def read_score_tables(experiments: Sequence[Experiment], metric: str | None, problems: Problems) -> ScoreTables:
    """Read the tables of experiments for one metric, by default the task's first; rows that stand twice are a problem.

    InputError where there are no results, no test results of complete runs, or impossible ones.
    """
    every, rows = (read_tables(experiments, table) for table in ("runs", "evaluations"))
    runs = every.filter(pl.col("adapted_to").is_null())  # those of a target have tables of their own
    rows = rows.join(every.filter(pl.col("adapted_to").is_not_null()).select(RUN), on=RUN, how="anti")
    if runs.is_empty():
        why = "; ".join(filter(None, map(_explain_none, experiments)))
        where = ", ".join(str(one.folder) for one in experiments)
        raise InputError(f"{where}: there are no results yet{why and f'; {why}'}")
    runs, disputed_runs = _once(runs, RUN, ["state", "selection_accuracy", "num_steps", "best_step"], problems)
    complete = runs.filter(pl.col("state") == State.COMPLETE).select(*RUN, "selection_accuracy")
    validated = rows.filter(pl.col("split") == "validation").select(*RUN, "language")
    rows = rows.filter(pl.col("split") == "test").join(complete.select(RUN), on=RUN, how="semi")
    task = experiments[0].sweep.corners[0].task
    metric = choose_metric(rows["metric"].unique().to_list(), metric, task)
    rows = of_metric(rows, metric)
    _check_counts(rows)
    if rows.is_empty() and not complete.is_empty():
        where = ", ".join(str(one.folder / "evaluations") for one in experiments)
        num_complete = count_nouns(len(complete), "run")
        raise InputError(f"{where}: there are no test results of the {num_complete} that are complete")
    rows, disputed_rows = _once(rows, [*RUN, "language"], ["num_examples", "score_sum"], problems)
    selection = {(name, run_id): value for name, run_id, value in complete.iter_rows()}
    tested = _index(rows, disputed_runs | disputed_rows, selection)
    return ScoreTables(runs, validated, tested, _most_frequent(rows), metric)


def _explain_none(one: Experiment) -> str | None:
    """Return why a study has nothing on fresh seeds yet; None of another experiment."""
    if one.study is None:
        return None
    records = read_ledger(one.folder).values()
    searched = [record for method in one.study.methods for record in search_records(records, method)]
    if not searched or any(record.state in (None, State.COMPLETE) for record in searched):
        return "no method's search is over, and status says how far they are"
    error = next((record.error for record in searched if record.error), None)
    return f"no method has a winner, since no trial is complete{f': {error.strip()}' if error else ''}"


def read_tables(experiments: Sequence[Experiment], table: str) -> pl.DataFrame:
    """Return all rows of a table of several experiments, with their names as `experiment`."""
    frames = []
    for one in experiments:
        rows = read_rows(one.folder, table)
        frame = pl.from_arrow(SCHEMAS[table].empty_table() if rows is None else rows)
        assert isinstance(frame, pl.DataFrame)
        if one.study is not None and table == "runs":
            frame = frame.filter(pl.col("stage") == Stage.REPLICATION)
        if one.panel is not None:
            frame = frame.filter(pl.col("run_id").is_in(_list_run_ids(one.folder, one.panel.config)))
        frames.append(frame.with_columns(experiment=pl.lit(one.name)))
    return pl.concat(frames)


def _list_run_ids(folder: Folder, config: RunConfig) -> list[str]:
    """Return the runs of a folder that have the backbone, data set and task of a configuration."""
    rows = read_rows(folder, "runs")
    frame = pl.from_arrow(SCHEMAS["runs"].empty_table() if rows is None else rows)
    assert isinstance(frame, pl.DataFrame)
    alike = [pl.col(name).eq_missing(pl.lit(config.values[name])) for name in PANEL_FIELDS]
    return [str(run_id) for run_id in frame.filter(*alike)["run_id"]]


def _once(
    frame: pl.DataFrame, key: list[str], values: list[str], problems: Problems
) -> tuple[pl.DataFrame, frozenset[RunKey]]:
    """Return every row once, and the runs of which there are rows with different values."""
    twice = frame.filter(frame.select(key).is_duplicated())
    for name, count in twice.group_by("experiment", maintain_order=True).agg(pl.col("run_id").n_unique()).rows():
        if not any(one.experiment == name and one.arm is None for one in problems):  # both tables at once
            problems.add(name, f"{count_nouns(count, 'run')} stand in more than one file: each is counted once")
    different = twice.unique([*key, *values])
    disputed = different.filter(different.select(key).is_duplicated()).select(RUN).unique()
    return frame.unique(key, keep="first", maintain_order=True), frozenset(disputed.rows())


def _check_counts(rows: pl.DataFrame) -> None:
    """Raise InputError where a row cannot be: no examples, or a higher sum of scores than there are examples."""
    most = pl.col("num_examples") * (1 + ROUNDING)
    possible = pl.col("num_examples").ge(1) & pl.col("score_sum").is_between(0, most)
    wrong = rows.filter(~possible.fill_null(False))
    if len(wrong):
        name, run_id, language, size, total = wrong.select(*RUN, "language", "num_examples", "score_sum").row(0)
        more = f", and {len(wrong) - 1} more rows are as impossible" if len(wrong) > 1 else ""
        raise InputError(
            f"{name}: evaluations says of run {run_id} in {language} that the scores of {size} examples add up to "
            f"{total}{more}; restore the file from a copy"
        )


def _index(rows: pl.DataFrame, disputed: frozenset[RunKey], selection: dict[RunKey, float]) -> RunScores:
    """Return scores by run, over the languages that most runs were tested on; of equally many the larger set.

    So with the number of test examples of a language: a run with another number has no score there.
    """
    sizes = rows.group_by("language", "num_examples").len().sort("len", "num_examples", descending=True)
    usual = sizes.unique("language", keep="first", maintain_order=True).select("language", usual="num_examples")
    by_run = (
        rows.join(usual, on="language", how="left", maintain_order="left")
        .with_columns(resized=pl.col("num_examples") != pl.col("usual"))
        .group_by(RUN, maintain_order=True)
        .agg("language", "resized", "score")
    )
    sets = Counter(tuple(sorted(codes)) for codes in by_run["language"].to_list())
    languages = max(sets, key=lambda codes: (sets[codes], len(codes), codes), default=())
    index_of = {code: index for index, code in enumerate(languages)}
    scores, foreign, resized = {}, {}, {}
    for name, run_id, codes, others, values in by_run.iter_rows():
        row = np.full(len(languages), np.nan)
        for code, is_other, value in zip(codes, others, values, strict=True):
            if code in index_of and not is_other:
                row[index_of[code]] = value
        scores[name, run_id] = row
        foreign[name, run_id] = tuple(sorted(code for code in codes if code not in index_of))
        resized[name, run_id] = tuple(sorted(code for code, other in zip(codes, others, strict=True) if other))
    return RunScores(languages, scores, foreign, resized, disputed, selection)


def _most_frequent(rows: pl.DataFrame) -> dict[str, tuple[float, int]]:
    """Return the share of each language's most frequent class and the number of examples, as most runs have them."""
    known = rows.filter(pl.col("chance_sum").is_not_null())
    counts = known.group_by("language", "num_examples", "chance_sum").len()
    usual = counts.sort("len", "num_examples", descending=True).unique("language", keep="first", maintain_order=True)
    return {
        code: (count / size, size)
        for code, size, count in usual.select("language", "num_examples", "chance_sum").iter_rows()
    }
