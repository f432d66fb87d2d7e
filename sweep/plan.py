"""An experiment whose backbone and data are there: what it will run, and what that is estimated to cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sweep.config import UNKNOWN_SOURCES, SweepConfig
from xpe_core.backbones import find_hidden_size, find_max_positions
from xpe_core.checkpoints import fingerprint_checkpoint
from xpe_core.languages import TARGET_GROUPS
from xpe_core.model import check_encoder, check_positions
from xpe_core.tokens import TokenisedData, check_splits, load_tokens


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

    @property
    def chosen_by_targets(self) -> tuple[str, ...]:
        """Target languages whose validation split takes part in the choice: for them a trial is not zero-shot."""
        groups = self.data.resolve(TARGET_GROUPS[-1])
        return tuple(sorted(set(self.selection_languages) & set(self.target_languages) & set(groups)))

    @property
    def trained_on_targets(self) -> dict[str, int]:
        """How many target languages each source set trains on, where it does: they are not zero-shot there."""
        targets = set(self.target_languages) & set(self.data.resolve(TARGET_GROUPS[-1]))
        known = [name for name in self.sweep.used_source_sets if name != UNKNOWN_SOURCES]
        counts = {name: len(targets & set(self.data.resolve(name))) for name in known}
        return {name: count for name, count in counts.items() if count}

    @property
    def num_configurations(self) -> int:
        """Configurations in all."""
        return self.sweep.num_samples if self.sweep.kind == "search" else len(self.sweep.corners)

    @property
    def num_trials(self) -> int:
        """Trials in all, where nothing was added to the experiment: a grid's cells may be several packs each."""
        if self.sweep.kind == "search":
            return self.num_configurations
        return sum(-(-len(self.sweep.seeds_of(arm)) // self.pack_size) for arm, _ in self.sweep.cells)

    @property
    def pack_size(self) -> int:
        """Runs that train together at most: all seeds of a configuration, unless a grid says otherwise."""
        size = self.sweep.resources.seeds_per_trial
        return size if isinstance(size, int) and self.sweep.kind != "search" else len(self.sweep.seeds)


def prepare(name: str, sweep: SweepConfig) -> Plan:
    """Fetch, tokenise and check whatever the experiment needs; InputError where something is missing."""
    config = sweep.corners[0]
    max_positions = find_max_positions(config.backbone)
    hidden_size = find_hidden_size(config.backbone)
    for corner in sweep.corners:
        check_positions(corner, max_positions)
        check_encoder(corner, hidden_size)
    data = load_tokens(config.source, config.backbone, config.max_length)
    source_sets = [data.resolve(source_set) for source_set in sweep.used_source_sets]
    every_source = [language for source_set in source_sets for language in source_set]
    chosen_by = sweep.selection_languages or (every_source if sweep.kind == "search" else ())
    selection = data.resolve(chosen_by) if chosen_by else ()
    targets = data.resolve(sweep.evaluation.languages)
    for source_set in source_sets:
        check_splits(data, train=source_set, validation={*selection, *source_set}, test=targets)
    fingerprints = {"backbone": fingerprint_checkpoint(config.backbone), "data": data.fingerprint}
    return Plan(name, sweep, data, fingerprints, selection, targets)
