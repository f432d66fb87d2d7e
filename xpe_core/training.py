"""Training a pack: one forward and backward pass of the backbone for all runs, everything else per run.

A run's data order is drawn from its own seed. All runs of a pack visit short and long batches in the same order, so
that their batches have nearly the same length and little of the shared pass is padding.

R active runs, B examples of each, T text tokens, C classes.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LRScheduler
from transformers import optimization

from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.evaluation import LanguageScore, evaluate, mean_accuracy
from xpe_core.model import PromptAndHead, PromptClassifier, stream_seed
from xpe_core.tokens import TokenisedData

LENGTH_NOISE = 0.1
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
    """Mean over the steps since the last report, in nats."""
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
    num_tokens: int
    """Text tokens trained on so far by all runs, padding and prompts not counted."""
    train_seconds: float
    """Spent in training steps so far, evaluations not counted."""

    @property
    def selection_accuracy(self) -> float:
        """Mean over the pack's runs, failed ones as 0: what a scheduler and a sampler decide on."""
        return sum(run.selection_accuracy for run in self.runs) / len(self.runs)


@dataclass
class _Run:
    """What changes in one run while it trains."""

    place: int
    config: RunConfig
    module: PromptAndHead
    source_languages: tuple[str, ...]
    num_examples: int
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    batches: Iterator[np.ndarray]
    state: str = "training"
    error: str | None = None
    num_steps: int = 0
    losses: list[float] = field(default_factory=list)
    validation_accuracy: float = 0.0
    best_step: int = 0
    best_validation_accuracy: float = -1.0
    selection_accuracy: float = 0.0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    validation_scores: tuple[LanguageScore, ...] = ()
    evaluations_since_best: int = 0


