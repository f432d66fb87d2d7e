"""Training a pack: one forward and backward pass of the backbone for all runs, one update of all their parameters.

A run's data order is drawn from its own seed. All runs of a pack visit short and long batches in the same order, so
that their batches have nearly the same length and little of the shared pass is padding. A pack that is too large for
one pass is taken in several; the results are the same.

R active runs, B examples of each, T text tokens, C classes.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.evaluation import LanguageScore, evaluate, mean_accuracy
from xpe_core.meter import Work
from xpe_core.model import Parameters, PromptClassifier, stream_seed
from xpe_core.optimizers import StackedOptimizer
from xpe_core.passes import Pass, Passes
from xpe_core.tokens import TokenisedData

LENGTH_NOISE = 0.02
"""Relative noise on lengths before they are sorted into batches: other companions every epoch, little padding."""


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
class _Run:
    """What the host knows of one run while it trains."""

    place: int
    config: RunConfig
    source_languages: tuple[str, ...]
    num_examples: int
    batches: Iterator[np.ndarray]
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


class _Progress:
    """What the device knows of the runs, so that no step has to wait for it; tensors are [all runs of the pack]."""

    def __init__(self, num_runs: int, device: torch.device) -> None:
        self.step = 0
        self._last_read = 0
        self._loss_sums = torch.zeros(num_runs, device=device)
        self._failed_steps = torch.zeros(num_runs, dtype=torch.int64, device=device)  # 0: it has not failed
        self._failed_losses = torch.zeros(num_runs, device=device)
        self._failed_norms = torch.zeros(num_runs, device=device)

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


def train(
    model: PromptClassifier, data: TokenisedData, selection_languages: Sequence[str] | None = None
) -> Iterator[Report]:
    """Train the pack, yielding a report at every evaluation; afterwards every run holds its best checkpoint.

    `selection_languages` are what `selection_accuracy` averages over (default: each run's own source languages). A run
    whose loss or gradient is not finite is marked failed with its step, and the others go on.
    """
    runs = [_start_run(place, config, data) for place, config in enumerate(model.configs)]
    first = runs[0].config
    if len({run.num_examples for run in runs}) > 1:
        raise InputError("runs of one pack must train on equally many examples, since their epochs go together")
    eval_steps = first.eval_steps or max(1, runs[0].num_examples // first.batch_size)
    optimizer = StackedOptimizer(model.parameters, model.configs)
    progress, work = _Progress(len(runs), model.device), Work()
    passes = Passes(model.device, first.num_virtual_tokens)
    started = time.perf_counter()
    for step in range(1, first.max_steps + 1):
        active = [run for run in runs if run.state == "training"]
        _train_step(model, data, active, optimizer, progress, passes, work)
        if step % eval_steps != 0 and step != first.max_steps:
            continue
        _catch_up(active, progress)  # waits for the device
        work.seconds += time.perf_counter() - started
        if sound := [run for run in active if run.state == "training"]:
            _score(model, data, sound, selection_languages)
        for run in sound:
            _decide(run)
        yield Report(step, tuple(_report(run) for run in runs), replace(work))
        if not any(run.state == "training" for run in runs):
            break
        started = time.perf_counter()
    for run in runs:
        for name, value in run.best_parameters.items():
            model.parameters[name][run.place] = value


def _train_step(
    model: PromptClassifier,
    data: TokenisedData,
    active: Sequence[_Run],
    optimizer: StackedOptimizer,
    progress: _Progress,
    passes: Passes,
    work: Work,
) -> None:
    """Take one optimizer step in every active run."""
    indices = np.stack([next(run.batches) for run in active])  # [R, B]
    places = [run.place for run in active]
    in_prompt, in_head = model.draw_masks(places, indices.shape[1])

    def differentiate(part: Pass) -> tuple[Tensor, Parameters]:
        """Return the examples' part of each run's loss [R], and its gradients."""
        chosen, here = indices[part.runs, part.examples], places[part.runs]
        token_ids = data.pad(chosen.ravel(), part.width).unflatten(0, chosen.shape).to(model.device)  # [R, B, T]
        labels = torch.from_numpy(data.labels[chosen]).to(model.device)  # [R, B]
        parameters = {name: value[here].requires_grad_() for name, value in model.parameters.items()}
        prompts = model.embed_prompts(parameters, [mask[part.runs, part.examples] for mask in in_prompt])
        masks = [mask[part.runs, part.examples] for mask in in_head]
        logits = model.classify(parameters, prompts, token_ids, data.lengths[chosen].ravel(), masks)  # [R, B, C]
        loss = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        loss = loss.unflatten(0, labels.shape).sum(1) / indices.shape[1]  # [R], of these examples
        gradients = torch.autograd.grad(loss.sum(), list(parameters.values()))
        return loss.detach(), dict(zip(parameters, gradients, strict=True))

    done = passes.run(data.lengths[indices], differentiate)
    gradients = {name: torch.zeros_like(value) for name, value in model.parameters.items()}
    losses = torch.zeros(len(model.configs), device=model.device)
    for part, (loss, found) in done:  # in the passes' order, whichever ended first
        here = places[part.runs]
        losses[here] += loss
        for name, gradient in found.items():
            gradients[name][here] += gradient
    norms = optimizer.step(gradients, progress.step + 1, progress.is_sound(losses))
    progress.record(losses, norms)
    for part, _ in done:
        work.count(model.backbone, model.configs[0], data.lengths[indices[part.runs, part.examples]])


def _catch_up(active: Sequence[_Run], progress: _Progress) -> None:
    """Bring the host up to date: mark what failed since the last report, and take the mean losses."""
    failed_steps, losses, norms, means = progress.read()
    for run in active:
        if failed_step := int(failed_steps[run.place]):
            run.state, run.selection_accuracy, run.num_steps = "failed", 0.0, failed_step - 1
            run.error = f"step {failed_step}: loss {losses[run.place]:g}, gradient norm {norms[run.place]:g}"
        else:
            run.num_steps = progress.step
        run.train_loss = means[run.place]


def _score(
    model: PromptClassifier, data: TokenisedData, active: Sequence[_Run], selection_languages: Sequence[str] | None
) -> None:
    """Evaluate the active runs and keep the checkpoint of those that are better than before."""
    wanted = {language for run in active for language in run.source_languages} | set(selection_languages or ())
    languages = [language for language in data.languages if language in wanted]
    scores = evaluate(model, data, "validation", languages, places=[run.place for run in active])
    for run, run_scores in zip(active, scores, strict=True):
        run.validation_accuracy = mean_accuracy(run_scores, run.source_languages)
        run.evaluations_since_best += 1
        if run.validation_accuracy > run.best_validation_accuracy:
            run.best_validation_accuracy = run.validation_accuracy
            run.best_step = run.num_steps
            run.selection_accuracy = mean_accuracy(run_scores, selection_languages or run.source_languages)
            run.best_parameters = {name: value.clone() for name, value in model.run_parameters(run.place).items()}
            run.validation_scores = tuple(run_scores)
            run.evaluations_since_best = 0


def _decide(run: _Run) -> None:
    """End the run where its steps are done, or where it has not become better for long enough."""
    may_stop = run.num_steps >= run.config.early_stopping_after * run.config.max_steps
    if run.num_steps == run.config.max_steps or (may_stop and run.evaluations_since_best >= run.config.patience):
        run.state = "complete"


def _report(run: _Run) -> RunReport:
    return RunReport(
        run_id=run.config.run_id,
        seed=run.config.seed,
        state=run.state,
        error=run.error,
        num_steps=run.num_steps,
        train_loss=run.train_loss,
        validation_accuracy=run.validation_accuracy,
        best_step=run.best_step,
        best_validation_accuracy=max(run.best_validation_accuracy, 0.0),
        selection_accuracy=run.selection_accuracy,
        validation_scores=run.validation_scores,
    )


def _start_run(place: int, config: RunConfig, data: TokenisedData) -> _Run:
    source_languages = data.resolve(config.source_set)
    indices = data.select(source_languages, "train")
    return _Run(
        place=place,
        config=config,
        source_languages=source_languages,
        num_examples=len(indices),
        batches=draw_batches(indices, data.lengths[indices], config),
    )


def draw_batches(indices: np.ndarray, lengths: np.ndarray, config: RunConfig) -> Iterator[np.ndarray]:
    """Yield batches of example places [B] for ever, epoch after epoch.

    Of an epoch's examples, as many as do not fill a batch (drawn anew each time) are left out; every other one is seen
    once. B is `batch_size`, or all examples where there are fewer.
    """
    generator = np.random.default_rng(stream_seed(config.seed, "order"))
    batch_size = min(config.batch_size, len(indices))
    num_batches = len(indices) // batch_size
    epoch = 0
    while True:
        kept = generator.permutation(len(indices))[: num_batches * batch_size]
        noise = generator.uniform(1 - LENGTH_NOISE, 1 + LENGTH_NOISE, len(kept))
        by_length = kept[np.argsort(lengths[kept] * noise, kind="stable")].reshape(num_batches, batch_size)
        # drawn from the epoch alone: runs of a pack visit short and long batches together
        for place in np.random.default_rng(epoch).permutation(num_batches):
            yield indices[by_length[place]]
        epoch += 1
