"""What an experiment runs on one backbone and data set: tokenised data, fingerprints, and the languages it uses."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from sweep.analysis.targets import TableRows, find_rows
from sweep.experiment.config import SweepConfig
from sweep.experiment.workload import Workload
from sweep.records.further import FurtherCell, TargetSizes, find_pack_size, list_cells, make_packs
from xpe_core.config import RunConfig
from xpe_core.data.tokens import TokenisedData, load_tokens


@dataclass(frozen=True)
class Panel:
    """The configurations of an experiment whose scores compare, with what they have in common."""

    key: str
    """`RunConfig.panel` of all its configurations."""
    name: str
    """What people call it; empty where the experiment has this panel alone."""
    sweep: SweepConfig
    """The experiment with the panel's arms alone."""
    data: TokenisedData
    """At the `max_length` of the first configuration."""
    fingerprints: Mapping[str, str]
    """Of `backbone` and `data`."""
    selection_languages: tuple[str, ...]
    """What a trial is chosen by, the same for every trial, so that accuracies compare; empty where none is chosen."""
    target_languages: tuple[str, ...]
    further_languages: tuple[str, ...] = ()
    """What a transfer goes on to, each by itself."""
    notes: tuple[str, ...] = ()
    """What a person should know of data and languages, in sentences."""

    @property
    def config(self) -> RunConfig:
        """A configuration of the panel: its backbone, data set and task are those of all."""
        return self.sweep.corners[0]

    @cached_property
    def rows(self) -> TableRows:
        """What the rows of the tables average over."""
        source_sets = {self.sweep.name_source_set(name): name for name in self.sweep.used_source_sets}
        is_trained = self.sweep.kind != "evaluate"  # adapters may have been trained on languages that are not here
        trained = {name: self.data.sources(asked) for name, asked in source_sets.items() if is_trained}
        dataset, groups, facts = self.config.data.dataset, self.sweep.groups, self.data.facts
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
    def workloads(self) -> list[Workload]:
        """All that is asked for; of a transfer each target of its second stage by itself."""
        further = [
            Workload(cell.arm, [cell.config], 1, cell.seeds, is_cut=True, adapted_to=language)
            for cell in self.further_cells
            for language in cell.languages
        ]
        return [*self.sweep.workloads, *further]

    @cached_property
    def further_cells(self) -> tuple[FurtherCell, ...]:
        """The second stage of a transfer; nothing of any other experiment."""
        return tuple(list_cells(self.sweep, self.further_languages)) if self.sweep.kind == "transfer" else ()

    @cached_property
    def read_data(self) -> dict[tuple[int, int], TokenisedData]:
        """The data by `RunConfig.reading`, as the configurations of the panel read them."""
        configs = [*self.sweep.corners, *(cell.config for cell in self.further_cells)]
        read = {config.reading: config for config in configs}
        own = self.config.reading
        return {
            reading: self.data
            if reading == own
            else load_tokens(config.source, config.backbone, config.data.max_length, config.task)
            for reading, config in sorted(read.items())
        }

    @cached_property
    def further_sizes(self) -> TargetSizes:
        """What packs of a transfer's second stage are made by; nothing of any other experiment."""
        if not self.further_languages:
            return {}
        return {
            reading: {language: data.counts[language]["train"] for language in self.further_languages}
            for reading, data in self.read_data.items()
        }

    @cached_property
    def num_further_packs(self) -> int:
        """Packs of a transfer's second stage."""
        if self.sweep.kind != "transfer":
            return 0
        sizes, most = self.further_sizes, find_pack_size(self.sweep)
        return sum(1 for cell in self.further_cells for _ in make_packs(cell, cell.keys, sizes, most))
