"""ASHA behind the ledger: which trials of a search are stopped early, remembered over restarts.

Only the trials of one search compete: those of a study's methods never with another method's. SPT and XPE beside a
search, and what is run on fresh seeds, are neither stopped nor counted in a rung.
"""

from collections.abc import Mapping
from types import SimpleNamespace

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from sweep.driver.messages import TrialReport, Wire
from sweep.driver.searcher import LedgerSearcher
from sweep.experiment.config import SweepConfig
from sweep.experiment.search import Search
from sweep.records.ledger import TrialRecord
from sweep.records.stages import Stage


def build_scheduler(sweep: SweepConfig, searcher: LedgerSearcher) -> TrialScheduler:
    """Return ASHA where configurations are searched; elsewhere no trial is stopped."""
    if sweep.kind == "study":
        return Asha(sweep.searches, searcher)
    return Asha({None: sweep}, searcher) if sweep.kind == "search" else FIFOScheduler()


class Asha(FIFOScheduler):
    """ASHA among the trials of each search, by the arm of its trials."""

    def __init__(self, searches: Mapping[str, Search] | Mapping[None, Search], searcher: LedgerSearcher) -> None:
        """Start with what the ledger knows of trials that have ended."""
        super().__init__()
        self._searcher = searcher
        self._rungs: dict[str | None, ASHAScheduler] = {arm: _build_rungs(search) for arm, search in searches.items()}
        for record in searcher.records.values():
            if record.state is not None and self._competes(record):
                for step, value in sorted(record.reports.items()):
                    self._decide(record, step, value)

    def on_trial_result(self, tune_controller: object, trial: Trial, result: Wire) -> str:
        """Record the result in its rung and say whether the trial goes on."""
        record, report = self._searcher.trials[trial.trial_id], TrialReport.from_wire(result)
        if not self._competes(record):
            return str(TrialScheduler.CONTINUE)
        for step, value in sorted(record.reports.items()):
            if step <= report.restored_step:  # reported before the checkpoint that it goes on from
                self._decide(record, step, value)
        if report.tick or report.trained:
            return str(TrialScheduler.CONTINUE)  # what is trained is tested; its last value counts when it ends
        return self._decide(record, report.step, report.selection_accuracy)

    def on_trial_complete(self, tune_controller: object, trial: Trial, result: Wire) -> None:
        """Record the reports of a trial that ended by itself: the recorder has taken the last one out of the result.

        A rung that has the trial already keeps what it has.
        """
        record = self._searcher.trials.get(trial.trial_id)
        if record is not None and self._competes(record):
            for step, value in sorted(record.reports.items()):
                self._decide(record, step, value)

    def _competes(self, record: TrialRecord) -> bool:
        """Whether a trial may be stopped, and counts for others."""
        return not record.baseline and self._arm_of(record) in self._rungs

    def _decide(self, record: TrialRecord, step: int, value: float) -> str:
        bracket = self._rungs[self._arm_of(record)]._brackets[0]
        return str(bracket.on_result(SimpleNamespace(trial_id=record.trial_id), step, value))

    @staticmethod
    def _arm_of(record: TrialRecord) -> str | None:
        return record.arm if record.stage == Stage.SEARCH else None


def _build_rungs(search: Search) -> ASHAScheduler:
    """Return the rungs of one search."""
    return ASHAScheduler(
        time_attr="step",
        max_t=search.longest,
        grace_period=search.grace_period,
        reduction_factor=search.scheduler.reduction_factor,
        stop_last_trials=False,
    )
