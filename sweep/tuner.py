"""A search from its preparation to its last row: Tune spreads the trials, the driver writes what they say.

Everything that a user could have got wrong is checked before Ray starts. The workers' reports are the only way results
travel; this process alone writes the ledger and the tables.
"""

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray import tune
from ray.tune.error import TuneError
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from sweep.analysis import best_experiment
from sweep.cluster import find_resources, start_ray
from sweep.config import SweepConfig
from sweep.searcher import METRIC, OptunaSearcher
from sweep.store import ExperimentFolder, TrialRecord, read_ledger
from sweep.trial import PackTrainable
from xpe_core.backbones import find_max_positions
from xpe_core.checkpoints import fingerprint_checkpoint
from xpe_core.languages import TARGET_GROUPS
from xpe_core.model import check_positions
from xpe_core.tokens import TokenisedData, check_splits, load_tokens


@dataclass(frozen=True)
class Plan:
    """A search whose backbone and data are there and fit what it asks for."""

    name: str
    sweep: SweepConfig
    data: TokenisedData
    fingerprints: dict[str, str]
    selection_languages: tuple[str, ...]
    """All source languages that any trial may train on: the same for every trial, so that accuracies compare."""
    target_languages: tuple[str, ...]

    @property
    def chosen_by_targets(self) -> tuple[str, ...]:
        """Target languages whose validation split takes part in the choice: for them a trial is not zero-shot."""
        groups = self.data.resolve(TARGET_GROUPS[-1])
        return tuple(sorted(set(self.selection_languages) & set(self.target_languages) & set(groups)))


def best_name(name: str) -> str:
    """Return the file name, and so the experiment name, of an experiment's best configuration."""
    return f"{name}-best.yaml"


STATES = ("complete", "pruned", "failed")
"""A trial's state is the first of these that one of its runs is in."""

Listener = Callable[[TrialRecord, dict[str, Any] | None], None]
"""Is told of every trial's start (without a report) and of every report, after it has been written."""


def prepare(name: str, sweep: SweepConfig) -> Plan:
    """Fetch, tokenise and check whatever the search needs; InputError where something is missing."""
    config = sweep.config()
    max_positions = find_max_positions(config.backbone)
    for corner in sweep.corners:
        check_positions(corner, max_positions)
    data = load_tokens(config.dataset, config.backbone, config.max_length)
    source_sets = [data.resolve(source_set) for source_set in sweep.source_sets]
    selection = data.resolve([language for source_set in source_sets for language in source_set])
    targets = data.resolve(sweep.evaluation.languages)
    for source_set in source_sets:
        check_splits(data, train=source_set, validation=selection, test=targets)
    fingerprints = {"backbone": fingerprint_checkpoint(config.backbone), "data": data.fingerprint}
    return Plan(name, sweep, data, fingerprints, selection, targets)


def search(plan: Plan, storage: Path, listen: Listener | None = None) -> Path:
    """Run the search, or what is left of it, and return the experiment's folder.

    Raises InputError where the folder cannot be written or holds another experiment, or no node can hold a trial.
    """
    folder = ExperimentFolder(storage / plan.name, plan.sweep, plan.fingerprints)
    try:
        records = read_ledger(folder.path)
        left = plan.sweep.num_samples - sum(record.state is not None for record in records.values())
        if left > 0:
            with start_ray():
                _run_trials(plan, folder, records, left, listen)
        best = best_experiment(folder.path, plan.sweep)
        if best is not None:
            comment = f"# The best configuration of {plan.name}, by validation accuracy.\n"
            folder.write_yaml(best_name(plan.name), best, comment)
    finally:
        folder.close()
    return folder.path


def _run_trials(
    plan: Plan, folder: ExperimentFolder, records: dict[str, TrialRecord], left: int, listen: Listener | None
) -> None:
    cpus, gpus, concurrent = find_resources(plan.sweep)
    searcher = OptunaSearcher(plan.sweep, folder, records)
    constants = {
        "selection_languages": list(plan.selection_languages),
        "target_languages": list(plan.target_languages),
        "max_examples": plan.sweep.evaluation.max_examples,
        "num_threads": cpus,
        "device": "cuda" if gpus else "cpu",
        "fingerprints": plan.fingerprints,
        "max_length": plan.sweep.config().max_length,
    }
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what went wrong is in the tables and on the screen
    with tempfile.TemporaryDirectory(prefix="xpe-sweep-") as scratch:
        try:
            # not Tuner: it pickles the searcher and the callbacks for a restore that is never used
            tune.run(
                PackTrainable,
                config=constants,
                resources_per_trial={"cpu": cpus, "gpu": gpus},
                num_samples=left,
                search_alg=searcher,
                scheduler=_build_scheduler(plan.sweep, searcher),
                metric=METRIC,
                mode="max",
                max_concurrent_trials=concurrent,
                reuse_actors=True,
                max_failures=2,
                raise_on_failed_trial=False,
                callbacks=[_Writer(folder, searcher, listen)],
                storage_path=scratch,
                trial_dirname_creator=lambda trial: trial.trial_id,
                verbose=0,
            )
        except TuneError:
            if folder.failure:  # Tune wraps what its callbacks raise in a traceback
                raise folder.failure from None
            raise


