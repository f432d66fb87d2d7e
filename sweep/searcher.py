"""Optuna behind Tune's Searcher interface, with the ledger as its only memory.

Tune's own OptunaSearch tells Optuna that a pruned trial is COMPLETE with its low-step value, and keeps a second truth
on disk that runs ahead of Tune's. Here the study lives in memory and is rebuilt from the ledger at every start; every
proposal is drawn with a seed of its own, so a rebuilt study proposes what the old one would have.
"""

from collections import deque
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from ray.tune.search import Searcher

from sweep.config import Dimension, SweepConfig
from sweep.store import ExperimentFolder, TrialRecord
from xpe_core.config import RunConfig, digest
from xpe_core.model import stream_seed

METRIC = "selection_accuracy"
NUM_STARTUP_SAMPLES = 5
"""Random proposals before TPE has enough to go by."""
MAX_TPE_DUPLICATES = 10
"""Known configurations that TPE may propose again before one is drawn at random."""
MAX_DUPLICATES = 200
"""Known configurations, of both kinds, after which the space counts as exhausted."""


class OptunaSearcher(Searcher):
    """Proposes configurations: what the ledger left unfinished, SPT and XPE, then what TPE samples."""

    def __init__(self, sweep: SweepConfig, folder: ExperimentFolder, records: dict[str, TrialRecord]) -> None:
        super().__init__(metric=METRIC, mode="max")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.sweep = sweep
        self.folder = folder
        self.records = records
        self.trials: dict[str, TrialRecord] = {}
        """What this process has proposed, by Tune's own trial id."""
        self._unfinished = deque(record for record in records.values() if record.state is None)
        self._distributions = {name: build_distribution(dimension) for name, dimension in sweep.space.items()}
        self._study = optuna.create_study(direction="maximize")
        self._asked: dict[str, optuna.Trial] = {}
        for record in records.values():
            if record.state is not None:
                self._add_to_study(record)

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """Return what a worker needs to know of the next trial, or FINISHED."""
        record = self._unfinished.popleft() if self._unfinished else self._propose()
        if record is None:
            return Searcher.FINISHED
        self.trials[trial_id] = record
        return {"trial_id": record.trial_id, "config": record.config, "seeds": list(record.seeds)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the study how a trial ended, as the ledger has it: COMPLETE, PRUNED by the scheduler, else FAIL."""
        record = self.trials[trial_id]
        asked = self._asked.pop(record.trial_id, None)
        if asked is None:
            self._add_to_study(record)
            return
        for step, value in record.reports.items():
            asked.report(value, step)
        state = _state_of(record)
        self._study.tell(asked, values=record.value if state == TrialState.COMPLETE else None, state=state)

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the ledger has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing: the ledger has it all."""

    def _propose(self) -> TrialRecord | None:
        number = len(self.records)
        if number >= self.sweep.num_samples:
            return None
        known = {record.run_config.config_id for record in self.records.values()}
        for ratio in (0.0, 1.0) if "encoder_ratio" in self.sweep.space else ():
            config = self.sweep.config(encoder_ratio=ratio)
            if config.config_id not in known:
                params = {name: getattr(config, name) for name in self.sweep.space}
                return self._record(number, config, params, baseline=True)
        for attempt in range(MAX_DUPLICATES):
            self._study.sampler = self._build_sampler(number, attempt)
            asked = self._study.ask(self._distributions)
            config = self.sweep.config(**asked.params)
            if config.config_id not in known:
                record = self._record(number, config, asked.params, baseline=False)
                self._asked[record.trial_id] = asked
                return record
            self._study.tell(asked, state=TrialState.FAIL)
        return None

    def _build_sampler(self, number: int, attempt: int) -> optuna.samplers.BaseSampler:
        seed = stream_seed(self.sweep.search_seed, f"proposal/{number}/{attempt}") % 2**32
        if attempt >= MAX_TPE_DUPLICATES:
            return optuna.samplers.RandomSampler(seed)
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=NUM_STARTUP_SAMPLES, constant_liar=True)

    def _record(self, number: int, config: RunConfig, params: dict[str, Any], baseline: bool) -> TrialRecord:
        """Write the proposal to the ledger and return it."""
        config = config.with_seed(self.sweep.seeds[0])
        record = TrialRecord(
            trial_id=digest([config.with_seed(seed).run_id for seed in self.sweep.seeds]),
            number=number,
            baseline=baseline,
            params=params,
            config=config.model_dump(),
            seeds=self.sweep.seeds,
        )
        event = {key: getattr(record, key) for key in ("trial_id", "number", "baseline", "params", "config", "seeds")}
        self.folder.append({"event": "suggested", **event})
        self.records[record.trial_id] = record
        return record

    def _add_to_study(self, record: TrialRecord) -> None:
        """Give the study a trial that it did not ask for, where all its values lie in the space."""
        if not all(_holds(self._distributions[name], value) for name, value in record.params.items()):
            return
        state = _state_of(record)
        self._study.add_trial(
            optuna.trial.create_trial(
                params=record.params,
                distributions=self._distributions,
                state=state,
                value=None if state == TrialState.FAIL else record.value,
                intermediate_values=record.reports,
            )
        )


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    """Whether the study could have proposed the value; Optuna cuts a range to a whole number of steps."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if not distribution.low <= value <= distribution.high:
        return False
    steps = (value - distribution.low) / distribution.step if distribution.step else 0
    return abs(steps - round(steps)) < 1e-8


def _state_of(record: TrialRecord) -> TrialState:
    return {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}.get(record.state or "", TrialState.FAIL)


def build_distribution(dimension: Dimension) -> BaseDistribution:
    """Return Optuna's distribution of a dimension."""
    if dimension.choice is not None:
        return CategoricalDistribution(dimension.choice)
    low, high = dimension.bounds
    if dimension.step:  # a range ends at its last whole step
        high = low + int((high - low) / dimension.step + 1e-8) * dimension.step
    if dimension.integers:
        return IntDistribution(int(low), int(high), step=int(dimension.step or 1))
    return FloatDistribution(low, round(high, 12), log=dimension.log_uniform is not None, step=dimension.step)
