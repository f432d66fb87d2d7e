"""The Tune trainable: the runs of one configuration in one pack.

An actor outlives its trials (`reuse_actors`): backbone and data are loaded once a process and cached there, and every
trial starts from the seeds of its own runs, so nothing of one trial runs on into the next. What a trial has to say
travels back in its reports; a worker writes no file.
"""

import json
import math
import os
import platform
import resource
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import ray
import torch
from ray import tune

from sweep.cluster.versions import NodeMismatch, check_versions, code_version, package_versions
from sweep.driver.messages import Assignment, Provenance, RunResult, RunScores, TrialReport, Wire
from sweep.records.states import State
from xpe_core.adapters import take_adapter
from xpe_core.adapters.safetensors_file import to_bytes
from xpe_core.backbones.backbone import Backbone, load_backbone
from xpe_core.backbones.files import fingerprint_files
from xpe_core.config import RunConfig
from xpe_core.data.tokens import TokenisedData, load_tokens
from xpe_core.errors import InputError
from xpe_core.locations import use_locations
from xpe_core.pack import Pack
from xpe_core.training.evaluation import evaluate
from xpe_core.training.meter import measure_peak
from xpe_core.training.pack_state import Report
from xpe_core.training.training import Training

TICK_SECONDS = 2.0
"""Time after which a worker says where it is, also between evaluations."""


class PackTrainable(tune.Trainable):
    """Trains a pack step by step and, when it has not been stopped before, tests it on the target languages."""

    def setup(self, config: Wire) -> None:
        """Take what the driver says of the trial and to all trials alike."""
        self._assignment = Assignment.from_wire(config)
        self._training: Training | None = None
        self._trained: TrialReport | None = None
        self._restored_step = 0
        self._saved = time.monotonic()
        torch.set_num_threads(self._assignment.settings.num_threads)

    def reset_config(self, new_config: Wire) -> bool:
        """Start another trial in the same process."""
        self.setup(new_config)
        return True

    def step(self) -> Wire:
        """Train until the next evaluation and report it, or test what is trained: that report is `finished`.

        After TICK_SECONDS between two evaluations it says no more than the step.
        """
        training = self._training or self._start()
        if self._trained is not None:
            return self._test(training, self._trained).to_wire()
        report = self._train(training)
        if report.trained:
            self._trained = report
        if time.monotonic() - self._saved >= self._assignment.settings.checkpoint_seconds:
            report = replace(report, checkpoint=self.checkpoint())
        if report.trained:
            training.keep_best()
        return report.to_wire()

    def checkpoint(self) -> bytes | None:
        """Return what another worker needs to go on from here; None where nothing has been built yet."""
        if self._training is None:
            return None
        self._saved = time.monotonic()
        return self._training.save()

    def cleanup(self) -> None:
        """Let go of the pack; the backbone stays for the next trial."""
        self._training = None

    def _start(self) -> Training:
        """Build the pack; backbone and data come out of this process's caches where another trial has loaded them."""
        settings, checkpoint = self._assignment.settings, self._assignment.order.checkpoint
        configs, data, backbone = load_inputs(self._assignment)
        model = Pack(backbone, configs, len(data.label_names))
        self._training = Training(model, data, list(settings.selection_languages) or None)
        if checkpoint is not None:
            self._training.restore(ray.get(checkpoint))
            self._restored_step = self._training.step
        return self._training

    def _train(self, training: Training) -> TrialReport:
        """Train until the next report, and return it."""
        report = training.report() if training.ended else training.advance(TICK_SECONDS)
        tick = TrialReport(
            step=training.step,
            restored_step=self._restored_step,
            node=ray.get_runtime_context().get_node_id(),
            pid=os.getpid(),
            tick=report is None,
            trained=training.ended,
        )
        if report is None:
            return tick
        model = training.model
        return replace(
            tick,
            selection_accuracy=report.selection_accuracy,
            runs=tuple(_describe_run(report, place, model) for place in range(len(report.runs))),
            evaluations=tuple(RunScores(run.run_id, "validation", run.validation_scores) for run in report.runs),
            provenance=find_provenance(model.backbone, model.device, training.data),
        )

    def _test(self, training: Training, trained: TrialReport) -> TrialReport:
        """Return the last report, with the complete runs' scores on the target languages and their adapters."""
        settings, is_tested = self._assignment.settings, self._assignment.order.tested
        complete = [place for place, run in enumerate(trained.runs) if run.state == State.COMPLETE]
        tested: tuple[RunScores, ...] = ()
        if complete and is_tested:
            languages = list(settings.target_languages)
            scores = evaluate(training.model, training.data, "test", languages, settings.max_examples, complete)
            tested = tuple(
                RunScores(trained.runs[place].run_id, "test", tuple(run_scores))
                for place, run_scores in zip(complete, scores, strict=True)
            )
        kept = complete if settings.keeps_adapters and is_tested else []
        return replace(
            trained,
            evaluations=(*trained.evaluations, *tested),
            adapters={trained.runs[place].run_id: _take_adapter(training, trained, place) for place in kept},
            finished=True,
            done=True,
        )


