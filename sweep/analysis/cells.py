"""The cells of experiments: which configurations they asked for or tried, with the runs of each.

What does not belong into a cell, or is not what it should be, is said in `Problems`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from sweep.analysis.configurations import asked_runs, rank_configurations
from sweep.analysis.problems import Problems
from sweep.analysis.results import NOT_PROPOSED, UNFINISHED, Cell, Experiment
from sweep.analysis.score_tables import RunKey, RunScores
from sweep.experiment.groups import Groups, name_source_set
from sweep.experiment.search import Search
from sweep.records.ledger import read_ledger
from sweep.records.states import State
from sweep.storage.lock import is_running
from sweep.wording import count_nouns
from xpe_core.config import RunConfig, take_fields
from xpe_core.validation import build_config

STATES = (State.COMPLETE, State.FAILED, State.PRUNED, UNFINISHED)
Runs = Mapping[int, tuple[RunKey, str]]
"""What identifies a configuration's run, and its state, by seed."""


@dataclass(frozen=True)
class UnscoredCell:
    """A cell before its scores are known."""

    experiment: str
    arm: str
    config: RunConfig
    shown: bool
    runs: Runs
    first_trial: int
    """The number of the trial that proposed it; NOT_PROPOSED where there is none."""
    is_searched: bool = False
    num_tried: int = 1


def find_cells(one: Experiment, runs: pl.DataFrame, problems: Problems) -> Iterator[UnscoredCell]:
    """Yield an experiment's cells: of a search every configuration, the best first; else every arm on a source set."""
    own = runs.filter(pl.col("experiment") == one.name)
    runs_of: dict[str, dict[int, tuple[RunKey, str]]] = defaultdict(dict)
    for config_id, seed, run_id, state in own.select("config_id", "seed", "run_id", "state").iter_rows():
        runs_of[config_id][seed] = (one.name, run_id), state
    first_trials = dict(own.group_by("config_id").agg(pl.col("trial_number").min()).iter_rows())
    if one.sweep.kind == "search":
        yield from _find_searched(one, one.sweep, own, runs_of, first_trials, problems)
        return
    for (arm, _), config in zip(one.sweep.cells, one.sweep.corners, strict=True):
        asked = {seed: ((one.name, config.with_seed(seed).run_id), UNFINISHED) for seed in one.sweep.seeds_of(arm)}
        first_trial = first_trials.get(config.config_id, NOT_PROPOSED)
        yield UnscoredCell(one.name, arm, config, True, asked | runs_of[config.config_id], first_trial)
    known = {config.config_id for config in one.sweep.corners}
    if count := own.filter(~pl.col("config_id").is_in(known))["run_id"].n_unique():
        strangers = count_nouns(count, "run")
        problems.add(one.name, f"{strangers} of no configuration that experiment.yaml asks for: in no table")


def _find_searched(
    one: Experiment,
    sweep: Search,
    whole: pl.DataFrame,
    runs_of: Mapping[str, Runs],
    first_trials: Mapping[str, int],
    problems: Problems,
) -> Iterator[UnscoredCell]:
    own = asked_runs(whole, sweep)
    if count := whole["run_id"].n_unique() - own["run_id"].n_unique():
        others = count_nouns(count, "run")
        problems.add(one.name, f"{others} of another length than experiment.yaml asks for: in no table")
    configs = {row["config_id"]: row for row in own.iter_rows(named=True)}
    running = [record for record in read_ledger(one.folder).values() if record.state is None]
    if left := max(sweep.num_samples - len(configs), len(running)):
        problems.add(one.name, f"{left} of {sweep.num_samples} configurations have not ended: the best may change")
    if count := own.filter(pl.col("state") == State.COMPLETE)["selection_accuracy"].null_count():
        unknown = count_nouns(count, "run")
        problems.add(one.name, f"{unknown} complete without a selection accuracy: they may not be the best")
    tried = Counter((row["method"], row["source_set"]) for row in configs.values())
    ranked = [best.config_id for best in rank_configurations(own)]
    best: dict[tuple[str, str], str] = {}
    for config_id in ranked:
        best.setdefault((configs[config_id]["method"], configs[config_id]["source_set"]), config_id)
    for config_id in (*ranked, *sorted(configs.keys() - set(ranked))):
        where = f"{one.folder / 'runs'}, config_id {config_id}"
        config = build_config(RunConfig, take_fields(configs[config_id]), where)
        kind = config.method, config.data.source_set
        is_best = best.get(kind) == config_id
        arm = config.method if is_best else f"{config.method} {config_id[:6]}"
        first_trial = first_trials[config_id]
        yield UnscoredCell(one.name, arm, config, is_best, runs_of[config_id], first_trial, True, tried[kind])