def train(
    model: PromptClassifier, data: TokenisedData, selection_languages: Sequence[str] | None = None
) -> Iterator[Report]:
    """Train the pack, yielding a report at every evaluation; afterwards every run holds its best checkpoint.

    `selection_languages` are what `selection_accuracy` averages over (default: each run's own source languages). A run
    whose loss or gradient is not finite is marked failed with its step, and the others go on.
    """
    runs = [_build_run(place, module, data) for place, module in enumerate(model.runs)]
    first = runs[0].config
    if len({run.num_examples for run in runs}) > 1:
        raise InputError("runs of one pack must train on equally many examples, since their epochs go together")
    eval_steps = first.eval_steps or max(1, runs[0].num_examples // first.batch_size)
    num_tokens, train_seconds = 0, 0.0
    for step in range(1, first.max_steps + 1):
        active = [run for run in runs if run.state == "training"]
        started = time.perf_counter()
        num_tokens += _train_step(model, data, active)
        train_seconds += time.perf_counter() - started
        active = [run for run in active if run.state == "training"]
        if active and step % eval_steps != 0 and step != first.max_steps:
            continue
        if active:
            _score(model, data, active, selection_languages)
        for run in active:
            _decide(run)
        yield Report(step, tuple(_report(run) for run in runs), num_tokens, train_seconds)
        if not any(run.state == "training" for run in runs):
            break
    for run in runs:
        if run.best_weights:
            run.module.load_state_dict(run.best_weights)


def _train_step(model: PromptClassifier, data: TokenisedData, active: Sequence[_Run]) -> int:
    """Take one optimizer step in every active run and return how many text tokens it saw."""
    model.train()
    indices = [next(run.batches) for run in active]
    longest = max(int(data.lengths[batch].max()) for batch in indices)
    padded = [data.pad(batch, longest) for batch in indices]
    token_ids = torch.stack([ids for ids, _ in padded]).to(model.device)  # [R, B, T]
    mask = torch.stack([mask for _, mask in padded]).to(model.device)  # [R, B, T]
    labels = torch.from_numpy(data.labels[np.stack(indices)]).to(model.device)  # [R, B]

    logits = model(token_ids, mask, [run.place for run in active])  # [R, B, C]
    losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    losses = losses.view(labels.shape).mean(1)  # [R]
    losses.sum().backward()
    norms = [nn.utils.clip_grad_norm_(list(run.module.parameters()), run.config.max_grad_norm) for run in active]
    outcomes = torch.stack([losses.detach(), torch.stack(norms)]).tolist()  # the step's one wait for the device
    for run, loss, norm in zip(active, *outcomes, strict=True):
        if not (math.isfinite(loss) and math.isfinite(norm)):
            run.state, run.selection_accuracy = "failed", 0.0
            run.error = f"step {run.num_steps + 1}: loss {loss:g}, gradient norm {norm:g}"
        else:
            run.optimizer.step()
            run.schedule.step()
            run.num_steps += 1
            run.losses.append(loss)
        run.optimizer.zero_grad()
    return int(sum(data.lengths[batch].sum() for batch in indices))


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
            run.best_weights = {name: value.detach().clone() for name, value in run.module.state_dict().items()}
            run.validation_scores = tuple(run_scores)
            run.evaluations_since_best = 0


def _decide(run: _Run) -> None:
    """End the run where its steps are done, or where it has not become better for long enough."""
    may_stop = run.num_steps >= run.config.early_stopping_after * run.config.max_steps
    if run.num_steps == run.config.max_steps or (may_stop and run.evaluations_since_best >= run.config.patience):
        run.state = "complete"


def _report(run: _Run) -> RunReport:
    train_loss = sum(run.losses) / len(run.losses) if run.losses else math.nan
    run.losses.clear()
    return RunReport(
        run_id=run.config.run_id,
        seed=run.config.seed,
        state=run.state,
        error=run.error,
        num_steps=run.num_steps,
        train_loss=train_loss,
        validation_accuracy=run.validation_accuracy,
        best_step=run.best_step,
        best_validation_accuracy=max(run.best_validation_accuracy, 0.0),
        selection_accuracy=run.selection_accuracy,
        validation_scores=run.validation_scores,
    )


def _build_run(place: int, module: PromptAndHead, data: TokenisedData) -> _Run:
    config = module.config
    source_languages = data.resolve(config.source_set)
    indices = data.select(source_languages, "train")
    optimizer = build_optimizer(module)
    return _Run(
        place=place,
        config=config,
        module=module,
        source_languages=source_languages,
        num_examples=len(indices),
        optimizer=optimizer,
        schedule=build_schedule(optimizer, config),
        batches=draw_batches(indices, data.lengths[indices], config),
    )


def build_optimizer(module: PromptAndHead) -> torch.optim.Optimizer:
    """Return the run's optimizer, with a group each for the virtual tokens, the encoder's input, weights and biases.

    Biases do not decay, as under transformers' Trainer, which the recipe was run with.
    """
    config = module.config
    soft: list[nn.Parameter] = []
    encoded: list[nn.Parameter] = []
    weights: list[nn.Parameter] = []
    biases: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if name == "prompt.soft.embedding.weight" or (name == "prompt.embedding.weight" and config.method == "spt"):
            soft.append(parameter)
        elif name in ("prompt.embedding.weight", "prompt.encoded.embedding.weight"):
            encoded.append(parameter)
        else:
            (biases if name.endswith(".bias") else weights).append(parameter)
    groups = [
        {"params": soft, "lr": config.prompt_learning_rate, "weight_decay": config.prompt_weight_decay},
        {
            "params": encoded,
            "lr": config.encoder_prompt_learning_rate,
            "weight_decay": config.encoder_prompt_weight_decay,
        },
        {"params": weights, "lr": config.learning_rate, "weight_decay": config.weight_decay},
        {"params": biases, "lr": config.learning_rate, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups)
    return optimization.Adafactor(groups, lr=config.learning_rate, scale_parameter=False, relative_step=False)


def build_schedule(optimizer: torch.optim.Optimizer, config: RunConfig) -> LRScheduler:
    """Return the schedule that scales all of the run's rates."""
    warmup, total = math.ceil(config.warmup_ratio * config.max_steps), config.max_steps
    if config.schedule == "cosine_with_restarts":
        return optimization.get_cosine_with_hard_restarts_schedule_with_warmup(
            optimizer, warmup, total, num_cycles=config.num_cycles
        )
    if config.schedule == "constant":
        return optimization.get_constant_schedule_with_warmup(optimizer, warmup)
    falling = {
        "cosine": optimization.get_cosine_schedule_with_warmup,
        "linear": optimization.get_linear_schedule_with_warmup,
    }
    return falling[config.schedule](optimizer, warmup, total)


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
