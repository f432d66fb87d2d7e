"""What driver and workers tell each other, as types that both sides build and read.

Tune carries dictionaries. `to_wire` and `from_wire` are the only places that know their keys: beside what Tune itself
reads, a message is a single value in them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sweep.records.parquet import score_rows
from sweep.records.rows import EvaluationRow
from sweep.records.runs import RunKey
from sweep.records.states import State
from xpe_core.config import RunConfig
from xpe_core.fields import FieldValues

if TYPE_CHECKING:
    from ray import ObjectRef

    from xpe_core.tasks.scores import LanguageScore

METRIC = "selection_accuracy"
"""What Tune, the scheduler and the searcher read of a report."""
SETTINGS, ORDER, REPORT = "settings", "order", "report"
DONE = "done"
"""Whether Tune is to end the trial; the scheduler may set it."""

Wire = dict[str, object]
"""What Tune carries."""


@dataclass(frozen=True)
class PanelSettings:
    """What the driver tells all workers of one backbone and data set."""

    selection_languages: tuple[str, ...]
    """Empty: each run is chosen by its own source languages."""
    target_languages: tuple[str, ...]
    fingerprints: Mapping[str, str]
    reading: tuple[int, int]
    """`RunConfig.reading` that the fingerprint of the data was made with."""
    data: Mapping[tuple[int, int], "ObjectRef"]
    """Tokenised data by `RunConfig.reading`, for nodes that lack the files."""


@dataclass(frozen=True)
class TrialSettings:
    """What the driver tells all workers alike."""

    panels: Mapping[str, PanelSettings]
    """By `RunConfig.panel`."""
    max_examples: int | None
    """Test examples a language at most; None is all."""
    num_threads: int
    gpus: float
    """A trial's share of GPUs."""
    device: str
    versions: Mapping[str, str]
    places: Mapping[str, str]
    """Where data and backbone of a recorded name lie now, if elsewhere."""
    checkpoint_seconds: float
    keeps_adapters: bool
    adapters: Mapping[str, "ObjectRef"]
    """Of an evaluation: the adapters' files by run_id."""

    def to_wire(self) -> Wire:
        """Return the part of a trial's Tune config that is the same for all trials."""
        return {SETTINGS: self}


@dataclass(frozen=True)
class TrialOrder:
    """What the driver tells a worker of one trial."""

    trial_id: str
    config: FieldValues
    """Values of `RunConfig`: those that are known."""
    runs: tuple[RunKey, ...]
    checkpoint: "ObjectRef | None" = None
    """The file that the trial goes on from; None: it begins."""
    tested: bool = True
    """Whether its runs are tested at their end, and what they trained may be kept."""
    parents: Mapping[str, "ObjectRef"] = field(default_factory=dict)
    """The adapters' files of runs that its runs start from, by run_id; none where it goes on from a checkpoint."""

    def to_wire(self) -> Wire:
        """Return the part of a trial's Tune config that is its own."""
        return {ORDER: self}

    @classmethod
    def from_wire(cls, config: Wire) -> "TrialOrder":
        """Read a trial's Tune config."""
        order = config[ORDER]
        assert isinstance(order, cls)
        return order


@dataclass(frozen=True)
class Assignment:
    """All that a worker knows of its trial."""

    settings: TrialSettings
    order: TrialOrder

    @property
    def panel(self) -> PanelSettings:
        """What the trial's backbone and data set are told."""
        return self.settings.panels[RunConfig(**self.order.config).panel]

    @classmethod
    def from_wire(cls, config: Wire) -> "Assignment":
        """Read a trial's Tune config."""
        settings = config[SETTINGS]
        assert isinstance(settings, TrialSettings)
        return cls(settings, TrialOrder.from_wire(config))


@dataclass(frozen=True)
class RunResult:
    """Where one run stands, or how it ended; what is not known is None."""

    run_id: str
    state: State
    """Training, complete or failed."""
    num_runs_in_pack: int
    num_trained_parameters: int | None = None
    peak_memory_bytes: int | None = None
    error: str | None = None
    num_steps: int | None = None
    train_loss: float | None = None
    """Mean since the last report, in nats; None where there is none."""
    validation_accuracy: float | None = None
    """At this step."""
    best_step: int | None = None
    best_validation_accuracy: float | None = None
    selection_accuracy: float | None = None
    """These three are of the checkpoint that is kept."""
    train_seconds: float | None = None
    tokens_per_second: float | None = None
    padding_share: float | None = None
    peak_share: float | None = None
    """These four are of the whole pack."""
    adapter: str | None = None
    adapter_fingerprint: str | None = None
    """These two are of an evaluation."""


@dataclass(frozen=True)
class RunScores:
    """How good a run is on the languages of a split."""

    run_id: str
    split: str
    scores: tuple["LanguageScore", ...]

    def rows(self) -> list[EvaluationRow]:
        """Return the rows of the table `evaluations`, one a language and metric."""
        return score_rows(self.run_id, self.split, self.scores)


@dataclass(frozen=True)
class Provenance:
    """Where a worker's numbers come from."""

    code_version: str
    package_versions: str
    """JSON."""
    backbone_fingerprint: str
    host: str
    device: str
    data_fingerprint: str
    num_rows_skipped: int | None


@dataclass(frozen=True)
class TrialReport:
    """What a worker says of its trial."""

    step: int
    restored_step: int = 0
    """Of the checkpoint that the trial went on from; 0: it began here."""
    node: str = ""
    pid: int = 0
    selection_accuracy: float = 0.0
    """Mean over the pack's runs, in [0, 1]."""
    tick: bool = False
    """Whether it says no more than the step."""
    trained: bool = False
    """Whether all runs are trained: testing is what is left."""
    finished: bool = False
    """Whether the complete runs are tested: nothing is left."""
    done: bool = False
    """Whether this is the trial's last report: it is finished, or the scheduler stops it."""
    runs: tuple[RunResult, ...] = ()
    """In the order of the trial's runs; none in a tick."""
    evaluations: tuple[RunScores, ...] = field(default=(), repr=False)  # Tune writes out what it gets, for a log
    provenance: Provenance | None = None
    adapters: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """The files of the complete runs' trained parts by run_id, where they are kept."""
    checkpoint: bytes | None = field(default=None, repr=False)

    def to_wire(self) -> Wire:
        """Return the result that Tune carries, with what Tune itself reads."""
        return {METRIC: self.selection_accuracy, DONE: self.done, REPORT: self}

    @classmethod
    def from_wire(cls, result: Wire) -> "TrialReport":
        """Read a result out of Tune's hands, where the scheduler may have made it the last one."""
        report = result[REPORT]
        assert isinstance(report, cls)
        return report if report.done == result[DONE] else replace(report, done=bool(result[DONE]))

    def rows(self) -> list[EvaluationRow]:
        """Return the rows of the table `evaluations`."""
        return [row for scores in self.evaluations for row in scores.rows()]
