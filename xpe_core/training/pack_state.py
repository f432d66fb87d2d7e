"""Where a pack stands: what its runs report, what the host keeps of each, and what stays on the device.

R runs of the pack.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from xpe_core.config import RunConfig
from xpe_core.stacked import Parameters
from xpe_core.tasks.scores import LanguageScore, read_score
from xpe_core.training.meter import Work


class RunFacts(TypedDict):
    """What a checkpoint holds of a run beside weights; fields are those of `RunProgress`."""

    state: str
    error: str | None
    num_steps: int
    train_loss: float
    validation_accuracy: float
    best_step: int
    best_validation_accuracy: float
    selection_accuracy: float
    evaluations_since_best: int
    scores: list[dict[str, object]]
    """As `read_score` takes them."""


@dataclass(frozen=True)
class RunReport:
    """Where one run stands at an evaluation."""

    run_id: str
    seed: int
    state: str
    """`training`, `complete` (all steps done, or stopped early) or `failed`."""
    error: str | None
    num_steps: int
    train_loss: float
    """Mean over the steps since the last report, those before a failure, in nats; NaN where there is none."""
    validation_accuracy: float
    """Mean over the source languages at this step, in [0, 1]."""
    best_step: int
    best_validation_accuracy: float
    """Of the checkpoint that is kept: the best on the source languages' validation split."""
    selection_accuracy: float
    """That checkpoint's mean over the selection languages; 0 for a failed run, which has no model to offer."""
    validation_scores: tuple[LanguageScore, ...]
    """That checkpoint's counts, one a source or selection language."""


@dataclass(frozen=True)
class Report:
    """Where the pack stands at an evaluation."""

    step: int
    runs: tuple[RunReport, ...]
    work: Work
    """What training has cost so far, all runs together."""

    @property
    def selection_accuracy(self) -> float:
        """Mean over the pack's runs, failed ones as 0: what a scheduler and a sampler decide on."""
        return sum(run.selection_accuracy for run in self.runs) / len(self.runs)


@dataclass
class RunProgress:
    """What the host knows of one run while it trains."""

    index: int
    """In the pack."""
    config: RunConfig
    source_languages: tuple[str, ...]
    rows: np.ndarray
    """Of the data, what it trains on."""
    batches: Iterator[np.ndarray]
    run_id: str
    state: str = "training"
    error: str | None = None
    num_steps: int = 0
    train_loss: float = math.nan
    validation_accuracy: float = 0.0
    best_step: int = 0
    best_validation_accuracy: float = -1.0
    selection_accuracy: float = 0.0
    best_parameters: Parameters = field(default_factory=dict)
    validation_scores: tuple[LanguageScore, ...] = ()
    evaluations_since_best: int = 0

    def decide(self, has_steps: bool = True) -> None:
        """End where all steps are done or there are none, or where no evaluation has been better for long enough."""
        training = self.config.training
        may_stop = self.num_steps >= training.early_stopping_after * training.max_steps
        if (
            not has_steps
            or self.num_steps == training.max_steps
            or (may_stop and self.evaluations_since_best >= training.patience)
        ):
            self.state = "complete"

    def report(self) -> RunReport:
        """Return what others need to know."""
        return RunReport(
            run_id=self.run_id,
            seed=self.config.seed,
            state=self.state,
            error=self.error,
            num_steps=self.num_steps,
            train_loss=self.train_loss,
            validation_accuracy=self.validation_accuracy,
            best_step=self.best_step,
            best_validation_accuracy=max(self.best_validation_accuracy, 0.0),
            selection_accuracy=self.selection_accuracy,
            validation_scores=self.validation_scores,
        )

    def facts(self) -> RunFacts:
        """Return what a checkpoint must hold beside weights, as JSON takes it; `restore` takes it back."""
        return RunFacts(
            state=self.state,
            error=self.error,
            num_steps=self.num_steps,
            train_loss=self.train_loss,
            validation_accuracy=self.validation_accuracy,
            best_step=self.best_step,
            best_validation_accuracy=self.best_validation_accuracy,
            selection_accuracy=self.selection_accuracy,
            evaluations_since_best=self.evaluations_since_best,
            scores=[asdict(score) for score in self.validation_scores],
        )

    def restore(self, facts: RunFacts) -> None:
        """Stand where another run of the same configuration and seed stood."""
        self.state, self.error = facts["state"], facts["error"]
        self.num_steps, self.train_loss = facts["num_steps"], facts["train_loss"]
        self.validation_accuracy, self.selection_accuracy = facts["validation_accuracy"], facts["selection_accuracy"]
        self.best_step, self.best_validation_accuracy = facts["best_step"], facts["best_validation_accuracy"]
        self.evaluations_since_best = facts["evaluations_since_best"]
        self.validation_scores = tuple(read_score(score) for score in facts["scores"])


class PackProgress:
    """What the device knows of the runs, so that no step has to wait for it; tensors are [all runs of the pack]."""

    def __init__(self, num_runs: int, device: torch.device) -> None:
        self.step = 0
        self._last_read = 0
        self._loss_sums = torch.zeros(num_runs, device=device)
        self._failed_steps = torch.zeros(num_runs, dtype=torch.int64, device=device)  # 0: it has not failed
        self._failed_losses = torch.zeros(num_runs, device=device)
        self._failed_norms = torch.zeros(num_runs, device=device)

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint must hold beside `step`; `restore` takes it back."""
        return {
            "loss_sums": self._loss_sums,
            "failed_steps": self._failed_steps,
            "failed_losses": self._failed_losses,
            "failed_norms": self._failed_norms,
            "last_read": torch.tensor(self._last_read),
        }

    def restore(self, step: int, tensors: dict[str, Tensor]) -> None:
        """Stand where another `PackProgress` stood at `step`."""
        device = self._loss_sums.device
        self.step, self._last_read = step, int(tensors["last_read"])
        self._loss_sums = tensors["loss_sums"].to(device)
        self._failed_steps = tensors["failed_steps"].to(device)
        self._failed_losses = tensors["failed_losses"].to(device)
        self._failed_norms = tensors["failed_norms"].to(device)

    def is_sound(self, losses: Tensor) -> Tensor:
        """Return which runs may take a step: their loss is finite, and nothing was amiss before."""
        return losses.isfinite() & (self._failed_steps == 0)

    def record(self, losses: Tensor, norms: Tensor) -> None:
        """Take a step's losses and gradient norms; what those of runs that have ended are does not matter."""
        self.step += 1
        failed = ~(losses.isfinite() & norms.isfinite()) & (self._failed_steps == 0)
        self._failed_steps = torch.where(failed, self.step, self._failed_steps)
        self._failed_losses = torch.where(failed, losses, self._failed_losses)
        self._failed_norms = torch.where(failed, norms, self._failed_norms)
        self._loss_sums += torch.where(self._failed_steps == 0, losses, 0)

    def read(self) -> tuple[list[float], list[float], list[float], list[float]]:
        """Return of each run the step that failed (or 0), its loss and norm, and the mean loss since the last time.

        The mean is over the steps before the failure, NaN where there is none.
        """
        last_sound = torch.where(self._failed_steps == 0, self.step, self._failed_steps - 1)
        means = self._loss_sums / (last_sound - self._last_read)  # 0 / 0: not one sound step, so no mean
        self._last_read, self._loss_sums = self.step, torch.zeros_like(self._loss_sums)
        rows = torch.stack([self._failed_steps.double(), self._failed_losses, self._failed_norms, means])
        failed_steps, losses, norms, mean_losses = rows.tolist()
        return failed_steps, losses, norms, mean_losses
