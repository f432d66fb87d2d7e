"""Experiments whose results are made up, written as a driver writes them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweep.driver.messages import TrialOrder
from sweep.driver.searcher import LedgerSearcher
from sweep.experiment.config import SweepConfig, make_sweep
from sweep.experiment.files import load_experiment
from sweep.experiment.search import Search
from sweep.experiment.study import Study
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.ledger import TrialRecord, read_ledger
from sweep.records.parquet import write_rows
from sweep.records.runs import make_runs
from sweep.records.states import State
from sweep.storage import Folder
from xpe_core.config import RunConfig

CODES = ("eng_Latn", "kat_Geor", "tam_Taml", "yor_Latn", "nqo_Nkoo")
"""One of Joshi class 5, two seen, two low-performing and unseen."""
NUM_EXAMPLES = 200
Accuracy = Callable[[RunConfig, str], float]


def load_search(source: str, overrides: Sequence[str] = ()) -> tuple[str, Search]:
    """Return a search's name and what it is, from an experiment file with `key=value` overrides."""
    name, sweep = load_experiment(source, overrides)
    assert isinstance(sweep, Search)
    return name, sweep


def make_rows(
    config: RunConfig,
    number: int,
    seeds: Sequence[int],
    accuracy: Accuracy,
    codes: Sequence[str] = CODES,
    **values: Any,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of a complete trial in both tables."""
    runs: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        run = config.with_seed(seed)
        identity = {"run_id": run.run_id, "config_id": run.config_id, "trial_id": f"t{number}", "trial_number": number}
        state = {
            "state": "complete",
            "selection_accuracy": 0.5,
            "num_steps": run.training.max_steps,
            "method": run.method,
        }
        runs.append({**run.values, **identity, **state, **values})
        for code in codes:
            named = {"run_id": run.run_id, "split": "test", "language": code, "metric": "accuracy"}
            rows.append({**named, "num_examples": NUM_EXAMPLES, "score_sum": round(NUM_EXAMPLES * accuracy(run, code))})
    return runs, rows


def write_grid(
    folder: Path,
    arms: Mapping[str, Mapping[str, Any]],
    accuracy: Accuracy,
    seeds: Sequence[int] = range(1, 7),
    codes: Sequence[str] = CODES,
    unfinished: Sequence[str] = (),
    **values: Any,
) -> SweepConfig:
    """Write a grid whose runs are all complete, but those of some arms that have not begun."""
    named = {name: dict(arm) for name, arm in arms.items()}
    sweep = make_sweep(**{"kind": "grid", "arms": named, "seeds": tuple(seeds), **values})
    opened = ExperimentFolder(folder, sweep, {})
    for number, ((arm, _), config) in enumerate(zip(sweep.cells, sweep.corners, strict=True)):
        if arm not in unfinished:
            record = TrialRecord(f"t{number}", number, False, {}, config.values, make_runs(seeds), arm)
            opened.append(record.suggestion())
            opened.end(record, State.COMPLETE, None, *make_rows(config, number, seeds, accuracy, codes, arm=arm))
    opened.close()
    return sweep


def put(folder: Path, runs: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> None:
    """Put runs and their evaluations in the place of older ones."""
    run_ids = [str(run["run_id"]) for run in runs]
    write_rows(Folder(folder), "runs", 0, run_ids, runs)
    write_rows(Folder(folder), "evaluations", 0, run_ids, rows)


def write_search(
    folder: Path,
    sweep: Search,
    trials: Sequence[tuple[Mapping[str, Any], str, float, int]],
    accuracy: Accuracy,
    first: int = 0,
) -> None:
    """Write a search with trials of (drawn params, state, selection accuracy, last step), as its driver does.

    Their numbers begin with `first`.
    """
    opened = ExperimentFolder(folder, sweep, {})
    opened.append({"event": "start"})
    for number, (params, state, value, step) in enumerate(trials, first):
        config = sweep.config(params)
        identity = (f"t{number}", number, False, dict(params), config.values, make_runs(sweep.seeds))
        record = TrialRecord(*identity)
        opened.append(record.suggestion())
        opened.append({"event": "report", "trial_id": record.trial_id, "step": step, "selection_accuracy": value})
        runs, rows = make_rows(config, number, sweep.seeds, accuracy, state=state, selection_accuracy=value)
        opened.end(record, State(state), None, runs, rows if state == State.COMPLETE else [])
    opened.close()


def write_replication(folder: Path, best: RunConfig, accuracy: Accuracy, seeds: Sequence[int], of: str) -> SweepConfig:
    """Write a replication of one configuration, finished."""
    base = best.without("seed", "encoder_ratio")
    arms = {"best": {"encoder_ratio": best.values["encoder_ratio"]}}
    return write_grid(folder, arms, accuracy, seeds, kind="replicate", of=of, base=base)


def run_study(
    folder: Path, study: Study, accuracy: Accuracy, selection: Callable[[RunConfig], float], most: int | None = None
) -> list[TrialRecord]:
    """Run a study's trials, at most so many, one after the other as its driver does; return those that were run."""
    opened = ExperimentFolder(folder, study, {})
    searcher = LedgerSearcher(study, opened, read_ledger(folder))
    ended: list[TrialRecord] = []
    while (most is None or len(ended) < most) and isinstance(order := searcher.suggest("tune"), dict):
        record = searcher.trials["tune"]
        config, is_tested = record.run_config, TrialOrder.from_wire(order).tested
        step, value = config.training.max_steps, selection(config)
        record.reports[step], record.seconds = value, 36.0
        opened.append(
            {
                "event": "report",
                "trial_id": record.trial_id,
                "step": step,
                "seconds": record.seconds,
                "selection_accuracy": value,
            }
        )
        seeds = [run.seed for run in record.runs]
        own = {"trial_id": record.trial_id, "arm": record.arm, "stage": record.stage, "selection_accuracy": value}
        cost = {"train_seconds": 12.0, "num_runs_in_pack": len(seeds), "peak_memory_bytes": 2**30}
        runs, rows = make_rows(config, record.number, seeds, accuracy)
        runs = [{**run, **own, **cost, "num_trained_parameters": 100} for run in runs]
        opened.end(record, State.COMPLETE, None, runs, rows if is_tested else [])
        searcher.on_trial_complete("tune")
        ended.append(record)
    opened.close()
    return ended
