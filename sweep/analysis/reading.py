"""Experiments read together, and what is wrong with them.

What does not belong into a mean is named in `Results.problems` and never drops out silently: rows that stand twice,
runs that failed, were pruned, have not ended or are not asked for, languages that a run lacks or was tested on with
another number of examples, trials that the ledger lacks.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from sweep.analysis.configurations import asked_runs, rank_configurations
from sweep.analysis.metrics import choose_metric, of_metric
from sweep.analysis.results import NOT_PROPOSED, UNFINISHED, Cell, Experiment, Results
from sweep.analysis.stored_experiment import check_comparable, read_experiment
from sweep.analysis.targets import find_rows
from sweep.experiment.groups import Groups, name_source_set
from sweep.records.ledger import read_ledger
from sweep.records.parquet import SCHEMAS, read_rows
from sweep.records.states import State
from sweep.storage import Folder
from sweep.storage.lock import is_running
from xpe_core.config import RunConfig, take_fields
from xpe_core.errors import InputError
from xpe_core.language_facts import find_facts
from xpe_core.steps import long_step
from xpe_core.validation import build_config

PROBLEM_SCHEMA = {"experiment": pl.String, "arm": pl.String, "source_set": pl.String, "problem": pl.String}
STATES = (State.COMPLETE, State.FAILED, State.PRUNED, UNFINISHED)
RUN = ["experiment", "run_id"]
ROUNDING = 1e-9
RunKey = tuple[str, str]


@dataclass(frozen=True)
class _Found:
    """A cell before its scores are known."""

    experiment: str
    arm: str
    config: RunConfig
    shown: bool
    runs: Mapping[int, tuple[RunKey, str]]
    """What identifies the run, and its state, by seed."""
    first_trial: int
    """The number of the trial that proposed it; NOT_PROPOSED where there is none."""
    is_searched: bool = False
    num_tried: int = 1


@dataclass(frozen=True)
class _Tested:
    """All test results of complete runs."""

    languages: tuple[str, ...]
    scores: dict[RunKey, np.ndarray]
    foreign: dict[RunKey, tuple[str, ...]]
    resized: dict[RunKey, tuple[str, ...]]
    disputed: frozenset[RunKey]
    selection: dict[RunKey, float]


class _Problems(list[dict[str, str | None]]):
    """Sentences, with where they matter."""

    def add(self, experiment: str, problem: str, arm: str | None = None, source_set: str | None = None) -> None:
        self.append({"experiment": experiment, "arm": arm, "source_set": source_set, "problem": problem})


@long_step("Reading results")
def read_results(
    folders: Sequence[Folder], exclude: str | None = None, merged: bool = True, metric: str | None = None
) -> Results:
    """Read experiments for tables without the languages of `exclude` (groups, families, scripts, languages, or `none`).

    Without it, these are the languages trained on, or those of the published table (`targets.choose_exclusions`).
    `merged` puts the seeds together that several experiments ran of one arm. `metric` is what is averaged, by default
    the task's first. InputError where a folder holds no
    experiment, their scores do not compare (another data set or backbone), none of them has results yet, rows are
    impossible, or the exclusion set is unknown or holds all tested languages.
    """
    experiments = tuple(map(read_experiment, {str(folder): folder for folder in folders}.values()))
    for other in experiments[1:]:
        check_comparable(experiments[0], other)
    first, problems = experiments[0].sweep.corners[0], _Problems()
    runs, rows = (_read_table(experiments, table) for table in ("runs", "evaluations"))
    if runs.is_empty():
        raise InputError(f"{', '.join(str(one.folder) for one in experiments)}: there are no results yet")
    runs, disputed_runs = _once(runs, RUN, ["state", "selection_accuracy", "num_steps", "best_step"], problems)
    complete = runs.filter(pl.col("state") == State.COMPLETE).select(*RUN, "selection_accuracy")
    validated = rows.filter(pl.col("split") == "validation").select(*RUN, "language")
    rows = rows.filter(pl.col("split") == "test").join(complete.select(RUN), on=RUN, how="semi")
    metric = choose_metric(rows["metric"].unique().to_list(), metric, first.task)
    rows = of_metric(rows, metric)
    _check_counts(rows)
    if rows.is_empty() and not complete.is_empty():
        where = ", ".join(str(one.folder / "evaluations") for one in experiments)
        raise InputError(f"{where}: there are no test results of the {_runs(len(complete))} that are complete")
    rows, disputed_rows = _once(rows, [*RUN, "language"], ["num_examples", "score_sum"], problems)
    selection = {(name, run_id): value for name, run_id, value in complete.iter_rows()}
    tested = _index(rows, disputed_runs | disputed_rows, selection)
    found = [cell for one in experiments for cell in _find_cells(one, runs, problems)]
    for one in experiments:
        _miss_trials(one, runs, problems)
    if merged:
        found = _merge(found, problems)
    groups = _collect_groups(experiments, problems)
    cells = [_fill(cell, tested, groups) for cell in _name_apart(found, experiments)]
    foreign = {code for codes in tested.foreign.values() for code in codes}
    for cell in cells:
        _judge(cell, tested.languages, frozenset(foreign), problems)
    frame = pl.DataFrame(problems, schema=PROBLEM_SCHEMA)
    most_frequent = _most_frequent(rows)
    table_rows = find_rows(
        first.data.dataset,
        {cell.source_set: cell.config.data.source_set for cell in cells},
        tested.languages,
        _collect_validated(cells, runs, validated),
        groups,
        exclude,
        find_facts(first.backbone, first.task),
    )
    everything = (experiments, table_rows, tested.languages, tuple(cells), frozenset(foreign), frame)
    results = Results(*everything, most_frequent=most_frequent, metric=metric)
    if results.languages and not results.groups:
        raise InputError(f"--exclude {exclude}: holds all tested languages, so there is no target group to report on")
    return results


def _collect_groups(experiments: Sequence[Experiment], problems: _Problems) -> dict[str, tuple[str, ...]]:
    """Return the experiments' own groups; of two with one name the first."""
    groups: dict[str, tuple[str, ...]] = {}
    for one in experiments:
        for name, members in one.sweep.groups.items():
            if groups.setdefault(name, members) != members:
                problems.add(one.name, f"its group {name} has other languages: {experiments[0].name}'s are shown")
    return groups


