"""Where an experiment's next trials come from, by its kind; all that a source knows is the ledger's."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from sweep.driver.proposals import Proposal, Sampler, propose_cells, propose_missing
from sweep.driver.transfers import FurtherPacks
from sweep.experiment.arms import Evaluation, Grid, Replication
from sweep.experiment.search import Search
from sweep.experiment.study import Study
from sweep.experiment.transfer import Transfer
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.further import TargetSizes
from sweep.records.ledger import TrialRecord
from sweep.records.runs import make_runs
from sweep.records.stages import Stage
from sweep.records.winners import find_winners, is_over, search_records, spent
from xpe_core.fields import FieldValues

Records = Mapping[str, TrialRecord]
"""The trials by trial_id, kept up to date while the experiment runs."""


class Source(Protocol):
    """Proposes an experiment's trials one after the other."""

    @property
    def has_more(self) -> bool:
        """Whether something is left to propose, now or when what runs has ended."""

    def propose(self) -> Proposal | None:
        """Return the next trial; None where there is none now."""

    def tell(self, record: TrialRecord) -> None:
        """Take note that a trial has ended."""

    def cut(self, size: int | None) -> None:
        """Propose packs of so many runs from now on, where they can be cut; None: all that belong together."""


class CellSource:
    """The cells of what has arms."""

    def __init__(self, sweep: Grid | Replication | Transfer | Evaluation, records: Records) -> None:
        """Propose what the records lack."""
        self._sweep, self._records = sweep, records
        self.cut(_pack_size(sweep.resources.seeds_per_trial))

    @property
    def has_more(self) -> bool:
        """Whether a cell is left."""
        return bool(self._proposals)

    def propose(self) -> Proposal | None:
        """Return the next cell, or part of one."""
        return self._proposals.popleft() if self._proposals else None

    def tell(self, record: TrialRecord) -> None:
        """Do nothing: cells do not depend on one another."""

    def cut(self, size: int | None) -> None:
        """Propose what is left in packs of so many runs."""
        sweep = self._sweep
        cells = [
            (arm, config, make_runs(sweep.seeds_of(arm)))
            for (arm, _), config in zip(sweep.cells, sweep.corners, strict=True)
        ]
        self._proposals = deque(propose_cells(cells, self._records.values(), size))


class SearchSource:
    """The configurations of a search: what was added to finished ones, then what the sampler draws."""

    def __init__(
        self, sweep: Search, records: Iterable[TrialRecord], first: Sequence[FieldValues], known: set[str]
    ) -> None:
        """Start from the search's own records; no configuration among the `known` config_ids is drawn.

        `first` are values of searched fields that are proposed before any is drawn.
        """
        own = {record.trial_id: record for record in records}
        self._sweep, self._known, self._number = sweep, known, len(own)
        self._proposals = deque(propose_missing(sweep, own))
        self._own = {record.config_id for record in own.values()}
        self._sampler = Sampler(sweep, own, first)
        configs = {record.config_id for record in own.values() if sweep.has_full_length(record.config)}
        self._limit = sweep.count_samples(first)
        self._num_sampled = len(configs) + sum(one.config.config_id not in known for one in self._proposals)

    @property
    def has_more(self) -> bool:
        """Whether a configuration is left, as far as is known."""
        return bool(self._proposals) or self._num_sampled < self._limit

    @property
    def is_incomplete(self) -> bool:
        """Whether configurations lack seeds that others have: these compare only when they have them, too."""
        return any(one.config.config_id in self._own for one in self._proposals)

    def complete(self) -> Proposal | None:
        """Return the seeds that the next incomplete configuration lacks."""
        lacking = next((one for one in self._proposals if one.config.config_id in self._own), None)
        if lacking is not None:
            self._proposals.remove(lacking)
            self._number += 1
        return lacking

    def propose(self) -> Proposal | None:
        """Return the next configuration."""
        proposal = self._proposals.popleft() if self._proposals else self._draw()
        if proposal is not None:
            self._known.add(proposal.config.config_id)
            self._number += 1
        return proposal

    def tell(self, record: TrialRecord) -> None:
        """Let the sampler learn from a trial."""
        self._sampler.tell(record)

    def cut(self, size: int | None) -> None:
        """Do nothing: all runs of a configuration are judged together."""

    def _draw(self) -> Proposal | None:
        if self._num_sampled >= self._limit:
            return None
        proposal = self._sampler.propose(self._number, self._known)
        self._num_sampled = self._num_sampled + 1 if proposal else self._limit  # the space is exhausted
        return proposal