def load_inputs(assignment: Assignment) -> tuple[list[RunConfig], TokenisedData, Backbone]:
    """Return a trial's configurations, one a run, and data and backbone as this process caches them.

    NodeMismatch where this node has other packages, another backbone or other data than the driver; InputError where a
    run is to be adapted to a language, which no trial can do.
    """
    settings, order = assignment.settings, assignment.order
    check_versions(platform.node(), package_versions(), settings.versions)
    configs = [RunConfig(**order.config).with_seed(run.seed) for run in order.runs]
    if adapted := [run.adapted_to for run in order.runs if run.adapted_to is not None]:
        raise InputError(f"adapted_to={adapted[0]}: a trial trains on source languages alone")
    first = configs[0]
    use_locations(settings.places)
    sent = settings.data.get(first.data.max_length)
    if sent is None:
        data = load_tokens(first.source, first.backbone, first.data.max_length, first.task)
    else:
        data = ray.get(sent)
    found = {"backbone": fingerprint_files(first.backbone), "data": data.fingerprint}
    if first.data.max_length == settings.max_length and found != settings.fingerprints:
        raise NodeMismatch(f"node {platform.node()} has another backbone or data set than the driver: {found}")
    if settings.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.set_per_process_memory_fraction(min(settings.gpus, 1.0))  # Ray does not see to it
    return configs, data, load_backbone(first.backbone, settings.device)


def _describe_run(report: Report, place: int, model: Pack) -> RunResult:
    run = report.runs[place]
    return RunResult(
        run_id=run.run_id,
        state=State(run.state),
        error=run.error,
        num_steps=run.num_steps,
        train_loss=run.train_loss if math.isfinite(run.train_loss) else None,
        validation_accuracy=run.validation_accuracy,
        best_step=run.best_step,
        best_validation_accuracy=run.best_validation_accuracy,
        selection_accuracy=run.selection_accuracy,
        train_seconds=report.work.seconds,
        tokens_per_second=report.work.tokens_per_second,
        padding_share=report.work.padding_share,
        peak_share=report.work.peak_share(measure_peak(model.backbone, model.configs[0].precision)),
        num_runs_in_pack=len(report.runs),
        num_trained_parameters=sum(value.numel() for value in model.run_parameters(place).values()),
        peak_memory_bytes=measure_memory_bytes(model.device),
    )


def _take_adapter(training: Training, trained: TrialReport, place: int) -> bytes:
    """Return the file of a complete run's trained parts."""
    run, provenance = trained.runs[place], trained.provenance
    assert provenance is not None
    facts = {
        "run_id": run.run_id,
        "num_steps": run.num_steps,
        "best_step": run.best_step,
        "selection_accuracy": run.selection_accuracy,
        "validation_accuracy": run.best_validation_accuracy,
        "code_version": provenance.code_version,
        "data_fingerprint": provenance.data_fingerprint,
    }
    return to_bytes(take_adapter(training.model, place, training.data.label_names, facts))


def measure_memory_bytes(device: torch.device) -> int:
    """Return the most memory that was in use: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # of the process so far: an actor's earlier trials count in; macOS counts in bytes, Linux in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def find_provenance(backbone: Backbone, device: torch.device, data: TokenisedData) -> Provenance:
    """Return where this process's numbers come from."""
    return Provenance(
        code_version=code_version(),
        package_versions=_list_packages(),
        backbone_fingerprint=fingerprint_files(backbone.name),
        host=platform.node(),
        device=torch.cuda.get_device_name() if device.type == "cuda" else _processor(),
        data_fingerprint=data.fingerprint,
        num_rows_skipped=data.num_rows_skipped,
    )


@cache
def _list_packages() -> str:
    return json.dumps(package_versions())


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({torch.get_num_threads()} threads)" if names else platform.machine()
