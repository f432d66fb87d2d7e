"""Training a pack: one forward and backward pass of the backbone for all runs, one update of all their parameters.

A run's data order is drawn from its own seed. All runs of a pack visit short and long batches in the same order, so
that their batches have nearly the same length and little of the shared pass is padding. A pack that is too large for
one pass is taken in several; the results are the same. A training that is saved and restored, in the same process or in
another, goes on as if nothing had happened.

R active runs, B examples of each, T text tokens, C classes.
"""

import json
import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import groupby, islice

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from xpe_core.config import RunConfig
from xpe_core.data.few import draw_train_rows
from xpe_core.data.tokens import TokenisedData
from xpe_core.errors import InputError
from xpe_core.pack import Pack
from xpe_core.stacked import Parameters, add_prefix, find_places, take_prefix, take_runs
from xpe_core.tasks.scores import mean_score
from xpe_core.training.evaluation import evaluate
from xpe_core.training.fitted import fit_readouts
from xpe_core.training.further import Further, place_parameters
from xpe_core.training.meter import Work
from xpe_core.training.optimizers import StackedOptimizer
from xpe_core.training.order import draw_batches, list_visited
from xpe_core.training.outputs import Outputs
from xpe_core.training.pack_state import PackProgress, Report, RunProgress
from xpe_core.training.passes import Pass, Passes, cut_nothing
from xpe_core.training.whole_optimizer import WholeOptimizer


def train(model: Pack, data: TokenisedData, selection_languages: Sequence[str] | None = None) -> Iterator[Report]:
    """Train the pack, yielding a report at every evaluation; afterwards every run holds its best checkpoint.

    Arguments and errors are those of `Training`.
    """
    training = Training(model, data, selection_languages)
    while not training.ended:
        report = training.advance()
        assert report is not None
        yield report
    training.keep_best()


