"""An experiment whose backbone and data are there: what it will run, and what that is estimated to cost."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from sweep.analysis.targets import TableRows, find_rows
from sweep.experiment.config import SweepConfig
from sweep.experiment.workload import Workload
from sweep.planning.languages import fit_to_data
from sweep.records.further import FurtherCell, find_pack_size, list_cells, make_packs
from sweep.records.runs import RunKey, make_runs
from xpe_core.backbones.backbone import find_shape
from xpe_core.backbones.files import fingerprint_files
from xpe_core.cache import explain_stand_in
from xpe_core.data.tokens import TokenisedData, load_tokens
from xpe_core.pack import check_config

CUT_SHARE = 0.01
"""Of the texts: what is said of those that are cut from there on."""


@dataclass(frozen=True)
class Plan:
    """An experiment whose backbone and data are there and fit what it asks for."""

    name: str
    sweep: SweepConfig
    data: TokenisedData
    fingerprints: dict[str, str]
    selection_languages: tuple[str, ...]
    """What a trial is chosen by, the same for every trial, so that accuracies compare; empty where none is chosen."""
    target_languages: tuple[str, ...]
    adapters: Mapping[str, bytes] = field(default_factory=dict)
    """Of an evaluation: the adapters' files by run_id."""
    places: Mapping[str, str] = field(default_factory=dict)
    """Where data and backbone of a recorded name lie now, if elsewhere."""
    older_fingerprints: tuple[str, ...] = ()
    """What older versions called the same data."""

    further_languages: tuple[str, ...] = ()
    """What a transfer goes on to, each by itself."""
    notes: tuple[str, ...] = ()
    """What a person should know of data and languages, in sentences."""

    @cached_property
    def rows(self) -> TableRows:
        """What the rows of the tables average over."""
        source_sets = {self.sweep.name_source_set(name): name for name in self.sweep.used_source_sets}
        is_trained = self.sweep.kind != "evaluate"  # adapters may have been trained on languages that are not here
        trained = {name: self.data.sources(asked) for name, asked in source_sets.items() if is_trained}
        dataset = self.sweep.corners[0].data.dataset
        groups, facts = self.sweep.groups, self.data.facts
        return find_rows(dataset, source_sets, self.target_languages, trained, groups, facts=facts)

    @property
    def chosen_by_targets(self) -> tuple[str, ...]:
        """Languages of the rows whose validation split takes part in the choice: for them a trial is not zero-shot."""
        return tuple(sorted(set(self.selection_languages) & set(self.target_languages) - self.rows.excluded))

    @property
    def trained_on_targets(self) -> dict[str, int]:
        """How many languages of its rows each source set trains on, where it does: they are not zero-shot there."""
        rows = self.rows
        counts = {name: len(codes - rows.exclusions[name].languages) for name, codes in rows.trained.items()}
        return {name: count for name, count in counts.items() if count}

    @property
    def num_configurations(self) -> int:
        """Configurations in all."""
        return sum(workload.num_configurations for workload in self.sweep.workloads)

    @property
    def num_trials(self) -> int:
        """Trials in all, where nothing was added to the experiment: a grid's cells may be several packs each."""
        return sum(workload.num_trials(self.pack_size) for workload in self.sweep.workloads) + self._num_further_packs

    @property
    def workloads(self) -> list[Workload]:
        """All that is asked for; of a transfer each target of its second stage by itself."""
        further = [
            Workload(cell.arm, [cell.config], 1, cell.seeds, is_cut=True, adapted_to=language)
            for cell in self.further_cells
            for language in cell.languages
        ]
        return [*self.sweep.workloads, *further]

    @property
    def num_runs(self) -> int:
        """Runs in all, if nothing was added to the experiment."""
        return sum(workload.num_runs for workload in self.workloads)

    @property
    def largest_pack(self) -> int:
        """Runs of the largest trial."""
        return max(self.pack_size, find_pack_size(self.sweep) if self.sweep.kind == "transfer" else 0)

    @cached_property
    def further_cells(self) -> tuple[FurtherCell, ...]:
        """The second stage of a transfer; nothing of any other experiment."""
        return tuple(list_cells(self.sweep, self.further_languages)) if self.sweep.kind == "transfer" else ()

    @property
    def further_sizes(self) -> dict[str, int]:
        """The train examples of each language that a transfer goes on to."""
        return {language: self.data.counts[language]["train"] for language in self.further_languages}

    @cached_property
    def _num_further_packs(self) -> int:
        if self.sweep.kind != "transfer":
            return 0
        sizes, most = self.further_sizes, find_pack_size(self.sweep)
        return sum(1 for cell in self.further_cells for _ in make_packs(cell, cell.keys, sizes, most))

    @property
    def runs(self) -> tuple[RunKey, ...]:
        """The runs of a configuration, where most are asked for."""
        workloads = self.sweep.workloads
        return make_runs(max(workloads, key=lambda one: len(one.seeds)).seeds if workloads else self.sweep.seeds)

    @property
    def pack_size(self) -> int:
        """Runs that train together at most: all runs of a configuration, unless it is said otherwise."""
        size = self.sweep.resources.seeds_per_trial
        return size if isinstance(size, int) and self.sweep.kind != "search" else len(self.runs)


def prepare(name: str, sweep: SweepConfig, open_keys: Collection[str] = frozenset()) -> Plan:
    """Check names, fetch and tokenise whatever the experiment needs; InputError where something is missing.

    What is quick is looked at first: a misspelt language is answered before a text is tokenised. `open_keys` say
    of languages what was meant for another data set.
    """
    sweep, chosen = fit_to_data(sweep, open_keys)
    config = sweep.corners[0]
    shape = find_shape(config.backbone)
    for corner in sweep.corners:
        check_config(corner, shape)
    data = load_tokens(config.source, config.backbone, config.data.max_length, config.task)
    fingerprints = {"backbone": fingerprint_files(config.backbone), "data": data.fingerprint}
    notes = (*chosen.notes, *explain_machine(data, config.data.max_length))
    languages = (chosen.selection, chosen.targets)
    return Plan(name, sweep, data, fingerprints, *languages, further_languages=chosen.further, notes=notes)


def explain_machine(data: TokenisedData, max_length: int) -> tuple[str, ...]:
    """Return what a person should know of how many texts are cut, and of where the cache is."""
    share = (data.num_cut or 0) / max(len(data.lengths), 1)
    cut = f"{100 * share:.0f} % of the texts are longer than {max_length} tokens (max_length) and are cut"
    return tuple(note for note in (cut if share >= CUT_SHARE else None, explain_stand_in()) if note)