def find_lacking_trials(one: Experiment, runs: pl.DataFrame, problems: Problems) -> None:
    """Say which trials have runs, but no end in the ledger."""
    of_state = pl.col("state").is_in([State.COMPLETE, State.PRUNED])  # others are begun again
    trials = runs.filter((pl.col("experiment") == one.name) & of_state)["trial_id"].unique()
    ended = {record.trial_id for record in read_ledger(one.folder).values() if record.state is not None}
    # a driver writes a trial's rows, and then that it ended
    if (missing := len(set(trials) - ended)) and not is_running(one.folder):
        which = f"of {missing} of the {len(trials)} trials that have runs"
        problems.add(one.name, f"the ledger lacks the end {which}: costs and learning curves are incomplete")


def merge_seeds(cells: Sequence[UnscoredCell], problems: Problems) -> list[UnscoredCell]:
    """Put the seeds together that several experiments ran of one arm's configuration; a run counts once.

    A search's seeds stay apart: its best was chosen by them, so they say more good of it than fresh ones.
    """
    merged: dict[tuple[str, ...], UnscoredCell] = {}
    for cell in cells:
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
            sentence = f"{count_nouns(len(both), 'run')} also {stand} in {first.experiment}: counted once, as there"
            problems.add(cell.experiment, sentence, cell.arm, cell.config.data.source_set)
        better = {s: run for s, run in cell.runs.items() if first.runs.get(s, ("", ""))[1] != State.COMPLETE}
        merged[key] = replace(first, runs={**first.runs, **better})
    return list(merged.values())


def name_apart(cells: Sequence[UnscoredCell]) -> list[UnscoredCell]:
    """Name arms `NAME:arm` where several experiments have one of that name with other configurations."""
    config_ids: dict[tuple[str, str], set[str]] = defaultdict(set)
    homes: dict[str, set[str]] = defaultdict(set)
    for cell in cells:
        config_ids[cell.arm, cell.config.data.source_set].add(cell.config.config_id + cell.experiment)
        homes[cell.arm].add(cell.experiment)
    clashing = {arm for (arm, _), ids in config_ids.items() if len(ids) > 1 and len(homes[arm]) > 1}
    return [replace(c, arm=f"{c.experiment}:{c.arm}") if c.arm in clashing else c for c in cells]


def score_cell(cell: UnscoredCell, tested: RunScores, groups: Groups) -> Cell:
    """Return a cell with the scores of its complete runs."""
    states = Counter(state for _, state in cell.runs.values())
    complete = {seed: key for seed, (key, state) in sorted(cell.runs.items()) if state == State.COMPLETE}
    none = np.full(len(tested.languages), np.nan)
    rows = [tested.scores.get(key, none) for key in complete.values()]
    return Cell(
        experiment=cell.experiment,
        arm=cell.arm,
        source_set=name_source_set(cell.config.data.source_set, groups),
        method=cell.config.method,
        config=cell.config,
        shown=cell.shown,
        seeds=tuple(complete),
        scores=np.array(rows).reshape(len(complete), len(tested.languages)),
        selection_scores=np.array([tested.selection[key] for key in complete.values()], float),
        states={state: states[state] for state in STATES},
        foreign={seed: codes for seed, key in complete.items() if (codes := tested.foreign.get(key, ()))},
        disputed=tuple(seed for seed, key in complete.items() if key in tested.disputed),
        resized={seed: codes for seed, key in complete.items() if (codes := tested.resized.get(key, ()))},
        num_tried=cell.num_tried,
        first_trial=cell.first_trial,
    )


def judge_cell(cell: Cell, languages: Sequence[str], foreign: frozenset[str], problems: Problems) -> None:
    """Say what is wrong with a cell."""
    where = cell.arm, cell.source_set
    if cell.shown:
        for state in STATES[1:]:
            if count := cell.states[state]:
                sentence = f"{count} of {count_nouns(sum(cell.states.values()), 'run')} {state}: in no mean"
                problems.add(cell.experiment, sentence, *where)
    if differs := cell.differs(range(len(languages)), languages, foreign):
        problems.add(cell.experiment, f"not averaged where it matters: {differs}", *where)