class TransferSource:
    """The cells of a transfer's first stage, then the packs of the second whose runs have something to start from."""

    def __init__(self, cells: CellSource, further: FurtherPacks) -> None:
        """Take what is left of both stages."""
        self._cells, self._further = cells, further

    @property
    def has_more(self) -> bool:
        """Whether a cell or a pack is left."""
        return self._cells.has_more or self._further.has_more

    def propose(self) -> Proposal | None:
        """Return the next cell, or a pack that can start or cannot any more; None where all wait for what runs."""
        return self._cells.propose() or self._further.take()

    def tell(self, record: TrialRecord) -> None:
        """Do nothing: the records say what has ended."""

    def cut(self, size: int | None) -> None:
        """Propose packs of so many runs in both stages."""
        self._cells.cut(size)
        self._further.cut(size)


class StudySource:
    """The searches of a study's methods in turns, and what is run again as soon as a method's search is over."""

    def __init__(self, study: Study, records: Records) -> None:
        """Start from the records, where each trial has its stage and its method as its arm."""
        self._study, self._records = study, records
        self._size = _pack_size(study.resources.seeds_per_trial)
        known = {record.config_id for record in records.values() if record.stage == Stage.SEARCH}
        self._searches = {
            name: SearchSource(search, search_records(records.values(), name), study.first_points(name), known)
            for name, search in study.searches.items()
        }

    @property
    def has_more(self) -> bool:
        """Whether a search goes on, or a run on fresh seeds is missing."""
        return any(map(self._goes_on, self._searches)) or next(self._find_missing(), None) is not None

    def propose(self) -> Proposal | None:
        """Return the next trial of the method that has had the fewest, else what is ready to be run again."""
        records = self._records.values()
        shares = {name: spent(self._study, records, name) for name in self._searches}
        # of hours nothing is known at first: then the method with the fewest trials is next
        counts = Counter(record.arm for record in records if record.stage == Stage.SEARCH)
        for name, search in sorted(self._searches.items(), key=lambda one: (shares[one[0]], counts[one[0]])):
            if proposal := search.complete() or (search.propose() if shares[name] < 1 else None):
                return replace(proposal, arm=name, stage=Stage.SEARCH)
        return next(self._find_missing(), None)

    def tell(self, record: TrialRecord) -> None:
        """Let a method's sampler learn from a trial of its search."""
        if record.stage == Stage.SEARCH and record.arm in self._searches:
            self._searches[record.arm].tell(record)

    def cut(self, size: int | None) -> None:
        """Propose what is run again in packs of so many runs."""
        self._size = size

    def _goes_on(self, name: str) -> bool:
        """Whether a method's search has something left to propose and to spend."""
        search = self._searches[name]
        return search.is_incomplete or (search.has_more and spent(self._study, self._records.values(), name) < 1)

    def _find_missing(self) -> Iterator[Proposal]:
        """Yield the runs on fresh seeds that the records lack, of the methods whose search is over."""
        records = self._records.values()
        over = [name for name in self._searches if not self._goes_on(name) and is_over(records, name)]
        if not over:
            return
        runs = make_runs(self._study.replication_seeds)
        cells = [(arm, config, runs) for arm, config in find_winners(self._study, records, over).items()]
        for proposal in propose_cells(cells, records, self._size):
            yield replace(proposal, stage=Stage.REPLICATION, baseline=True)


def build_source(
    sweep: Search | Grid | Replication | Transfer | Evaluation | Study,
    records: Records,
    folder: ExperimentFolder,
    target_sizes: Mapping[str, TargetSizes],
) -> Source:
    """Return where the trials of an experiment come from.

    `target_sizes` are the train examples of each language that a transfer goes on to, by `RunConfig.panel`; it goes
    on from adapters in its `folder`.
    """
    if isinstance(sweep, Study):
        return StudySource(sweep, records)
    if isinstance(sweep, Search):
        known = {record.config_id for record in records.values()}
        return SearchSource(sweep, records.values(), sweep.first_points, known)
    if isinstance(sweep, Transfer):
        return TransferSource(CellSource(sweep, records), FurtherPacks(sweep, target_sizes, folder, records))
    return CellSource(sweep, records)


def _pack_size(asked: int | str | None) -> int | None:
    return asked if isinstance(asked, int) else None