def _collect_validated(cells: Sequence[Cell], runs: pl.DataFrame, validated: pl.DataFrame) -> dict[str, list[str]]:
    """Return which languages the runs of each source set were validated on."""
    named = {cell.config.data.source_set: cell.source_set for cell in cells}
    rows = validated.join(runs.select(*RUN, "source_set"), on=RUN).unique(["source_set", "language"])
    of_set = rows.group_by("source_set").agg("language").iter_rows()
    return {named[source_set]: sorted(codes) for source_set, codes in of_set if source_set in named}


def _read_table(experiments: Sequence[Experiment], table: str) -> pl.DataFrame:
    frames = []
    for one in experiments:
        rows = read_rows(one.folder, table)
        frame = pl.from_arrow(SCHEMAS[table].empty_table() if rows is None else rows)
        assert isinstance(frame, pl.DataFrame)
        frames.append(frame.with_columns(experiment=pl.lit(one.name)))
    return pl.concat(frames)


def _once(
    frame: pl.DataFrame, key: list[str], values: list[str], problems: _Problems
) -> tuple[pl.DataFrame, frozenset[RunKey]]:
    """Return every row once, and the runs of which there are rows with different values."""
    twice = frame.filter(frame.select(key).is_duplicated())
    for name, count in twice.group_by("experiment", maintain_order=True).agg(pl.col("run_id").n_unique()).rows():
        if not any(one["experiment"] == name and one["arm"] is None for one in problems):  # both tables at once
            problems.add(name, f"{_runs(count)} stand in more than one file: each is counted once")
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


