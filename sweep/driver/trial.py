"""The Tune trainable: the runs of one configuration in one pack.

An actor outlives its trials (`reuse_actors`): backbone and data are loaded once a process and cached there, and every
trial starts from the seeds of its own runs, so nothing of one trial runs on into the next. What a trial has to say
travels back in its reports; a worker writes no file.
"""

import json
import math
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

import ray
import torch
from ray import tune

from sweep.cluster.versions import NodeMismatch, check_versions, code_version, package_versions
from sweep.driver.memory import begin_memory, measure_memory_bytes
from sweep.driver.messages import Assignment, Provenance, RunResult, RunScores, TrialOrder, TrialReport, Wire
from sweep.records.states import State
from xpe_core.adapters import take_adapter
from xpe_core.adapters.safetensors_file import from_bytes, to_bytes
from xpe_core.backbones.backbone import Backbone, forget_backbones, load_backbone
from xpe_core.backbones.files import fingerprint_files
from xpe_core.config import RunConfig
from xpe_core.data.tokens import TokenisedData, load_tokens
from xpe_core.errors import InputError
from xpe_core.json_types import JsonObject
from xpe_core.locations import use_locations
from xpe_core.pack import Pack, count_trained_parameters
from xpe_core.training.evaluation import evaluate
from xpe_core.training.further import Further
from xpe_core.training.meter import measure_peak
from xpe_core.training.pack_state import Report
from xpe_core.training.training import Training

SAVING_PAUSE = 20.0
"""Times the seconds that a checkpoint took that must go by before the next one: some are of gigabytes."""
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
        self._saved, self._saving_seconds = time.monotonic(), 0.0
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
        pause = max(self._assignment.settings.checkpoint_seconds, SAVING_PAUSE * self._saving_seconds)
        if time.monotonic() - self._saved >= pause:
            report = replace(report, checkpoint=self.checkpoint())
        if report.trained:
            training.keep_best()
        return report.to_wire()

    def checkpoint(self) -> bytes | None:
        """Return what another worker needs to go on from here; None where nothing has been built yet."""
        if self._training is None:
            return None
        started = time.monotonic()
        saved = self._training.save()
        self._saved = time.monotonic()
        self._saving_seconds = self._saved - started
        return saved

    def cleanup(self) -> None:
        """Let go of the pack; the backbone stays for the next trial."""
        self._training = None

    def _start(self) -> Training:
        """Build the pack; backbone and data come out of this process's caches where another trial has loaded them."""
        checkpoint = self._assignment.order.checkpoint
        configs, data, backbone = load_inputs(self._assignment)
        model = Pack(backbone, configs, len(data.label_names))
        further = find_further(self._assignment.order)
        chosen_by = (
            list(self._assignment.panel.selection_languages) if further is None else []
        )  # else by its own target
        self._training = Training(model, data, chosen_by or None, further)
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
        tested: list[RunScores] = []
        for languages, places in self._tested_together(complete if is_tested else []):
            scores = evaluate(training.model, training.data, "test", languages, settings.max_examples, places)
            tested += [
                RunScores(trained.runs[place].run_id, "test", tuple(run_scores))
                for place, run_scores in zip(places, scores, strict=True)
            ]
        kept = complete if settings.keeps_adapters and is_tested else []
        return replace(
            trained,
            evaluations=(*trained.evaluations, *tested),
            adapters={trained.runs[place].run_id: self._take_adapter(training, trained, place) for place in kept},
            finished=True,
            done=True,
        )

    def _tested_together(self, places: Sequence[int]) -> list[tuple[list[str], list[int]]]:
        """Return the target languages of some runs with these runs: what is trained further is tested there alone."""
        every, runs = self._assignment.panel.target_languages, self._assignment.order.runs
        together: dict[tuple[str, ...], list[int]] = {}
        for place in places:
            target = runs[place].adapted_to
            together.setdefault(every if target is None else (target,), []).append(place)
        return [(list(languages), alike) for languages, alike in together.items()]

    def _take_adapter(self, training: Training, trained: TrialReport, place: int) -> bytes:
        """Return the file of a complete run's trained parts."""
        run, key, provenance = trained.runs[place], self._assignment.order.runs[place], trained.provenance
        assert provenance is not None
        facts: JsonObject = {
            "run_id": run.run_id,
            "num_steps": run.num_steps,
            "best_step": run.best_step,
            "selection_accuracy": run.selection_accuracy,
            "validation_accuracy": run.best_validation_accuracy,
            "code_version": provenance.code_version,
            "data_fingerprint": provenance.data_fingerprint,
        }
        further = {"adapted_to": key.adapted_to, "parent_run_id": key.parent_run_id} if key.adapted_to else {}
        return to_bytes(take_adapter(training.model, place, training.data.label_names, {**facts, **further}))


def load_inputs(assignment: Assignment) -> tuple[list[RunConfig], TokenisedData, Backbone]:
    """Return a trial's configurations, one a run, and data and backbone as this process caches them.

    NodeMismatch where this node has other packages, another backbone or other data than the driver.
    """
    settings, order, panel = assignment.settings, assignment.order, assignment.panel
    check_versions(platform.node(), package_versions(), settings.versions)
    configs = [RunConfig(**order.config).with_seed(run.seed) for run in order.runs]
    first = configs[0]
    use_locations(settings.places)
    sent = panel.data.get(first.reading)
    if sent is None:
        data = load_tokens(first.source, first.backbone, first.data.max_length, first.task)
    else:
        data = ray.get(sent)
    found = {"backbone": fingerprint_files(first.backbone), "data": data.fingerprint}
    if first.reading == panel.reading and found != panel.fingerprints:
        raise NodeMismatch(f"node {platform.node()} has another backbone or data set than the driver: {found}")
    _make_room(first.backbone)
    begin_memory(settings.device)
    if settings.device == "cuda":
        torch.cuda.set_per_process_memory_fraction(min(settings.gpus, 1.0))  # Ray does not see to it
    return configs, data, load_backbone(first.backbone, settings.device)


@lru_cache(maxsize=1)
def _make_room(backbone: str) -> None:
    """Let go of the backbone of earlier trials where this one has another: a trial's memory is counted with its own.

    Of the last backbone's name the call is remembered, and does nothing.
    """
    forget_backbones()


def find_further(order: TrialOrder) -> list[Further] | None:
    """Return what each of a trial's runs is trained further on, and from where; None where it is a trial of sources."""
    if order.runs[0].adapted_to is None:
        return None
    config = RunConfig(**order.config)
    starts = {run_id: from_bytes(ray.get(content), run_id).parameters for run_id, content in order.parents.items()}
    further = []
    for run in order.runs:
        assert run.adapted_to is not None
        if run.parent_run_id is not None and run.parent_run_id not in starts and order.checkpoint is None:
            raise InputError(f"the adapter of run {run.parent_run_id}, which it starts from, is not there")
        further.append(Further(run.run_id(config), run.adapted_to, starts.get(run.parent_run_id or "")))
    return further


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
        num_trained_parameters=count_trained_parameters(model.configs[place], model.backbone.shape, model.num_classes),
        peak_memory_bytes=measure_memory_bytes(model.device),
    )


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
