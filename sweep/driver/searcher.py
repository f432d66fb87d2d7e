"""An experiment's trials behind Tune's Searcher interface, with the ledger as their only memory.

First what was running when the driver ended or a worker was lost, from its last checkpoint; then runs and steps that
were added; then new configurations.
"""

import sys
from collections import deque
from collections.abc import Callable, Mapping

import ray
from ray.tune.search import Searcher

from sweep.driver.entries import end_unrun
from sweep.driver.messages import METRIC, TrialOrder, Wire
from sweep.driver.proposals import Proposal
from sweep.driver.sources import build_source
from sweep.experiment.config import SweepConfig
from sweep.records.adapters import read_content
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.further import TargetSizes
from sweep.records.ledger import TrialRecord
from sweep.records.stages import Stage
from sweep.records.states import State
from xpe_core.digests import digest


class LedgerSearcher(Searcher):
    """Hands out trials until every one of the experiment's has ended."""

    def __init__(
        self,
        sweep: SweepConfig,
        folder: ExperimentFolder,
        records: dict[str, TrialRecord],
        target_sizes: Mapping[str, TargetSizes] | None = None,
    ) -> None:
        """Start from what the ledger knows, `records`, which is kept up to date.

        `target_sizes` are the train examples of each language that a transfer goes on to, by `RunConfig.panel`.
        """
        super().__init__(metric=METRIC, mode="max")
        self.sweep = sweep
        self.folder = folder
        self.records = records
        self.trials: dict[str, TrialRecord] = {}
        """What Tune is running, by Tune's own trial id."""
        self.closed = False
        """Whether no trial is handed out any more: the experiment is being stopped."""
        self.places: Callable[[], int] = lambda: sys.maxsize
        """Says how many trials may run at once."""
        self._waiting = deque(record for record in records.values() if record.state is None)
        self._source = build_source(sweep, records, folder, target_sizes or {})

    @property
    def has_work(self) -> bool:
        """Whether some trial has not ended, or is still to be proposed."""
        return bool(self._waiting) or self._source.has_more

    @property
    def is_finished(self) -> bool:
        """Whether every trial has ended for good, so that the next start has nothing to do."""
        return not self.has_work and all(record.state not in (None, State.CRASHED) for record in self.records.values())

    def suggest(self, trial_id: str) -> Wire | str | None:
        """Return what a worker needs to know of the next trial, None where there may be one later, or FINISHED."""
        if len(self.trials) >= self.places():
            return None
        record = None if self.closed else self._waiting.popleft() if self._waiting else self._propose()
        if record is None:
            return None if self.trials else Searcher.FINISHED
        self.trials[trial_id] = record
        saved = self.folder.read_checkpoint(record.trial_id)
        checkpoint = None if saved is None else ray.put(saved)
        tested = record.stage != Stage.SEARCH
        parents = self._send_parents(record) if saved is None else {}
        return TrialOrder(record.trial_id, record.config, record.runs, checkpoint, tested, parents).to_wire()

    def repack(self, sweep: SweepConfig) -> None:
        """Cut what is left into packs of the size that `sweep` says by now."""
        self.sweep = sweep
        size = sweep.resources.seeds_per_trial
        self._source.cut(size if isinstance(size, int) else None)

    def retry(self, record: TrialRecord) -> None:
        """Run a trial again, from its last checkpoint and ahead of all others."""
        self._waiting.appendleft(record)

    def give_up(self, record: TrialRecord) -> None:
        """Take note that a trial has ended without a value."""
        self._source.tell(record)

    def on_trial_complete(self, trial_id: str, result: Wire | None = None, error: bool = False) -> None:
        """Take note that Tune is done with a trial; an error is the driver's to judge."""
        if error:
            return
        self._source.tell(self.trials.pop(trial_id))

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the ledger has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing: the ledger has it all."""

    def _propose(self) -> TrialRecord | None:
        while (proposal := self._source.propose()) is not None:
            record = self._record(proposal)
            if proposal.error is None:
                return record
            end_unrun(self.folder, record, State.INFEASIBLE, proposal.error)
        return None

    def _send_parents(self, record: TrialRecord) -> dict[str, "ray.ObjectRef"]:
        """Put the adapters that a trial's runs start from into Ray's object store."""
        run_ids = sorted({run.parent_run_id for run in record.runs if run.parent_run_id is not None})
        contents = {run_id: read_content(self.folder.folder, run_id) for run_id in run_ids}
        return {run_id: ray.put(content) for run_id, content in contents.items() if content is not None}

    def _record(self, proposal: Proposal) -> TrialRecord:
        """Write a proposal to the ledger and return it."""
        config = proposal.config.with_seed(proposal.runs[0].seed)
        record = TrialRecord(
            trial_id=digest([run.run_id(config) for run in proposal.runs]),
            number=len(self.records),
            baseline=proposal.baseline,
            params=proposal.params,
            config=config.known,
            runs=proposal.runs,
            arm=proposal.arm,
            stage=proposal.stage,
        )
        self.folder.append(record.suggestion())
        self.records[record.trial_id] = record
        return record