def _index(rows: pl.DataFrame, disputed: frozenset[RunKey], selection: dict[RunKey, float]) -> _Tested:
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
    return _Tested(languages, scores, foreign, resized, disputed, selection)


def _most_frequent(rows: pl.DataFrame) -> dict[str, tuple[float, int]]:
    """Return the share of each language's most frequent class and the number of examples, as most runs have them."""
    known = rows.filter(pl.col("chance_sum").is_not_null())
    counts = known.group_by("language", "num_examples", "chance_sum").len()
    usual = counts.sort("len", "num_examples", descending=True).unique("language", keep="first", maintain_order=True)
    return {
        code: (count / size, size)
        for code, size, count in usual.select("language", "num_examples", "chance_sum").iter_rows()
    }


def _find_cells(one: Experiment, runs: pl.DataFrame, problems: _Problems) -> Iterator[_Found]:
    own = runs.filter(pl.col("experiment") == one.name)
    rows: dict[str, dict[int, tuple[RunKey, str]]] = defaultdict(dict)
    for config_id, seed, run_id, state in own.select("config_id", "seed", "run_id", "state").iter_rows():
        rows[config_id][seed] = (one.name, run_id), state
    first_trials = dict(own.group_by("config_id").agg(pl.col("trial_number").min()).iter_rows())
    if one.sweep.kind != "search":
        for (arm, _), config in zip(one.sweep.cells, one.sweep.corners, strict=True):
            asked = {seed: ((one.name, config.with_seed(seed).run_id), UNFINISHED) for seed in one.sweep.seeds_of(arm)}
            first_trial = first_trials.get(config.config_id, NOT_PROPOSED)
            yield _Found(one.name, arm, config, True, asked | rows[config.config_id], first_trial)
        known = {config.config_id for config in one.sweep.corners}
        if count := own.filter(~pl.col("config_id").is_in(known))["run_id"].n_unique():
            problems.add(one.name, f"{_runs(count)} of no configuration that experiment.yaml asks for: in no table")
        return
    whole, own = own, asked_runs(own, one.sweep)
    if count := whole["run_id"].n_unique() - own["run_id"].n_unique():
        problems.add(one.name, f"{_runs(count)} of another length than experiment.yaml asks for: in no table")
    configs = {row["config_id"]: row for row in own.iter_rows(named=True)}
    running = [record for record in read_ledger(one.folder).values() if record.state is None]
    if left := max(one.sweep.num_samples - len(configs), len(running)):
        problems.add(one.name, f"{left} of {one.sweep.num_samples} configurations have not ended: the best may change")
    if count := own.filter(pl.col("state") == State.COMPLETE)["selection_accuracy"].null_count():
        problems.add(one.name, f"{_runs(count)} complete without a selection accuracy: they may not be the best")
    tried = Counter((row["method"], row["source_set"]) for row in configs.values())
    ranked = [best.config_id for best in rank_configurations(own)]
    best: dict[tuple[str, str], str] = {}
    for config_id in ranked:
        best.setdefault((configs[config_id]["method"], configs[config_id]["source_set"]), config_id)
    for config_id in (*ranked, *sorted(configs.keys() - set(ranked))):
        values = take_fields(configs[config_id])
        config = build_config(RunConfig, values, f"{one.folder / 'runs'}, config_id {config_id}")
        kind = config.method, config.data.source_set
        is_best = best.get(kind) == config_id
        arm = config.method if is_best else f"{config.method} {config_id[:6]}"
        yield _Found(one.name, arm, config, is_best, rows[config_id], first_trials[config_id], True, tried[kind])


def _miss_trials(one: Experiment, runs: pl.DataFrame, problems: _Problems) -> None:
    """Say which trials have runs, but no end in the ledger."""
    of_state = pl.col("state").is_in([State.COMPLETE, State.PRUNED])  # others are begun again
    trials = runs.filter((pl.col("experiment") == one.name) & of_state)["trial_id"].unique()
    ended = {record.trial_id for record in read_ledger(one.folder).values() if record.state is not None}
    # a driver writes a trial's rows, and then that it ended
    if (missing := len(set(trials) - ended)) and not is_running(one.folder):
        which = f"of {missing} of the {len(trials)} trials that have runs"
        problems.add(one.name, f"the ledger lacks the end {which}: costs and learning curves are incomplete")