class Training:
    """A pack's training, that can be left at any step and taken up again."""

    def __init__(
        self,
        model: Pack,
        data: TokenisedData,
        selection_languages: Sequence[str] | None = None,
        further: Sequence[Further] | None = None,
    ) -> None:
        """Stand before the first step; InputError where the runs have no epochs in common.

        `selection_languages` are what `selection_accuracy` averages over (default: each run's own source languages). A
        run whose loss or gradient is not finite is marked failed with its step, and the others go on. With `further`,
        one a run, the runs are trained on a language each, and start where that says.
        """
        self.model, self.data = model, data
        self._selection_languages = selection_languages
        if further is not None:
            place_parameters(model, further)
        self._runs = [
            _start_run(index, config, data, further[index] if further else None)
            for index, config in enumerate(model.configs)
        ]
        self._config = model.configs[0].training
        if len({len(run.rows) for run in self._runs}) > 1:
            raise InputError("runs of one pack must train on equally many examples, since their epochs go together")
        once_an_epoch = max(1, len(self._runs[0].rows) // self._config.batch_size)
        self._eval_steps = self._config.eval_steps or once_an_epoch
        optimizer = WholeOptimizer if model.owns_weights else StackedOptimizer
        self._optimizer = optimizer(model.parameters, model.configs)
        self._progress, self._work = PackProgress(len(self._runs), model.device), Work()
        self._outputs = Outputs(model, data)
        if model.readout.trains:
            visited = [list_visited(run.rows, data.lengths[run.rows], run.config) for run in self._runs]
            self._outputs.prepare(np.concatenate(visited), in_training=True)
        else:
            fit_readouts(model, data, self._runs)
        self._passes = Passes(model.device, model.num_tokens, model.owns_weights)

    @property
    def step(self) -> int:
        """Steps taken so far."""
        return self._progress.step

    @property
    def work(self) -> Work:
        """What training has cost so far, all runs together."""
        return replace(self._work)

    @property
    def ended(self) -> bool:
        """Whether no run has steps left to take."""
        return not any(run.state == "training" for run in self._runs)

    def advance(self, seconds: float = math.inf) -> Report | None:
        """Train until the next evaluation and return its report, or None once so many seconds have gone by before.

        What takes no step is evaluated once.
        """
        started = time.perf_counter()
        while self.model.readout.trains:
            active = [run for run in self._runs if run.state == "training"]
            self._step(active)
            step = self._progress.step
            if step % self._eval_steps == 0 or step == self._config.max_steps:
                break
            if time.perf_counter() - started >= seconds:
                self._work.seconds += time.perf_counter() - started
                return None
        active = [run for run in self._runs if run.state == "training"]
        _catch_up(active, self._progress)  # waits for the device
        self._work.seconds += time.perf_counter() - started
        if sound := [run for run in active if run.state == "training"]:
            _score(self._outputs, self.model, self.data, sound, self._selection_languages)
        for run in sound:
            run.decide(has_steps=self.model.readout.trains)
        return self.report()

    def report(self) -> Report:
        """Return where the pack stood at its last evaluation."""
        return Report(self.step, tuple(run.report() for run in self._runs), self.work)

    def keep_best(self) -> None:
        """Give every run the parameters of its best checkpoint."""
        for run in self._runs:
            for name, value in run.best_parameters.items():
                self.model.parameters[name][run.index] = value

    def save(self) -> bytes:
        """Return all that `restore` needs, in safetensors' format: weights, optimizer, random numbers, progress."""
        state = {
            "run_ids": [run.run_id for run in self._runs],
            "step": self.step,
            "work": asdict(self._work),
            "runs": [run.facts() for run in self._runs],
        }
        tensors = {
            "state": torch.frombuffer(bytearray(json.dumps(state).encode()), dtype=torch.uint8),
            **add_prefix("parameters", self.model.parameters),
            **add_prefix("optimizer", self._optimizer.tensors()),
            **add_prefix("progress", self._progress.tensors()),
            **add_prefix("dropout", self.model.dropout_states()),
        }
        for run in self._runs:
            if run.best_step != self.step:  # else the best parameters are those above
                tensors |= add_prefix(f"best.{run.index}", run.best_parameters)
        return safetensors.torch.save({name: value.cpu().contiguous() for name, value in tensors.items()})

    def restore(self, saved: bytes) -> None:
        """Stand where the saved training stood; InputError where it trained other runs, or is damaged."""
        try:
            tensors = safetensors.torch.load(saved)
            state = json.loads(bytes(tensors["state"].tolist()))
        except (safetensors.SafetensorError, KeyError, ValueError) as error:
            raise InputError(f"checkpoint cannot be read ({error})") from None
        if state["run_ids"] != [run.run_id for run in self._runs]:
            raise InputError("checkpoint is of other runs")
        for name, value in take_prefix("parameters", tensors).items():
            self.model.parameters[name].copy_(value)
        self._optimizer.restore(take_prefix("optimizer", tensors))
        self._progress.restore(state["step"], take_prefix("progress", tensors))
        self.model.restore_dropout(take_prefix("dropout", tensors))
        self._work = Work(**state["work"])
        for run, facts in zip(self._runs, state["runs"], strict=True):
            run.restore(facts)
            best = take_prefix(f"best.{run.index}", tensors)
            if run.best_step == state["step"]:
                best = self.model.run_parameters(run.index)
            run.best_parameters = _copy_best(best, self.model)
            if run.state == "training":
                deque(islice(run.batches, state["step"]), maxlen=0)  # drawn before

    def _step(self, active: Sequence[RunProgress]) -> None:
        """Take one optimizer step in every active run."""
        model, data = self.model, self.data
        indices = np.stack([next(run.batches) for run in active])  # [R, B]
        runs = [run.index for run in active]
        dropout = model.draw_dropout(runs, indices.shape[1])

        def differentiate(part: Pass) -> tuple[Tensor, Parameters]:
            """Return the examples' part of each run's loss [R], and its gradients."""
            chosen, here = indices[part.runs, part.examples], runs[part.runs]
            masks = dropout.take(part.runs, part.examples)
            asked = data.asked(chosen, part.width).to(model.device)
            parameters = {name: value.requires_grad_() for name, value in take_runs(model.parameters, here).items()}
            insertion = model.insert(parameters, here, masks)
            outputs = self._outputs(parameters, insertion, chosen, part.width, masks)  # [R, B, ...]
            losses = model.readout.losses(outputs, asked).sum(1) / indices.shape[1]  # [R], of these examples
            found = torch.autograd.grad(losses.sum(), list(parameters.values()), allow_unused=model.owns_weights)
            gradients = zip(parameters, found, strict=True)
            return losses.detach(), {name: gradient for name, gradient in gradients if gradient is not None}

        cut = cut_nothing if self._outputs.trains_on_states else self._passes.run
        gradients: Parameters = {}
        losses = torch.zeros(len(model.configs), device=model.device)
        for part, (loss, found) in cut(data.lengths[indices], differentiate):  # in their order, whichever ended first
            here = runs[part.runs]
            losses[here] += loss
            _add(gradients, found, here, model)
            self._work.count(model, data.lengths[indices[part.runs, part.examples]], not self._outputs.trains_on_states)
        norms = self._optimizer.step(gradients, self._progress.step + 1, self._progress.is_sound(losses))
        self._progress.record(losses, norms)


def _add(sums: Parameters, found: Parameters, runs: Sequence[int], model: Pack) -> None:
    """Add gradients of some runs to the sums of all runs' [R, ...]."""
    places = find_places(runs)
    for name, gradient in found.items():
        if name not in sums and model.owns_weights and len(runs) == len(model.configs):
            sums[name] = gradient  # hundreds of megabytes, that need not be copied
            continue
        if name not in sums:
            sums[name] = torch.zeros_like(model.parameters[name])
        sums[name][places] += gradient


def _catch_up(active: Sequence[RunProgress], progress: PackProgress) -> None:
    """Bring the host up to date: mark what failed since the last report, and take the mean losses."""
    failed_steps, losses, norms, means = progress.read()
    for run in active:
        if failed_step := int(failed_steps[run.index]):
            run.state, run.selection_accuracy, run.num_steps = "failed", 0.0, failed_step - 1
            run.error = f"step {failed_step}: loss {losses[run.index]:g}, gradient norm {norms[run.index]:g}"
        else:
            run.num_steps = progress.step
        run.train_loss = means[run.index]


def _score(
    outputs: Outputs,
    model: Pack,
    data: TokenisedData,
    active: Sequence[RunProgress],
    selection_languages: Sequence[str] | None,
) -> None:
    """Evaluate the active runs and keep the checkpoint of those that are better than before."""
    for languages, runs in groupby(sorted(active, key=_languages_of), _languages_of):
        wanted = {*languages, *(selection_languages or ())}
        _score_alike(
            outputs, model, data, list(runs), [one for one in data.languages if one in wanted], selection_languages
        )


def _score_alike(
    outputs: Outputs,
    model: Pack,
    data: TokenisedData,
    active: Sequence[RunProgress],
    languages: Sequence[str],
    selection_languages: Sequence[str] | None,
) -> None:
    """Evaluate runs that train on the same languages."""
    max_examples = model.configs[0].training.max_validation_examples
    scores = evaluate(model, data, "validation", languages, max_examples, [run.index for run in active], outputs)
    for run, run_scores in zip(active, scores, strict=True):
        run.validation_accuracy = mean_score(run_scores, run.source_languages)
        run.evaluations_since_best += 1
        if run.validation_accuracy > run.best_validation_accuracy:
            run.best_validation_accuracy = run.validation_accuracy
            run.best_step = run.num_steps
            run.selection_accuracy = mean_score(run_scores, selection_languages or run.source_languages)
            run.best_parameters = _copy_best(model.run_parameters(run.index), model)
            run.validation_scores = tuple(run_scores)
            run.evaluations_since_best = 0


def _languages_of(run: RunProgress) -> tuple[str, ...]:
    return run.source_languages


def _copy_best(parameters: Parameters, model: Pack) -> Parameters:
    """Return one run's parameters, to be kept: where the pack is, or in the host's memory where they are many."""
    device = torch.device("cpu") if model.owns_weights else model.device
    return {name: value.to(device, copy=True) for name, value in parameters.items()}


def _start_run(index: int, config: RunConfig, data: TokenisedData, further: Further | None) -> RunProgress:
    source_languages = data.sources(config.data.source_set) if further is None else (further.language,)
    rows = draw_train_rows(data, source_languages, config.seed, config.data.max_train_examples)
    batches = draw_batches(rows, data.lengths[rows], config)
    return RunProgress(index, config, source_languages, rows, batches, further.run_id if further else config.run_id)
