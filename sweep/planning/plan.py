"""An experiment whose backbones and data are there: what it will run, panel by panel."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from sweep.experiment.config import SweepConfig
from sweep.experiment.panels import AskedPanel
from sweep.experiment.workload import Workload
from sweep.planning.languages import ChosenLanguages, fit_panels
from sweep.planning.panel import Panel
from sweep.records.further import TargetSizes, find_pack_size
from sweep.records.runs import RunKey, make_runs
from sweep.records.specification import name_fingerprint
from xpe_core.backbones.backbone import find_shape
from xpe_core.backbones.files import fingerprint_files
from xpe_core.cache import explain_stand_in
from xpe_core.config import RunConfig
from xpe_core.data.tokens import TokenisedData, load_tokens
from xpe_core.pack import check_config

CUT_SHARE = 0.01
"""Of the texts: what is said of those that are cut from there on."""


@dataclass(frozen=True)
class Plan:
    """An experiment whose backbones and data are there and fit what it asks for."""

    name: str
    sweep: SweepConfig
    panels: tuple[Panel, ...]
    """One for each backbone on each data set, in the order of the arms."""
    adapters: Mapping[str, bytes] = field(default_factory=dict)
    """Of an evaluation: the adapters' files by run_id."""
    places: Mapping[str, str] = field(default_factory=dict)
    """Where data and backbone of a recorded name lie now, if elsewhere."""
    older_fingerprints: tuple[str, ...] = ()
    """What older versions called the same data."""

    @property
    def panel(self) -> Panel:
        """The panel of an experiment that has one."""
        (panel,) = self.panels
        return panel

    def panel_of(self, config: RunConfig) -> Panel:
        """Return the panel of one of the experiment's configurations."""
        return next(panel for panel in self.panels if panel.key == config.panel)

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprints of all backbones and data sets; where there are several panels, with the panel's key."""
        if len(self.panels) == 1:
            return dict(self.panel.fingerprints)
        return {
            name_fingerprint(what, panel.key): digits
            for panel in self.panels
            for what, digits in panel.fingerprints.items()
        }

    @property
    def older_data(self) -> tuple[str, ...]:
        """What older versions call the data of an experiment's one panel; with several they know none."""
        return self.panel.data.older_fingerprints if len(self.panels) == 1 else ()

    @property
    def num_configurations(self) -> int:
        """Configurations in all."""
        return sum(workload.num_configurations for workload in self.sweep.workloads)

    @property
    def num_trials(self) -> int:
        """Trials in all, where nothing was added to the experiment: a grid's cells may be several packs each."""
        first = sum(workload.num_trials(self.pack_size) for workload in self.sweep.workloads)
        return first + sum(panel.num_further_packs for panel in self.panels)

    @property
    def workloads(self) -> list[Workload]:
        """All that is asked for; of a transfer each target of its second stage by itself."""
        return [workload for panel in self.panels for workload in panel.workloads]

    @property
    def num_runs(self) -> int:
        """Runs in all, if nothing was added to the experiment."""
        return sum(workload.num_runs for workload in self.workloads)

    @property
    def largest_pack(self) -> int:
        """Runs of the largest trial."""
        return max(self.pack_size, find_pack_size(self.sweep) if self.sweep.kind == "transfer" else 0)

    @property
    def further_sizes(self) -> dict[str, TargetSizes]:
        """The train examples of each language that a transfer goes on to, by the key of the panel."""
        return {panel.key: panel.further_sizes for panel in self.panels}

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

    def with_pack_size(self, size: int) -> "Plan":
        """Return the plan with packs of so many runs at most."""
        resources = self.sweep.resources.model_copy(update={"seeds_per_trial": size})
        changed = {"resources": resources}
        panels = tuple(replace(panel, sweep=panel.sweep.model_copy(update=changed)) for panel in self.panels)
        return replace(self, sweep=self.sweep.model_copy(update=changed), panels=panels)


def prepare(name: str, sweep: SweepConfig, open_keys: Collection[str] = frozenset()) -> Plan:
    """Check names, fetch and tokenise whatever the experiment needs; InputError where something is missing.

    What is quick is looked at first: a misspelt language is answered before a text is tokenised. `open_keys` say
    of languages what was meant for another data set.
    """
    sweep, fitted = fit_panels(sweep, open_keys)
    for corner in sweep.corners:
        check_config(corner, find_shape(corner.backbone))
    return Plan(name, sweep, tuple(load_panel(panel, chosen) for panel, chosen in fitted))


def load_panel(asked: AskedPanel, chosen: ChosenLanguages) -> Panel:
    """Return a panel with its data tokenised, for the languages that were chosen."""
    config = asked.config
    data = load_tokens(config.source, config.backbone, config.data.max_length, config.task)
    return Panel(
        key=asked.key,
        name=asked.name,
        sweep=asked.sweep,
        data=data,
        fingerprints={"backbone": fingerprint_files(config.backbone), "data": data.fingerprint},
        selection_languages=chosen.selection,
        target_languages=chosen.targets,
        further_languages=chosen.further,
        notes=(*chosen.notes, *explain_machine(data, config.data.max_length)),
    )


def explain_machine(data: TokenisedData, max_length: int) -> tuple[str, ...]:
    """Return what a person should know of how many texts are cut, and of where the cache is."""
    share = (data.num_cut or 0) / max(len(data.lengths), 1)
    cut = f"{100 * share:.0f} % of the texts are longer than {max_length} tokens (max_length) and are cut"
    return tuple(note for note in (cut if share >= CUT_SHARE else None, explain_stand_in()) if note)