def _merge(found: Sequence[_Found], problems: _Problems) -> list[_Found]:
    """Put the seeds together that several experiments ran of one arm's configuration; a run counts once.

    A search's seeds stay apart: its best was chosen by them, so they say more good of it than fresh ones.
    """
    merged: dict[tuple[str, ...], _Found] = {}
    for cell in found:
        key = (cell.arm, cell.config.config_id, cell.experiment if cell.is_searched else "")
        first = merged.get(key)
        if first is None:
            merged[key] = cell
            continue
        both = [
            s
            for s in cell.runs
            if cell.runs[s][1] == State.COMPLETE and first.runs.get(s, ("", ""))[1] == State.COMPLETE
        ]
        if both:
            stand = "stands" if len(both) == 1 else "stand"
            sentence = f"{_runs(len(both))} also {stand} in {first.experiment}: counted once, as there"
            problems.add(cell.experiment, sentence, cell.arm, cell.config.data.source_set)
        better = {s: run for s, run in cell.runs.items() if first.runs.get(s, ("", ""))[1] != State.COMPLETE}
        merged[key] = replace(first, runs={**first.runs, **better})
    return list(merged.values())


def _name_apart(found: Sequence[_Found], experiments: Sequence[Experiment]) -> list[_Found]:
    """Name arms `NAME:arm` where several experiments have one of that name with other configurations."""
    config_ids: dict[tuple[str, str], set[str]] = defaultdict(set)
    homes: dict[str, set[str]] = defaultdict(set)
    for cell in found:
        config_ids[cell.arm, cell.config.data.source_set].add(cell.config.config_id + cell.experiment)
        homes[cell.arm].add(cell.experiment)
    clashing = {arm for (arm, _), ids in config_ids.items() if len(ids) > 1 and len(homes[arm]) > 1}
    return [replace(c, arm=f"{c.experiment}:{c.arm}") if c.arm in clashing else c for c in found]


def _fill(found: _Found, tested: _Tested, groups: Groups) -> Cell:
    states = Counter(state for _, state in found.runs.values())
    complete = {seed: key for seed, (key, state) in sorted(found.runs.items()) if state == State.COMPLETE}
    none = np.full(len(tested.languages), np.nan)
    rows = [tested.scores.get(key, none) for key in complete.values()]
    return Cell(
        experiment=found.experiment,
        arm=found.arm,
        source_set=name_source_set(found.config.data.source_set, groups),
        method=found.config.method,
        config=found.config,
        shown=found.shown,
        seeds=tuple(complete),
        scores=np.array(rows).reshape(len(complete), len(tested.languages)),
        selection_scores=np.array([tested.selection[key] for key in complete.values()], float),
        states={state: states[state] for state in STATES},
        foreign={seed: codes for seed, key in complete.items() if (codes := tested.foreign.get(key, ()))},
        disputed=tuple(seed for seed, key in complete.items() if key in tested.disputed),
        resized={seed: codes for seed, key in complete.items() if (codes := tested.resized.get(key, ()))},
        num_tried=found.num_tried,
        first_trial=found.first_trial,
    )


def _judge(cell: Cell, languages: Sequence[str], foreign: frozenset[str], problems: _Problems) -> None:
    """Say what is wrong with a cell."""
    where = cell.arm, cell.source_set
    if cell.shown:
        for state in STATES[1:]:
            if count := cell.states[state]:
                sentence = f"{count} of {_runs(sum(cell.states.values()))} {state}: in no mean"
                problems.add(cell.experiment, sentence, *where)
    if differs := cell.differs(range(len(languages)), languages, foreign):
        problems.add(cell.experiment, f"not averaged where it matters: {differs}", *where)


def _runs(count: int) -> str:
    return f"{count} run{'s' if count != 1 else ''}"
