"""An experiment's trials behind Tune's Searcher interface, with the ledger as their only memory.

First what was running when the driver ended or a worker was lost, from its last checkpoint; then runs and steps that
were added; then new configurations.
"""

import sys
from collections import deque
from collections.abc import Callable

import ray
from ray.tune.search import Searcher

from sweep.driver.messages import METRIC, TrialOrder, Wire
from sweep.driver.proposals import Proposal, Sampler, propose_cells, propose_missing
from sweep.experiment.config import SweepConfig
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.ledger import TrialRecord
from xpe_core.digests import digest


class LedgerSearcher(Searcher):
    """Hands out trials until every one of the experiment's has ended."""

    def __init__(self, sweep: SweepConfig, folder: ExperimentFolder, records: dict[str, TrialRecord]) -> None:
        """Start from what the ledger knows, `records`, which is kept up to date."""
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
        propose = propose_missing if sweep.kind == "search" else propose_cells
        self._proposals = deque(propose(sweep, records))
        self._sampler = Sampler(sweep, records) if sweep.kind == "search" else None
        self._config_ids = {record.config_id for record in records.values()}
        self._num_sampled = self._count_sampled()

    @property
    def has_work(self) -> bool:
        """Whether some trial has not ended, or is still to be proposed."""
        return bool(self._waiting or self._proposals or (self._sampler and self._num_sampled < self._num_samples))

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
        return TrialOrder(record.trial_id, record.config, record.runs, checkpoint).to_wire()

    def repack(self, sweep: SweepConfig) -> None:
        """Cut what a grid has left into packs of the size that `sweep` says by now."""
        self.sweep = sweep
        if sweep.kind != "search":
            self._proposals = deque(propose_cells(sweep, self.records))

    def retry(self, record: TrialRecord) -> None:
        """Run a trial again, from its last checkpoint and ahead of all others."""
        self._waiting.appendleft(record)

    def give_up(self, record: TrialRecord) -> None:
        """Let the sampler know that a trial has ended without a value."""
        if self._sampler:
            self._sampler.tell(record)

    def on_trial_complete(self, trial_id: str, result: Wire | None = None, error: bool = False) -> None:
        """Take note that Tune is done with a trial, which the sampler learns; an error is the driver's to judge."""
        if error:
            return
        record = self.trials.pop(trial_id)
        if self._sampler:
            self._sampler.tell(record)

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the ledger has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing: the ledger has it all."""

    def _propose(self) -> TrialRecord | None:
        if self._proposals:
            return self._record(self._proposals.popleft())
        if self._sampler is None or self._num_sampled >= self._num_samples:
            return None
        proposal = self._sampler.propose(len(self.records), self._config_ids)
        if proposal is None:
            self._num_sampled = self._num_samples  # the space is exhausted
            return None
        self._num_sampled += 1
        return self._record(proposal)

    @property
    def _num_samples(self) -> int:
        """Configurations that a search draws, none where they are named."""
        return self.sweep.num_samples if self.sweep.kind == "search" else 0

    def _count_sampled(self) -> int:
        """Return how many of a search's configurations, of its present length, are proposed."""
        configs = {record.config_id for record in self.records.values() if self.sweep.has_full_length(record.config)}
        return len(configs) + sum(proposal.config.config_id not in self._config_ids for proposal in self._proposals)

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
        )
        self.folder.append(record.suggestion())
        self.records[record.trial_id] = record
        self._config_ids.add(config.config_id)
        return record
