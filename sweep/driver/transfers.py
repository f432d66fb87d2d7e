"""The second stage of supervised transfer: a pack is proposed as soon as all runs that it starts from have ended.

Of a run that has ended, the kept adapter says that it is complete, and is what others start from.
"""

from collections.abc import Iterator, Mapping

from sweep.driver.proposals import Proposal
from sweep.experiment.panels import split_panels
from sweep.experiment.transfer import Transfer
from sweep.records.adapters import kept_run_ids
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.further import FurtherPack, TargetSizes, find_pack_size, list_cells, make_packs
from sweep.records.ledger import TrialRecord
from sweep.records.parquet import read_rows
from sweep.records.states import State
from xpe_core.errors import InputError

ENDED = (State.COMPLETE, State.FAILED, State.INFEASIBLE)
"""States of a trial that stay; what has crashed is tried again at the next start, and others wait for it."""


class FurtherPacks:
    """The packs of the second stage that are not in the ledger, in their order."""

    def __init__(
        self,
        sweep: Transfer,
        sizes: Mapping[str, TargetSizes],
        folder: ExperimentFolder,
        records: Mapping[str, TrialRecord],
    ) -> None:
        """Take how many train examples each target language has, by `RunConfig.panel`.

        `records` is kept up to date by others. InputError where what is asked for would start from runs that have ended
        and were not kept.
        """
        self._folder, self._records = folder, records
        self._sweep, self._sizes = sweep, sizes
        self.cut(None)
        if sweep.keep == "none":
            self._check_kept()
        self._infeasible: list[Proposal] = []
        self._trials: dict[str, str] = {}
        """Trial ids by the ids of runs that others start from."""

    def cut(self, size: int | None) -> None:
        """Propose what the records lack in packs of so many runs; None: as many as is usual."""
        size = size or find_pack_size(self._sweep)
        self._packs = [
            pack
            for panel in split_panels(self._sweep)
            if isinstance(panel.sweep, Transfer) and panel.key in self._sizes
            for pack in _list_missing(panel.sweep, self._sizes[panel.key], self._records, size)
        ]

    @property
    def has_more(self) -> bool:
        """Whether a pack is still to be proposed."""
        return bool(self._packs or self._infeasible)

    def _check_kept(self) -> None:
        """Refuse to go on from adapters that were removed when the transfer came to its end."""
        complete = {
            run_id
            for record in self._records.values()
            if record.state == State.COMPLETE and record.runs[0].adapted_to is None
            for run_id in record.run_ids
        }
        parents = {run_id for pack in self._packs for run_id in pack.parents}
        if parents & complete and not parents & kept_run_ids(self._folder.folder):
            raise InputError(
                f"{self._folder.folder}: with keep: none the source-trained adapters were removed when this transfer "
                "came to its end, so it cannot be extended; run it under another --name, with keep: all"
            )

    def take(self) -> Proposal | None:
        """Return the next pack that can start, or cannot any more, which then says why; None where all wait."""
        if self._infeasible:
            return self._infeasible.pop(0)
        self._find_trials()
        ended = {run_id for run_id, trial_id in self._trials.items() if self._records[trial_id].state in ENDED}
        for index, pack in enumerate(self._packs):
            if pack.parents <= ended:
                del self._packs[index]
                return self._propose(pack)
        return None

    def _propose(self, pack: FurtherPack) -> Proposal | None:
        """Return the runs of a pack that have something to start from; the others come next, with the reason."""
        kept = kept_run_ids(self._folder.folder) if pack.parents else set()
        reasons = {run_id: None if run_id in kept else self._explain_lack(run_id) for run_id in sorted(pack.parents)}
        for reason in dict.fromkeys(filter(None, reasons.values())):
            runs = tuple(run for run in pack.runs if run.parent_run_id and reasons[run.parent_run_id] == reason)
            self._infeasible.append(Proposal(pack.config, runs, {}, arm=pack.arm, error=reason))
        runs = tuple(run for run in pack.runs if run.parent_run_id is None or reasons[run.parent_run_id] is None)
        return Proposal(pack.config, runs, {}, arm=pack.arm) if runs else self.take()

    def _explain_lack(self, run_id: str) -> str:
        """Return why nothing can start from a run that has ended, without an adapter."""
        self._folder.flush()
        rows = read_rows(self._folder.folder, "runs")
        row = next((row for row in rows.to_pylist() if row["run_id"] == run_id), None) if rows is not None else None
        if row is not None and row["state"] == State.FAILED:
            return f"run {run_id}, which it starts from, has failed: {(row['error'] or 'no reason is known').strip()}"
        return f"the adapter of run {run_id}, which it starts from, is not there: it was not kept"

    def _find_trials(self) -> None:
        """Learn which trials have the runs that are started from."""
        seen = set(self._trials.values())
        for trial_id, record in self._records.items():
            if trial_id not in seen and record.runs[0].adapted_to is None:
                self._trials |= dict.fromkeys(record.run_ids, trial_id)


def _list_missing(
    sweep: Transfer, sizes: TargetSizes, records: Mapping[str, TrialRecord], pack_size: int
) -> Iterator[FurtherPack]:
    known = {run_id for record in records.values() for run_id in record.run_ids}
    for cell in list_cells(sweep, list(next(iter(sizes.values()), ()))):
        run_ids = cell.run_ids
        missing = [run for run in cell.keys if run_ids[run] not in known]
        yield from make_packs(cell, missing, sizes, pack_size)