class _Scheduler(ASHAScheduler):
    """ASHA among the searched trials, remembered over restarts; SPT and XPE are no competitors but what they are
    compared with, so they are neither stopped nor counted in a rung.
    """

    def __init__(self, searcher: OptunaSearcher, **settings: Any) -> None:
        super().__init__(**settings)
        self._searcher = searcher
        for record in searcher.records.values():
            if record.state is not None and not record.baseline:
                for step, value in sorted(record.reports.items()):
                    self._brackets[0].on_result(SimpleNamespace(trial_id=record.trial_id), step, value)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Record the result in its rung and say whether the trial goes on."""
        if self._searcher.trials[trial.trial_id].baseline or result["trained"]:
            return TrialScheduler.CONTINUE  # what is trained is tested; its last value is recorded when it ends
        return super().on_trial_result(tune_controller, trial, result)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Record the last result of a trial that ended by itself."""
        if not self._searcher.trials[trial.trial_id].baseline:
            super().on_trial_complete(tune_controller, trial, result)


def _build_scheduler(sweep: SweepConfig, searcher: OptunaSearcher) -> _Scheduler:
    return _Scheduler(
        searcher,
        time_attr="step",
        max_t=max(corner.max_steps for corner in sweep.corners),
        grace_period=sweep.scheduler.grace_period,
        reduction_factor=sweep.scheduler.reduction_factor,
        stop_last_trials=False,
    )


class _Writer(tune.Callback):
    """Writes every report to the ledger and, when a trial ends, its rows to the tables."""

    def __init__(self, folder: ExperimentFolder, searcher: OptunaSearcher, listen: Listener | None) -> None:
        self._folder = folder
        self._searcher = searcher
        self._listen = listen

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Pass the news on."""
        if self._listen:
            self._listen(self._searcher.trials[trial.trial_id], None)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Take a worker's report; `done` without `finished` means that the scheduler stopped the trial."""
        record = self._searcher.trials[trial.trial_id]
        record.reports[result["step"]] = result[METRIC]
        accuracies = [run["validation_accuracy"] for run in result["runs"]]
        event = {"event": "report", "trial_id": record.trial_id, "step": result["step"], METRIC: result[METRIC]}
        self._folder.append({**event, "validation_accuracies": accuracies})
        if result["done"]:
            runs = [_run_row(record, result, place) for place in range(len(record.seeds))]
            states = {run["state"] for run in runs}
            self._end(record, next(name for name in STATES if name in states), runs, result["evaluations"])
        if self._listen:
            self._listen(record, result)
        result.pop("evaluations", None)  # written by now; Tune would keep them in memory for every trial

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Take note of a trial that crashed again and again; the next start of the experiment tries it once more."""
        record = self._searcher.trials[trial.trial_id]
        # get_error() reads the storage, to which Tune has not copied the file yet
        error = Path(trial.error_file).read_text(encoding="utf-8").strip()
        runs = [{**_identify(record, place), "state": "failed", "error": error} for place in range(len(record.seeds))]
        self._end(record, "crashed", runs, [])
        if self._listen:
            self._listen(record, None)

    def _end(
        self, record: TrialRecord, state: str, runs: list[dict[str, Any]], evaluations: list[dict[str, Any]]
    ) -> None:
        """Write a trial's rows and, when they are there, its end."""
        self._folder.write_evaluations(record.trial_id, evaluations)
        self._folder.write_runs(record.trial_id, runs)
        error = next((run["error"] for run in runs if run["error"]), None)
        self._folder.append({"event": "end", "trial_id": record.trial_id, "state": state, "error": error})
        record.state, record.error = state, error


def _identify(record: TrialRecord, place: int) -> dict[str, Any]:
    """Return the columns of a run's row that are known before it has started."""
    config = record.run_config.with_seed(record.seeds[place])
    return {
        **config.model_dump(),
        "run_id": config.run_id,
        "config_id": config.config_id,
        "trial_id": record.trial_id,
        "trial_number": record.number,
        "method": config.method,
    }


def _run_row(record: TrialRecord, result: dict[str, Any], place: int) -> dict[str, Any]:
    run = result["runs"][place]
    # where the scheduler stopped the trial, also a run that had ended by itself was never tested
    state = run["state"] if result["finished"] or run["state"] == "failed" else "pruned"
    measured = {**run, "state": state, "validation_accuracy": run["best_validation_accuracy"]}
    return {**_identify(record, place), **measured, **result["provenance"]}
