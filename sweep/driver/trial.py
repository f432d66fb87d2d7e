"""The Tune trainable: one configuration, all its seeds in one pack.

An actor outlives its trials (`reuse_actors`): backbone and data are loaded once a process and cached there, and every
trial starts from its own seeds, so nothing of one trial runs on into the next. What a trial has to say travels back in
its reports; a worker writes no file.
"""

import json
import platform
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from sweep.cluster.versions import NodeMismatch, check_versions, code_version, package_versions
from xpe_core.adapters import take_adapter
from xpe_core.adapters.safetensors_file import to_bytes
from xpe_core.backbones.backbone import Backbone, load_backbone
from xpe_core.backbones.files import fingerprint_checkpoint
from xpe_core.config import RunConfig
from xpe_core.data.tokens import TokenisedData, load_tokens
from xpe_core.locations import use_locations
from xpe_core.pack import PromptClassifier
from xpe_core.tasks.evaluation import LanguageScore, evaluate
from xpe_core.training.meter import measure_peak
from xpe_core.training.pack_state import Report
from xpe_core.training.training import Training

METRIC = "selection_accuracy"
TICK_SECONDS = 2.0
"""Time after which a worker says where it is, also between evaluations."""


class PackTrainable(tune.Trainable):
    """Trains a pack step by step and, when it has not been stopped before, tests it on the target languages."""

    def setup(self, config: dict[str, Any]) -> None:
        """Take the trial's `config`, `seeds` and last `checkpoint`, and what the driver gives to all trials alike."""
        self._training: Training | None = None
        self._trained: dict[str, Any] | None = None
        self._restored_step = 0
        self._saved = time.monotonic()
        torch.set_num_threads(config["num_threads"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in the same process."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train until the next evaluation and report it, or test what is trained: that report is `finished`.

        After TICK_SECONDS between two evaluations it says no more than the step.
        """
        training = self._training or self._start()
        if self._trained is not None:
            tested = {"evaluations": self._test(training), "adapters": self._take_adapters(training)}
            return {**self._trained, **tested, "finished": True, "done": True}
        report = training.report() if training.ended else training.advance(TICK_SECONDS)
        result = {
            "step": training.step,
            "restored_step": self._restored_step,
            "node": ray.get_runtime_context().get_node_id(),
            METRIC: 0.0,
            "tick": report is None,
            "trained": training.ended,
            "finished": False,
            "done": False,
        }
        if report is not None:
            model = training.model
            result |= {
                METRIC: report.selection_accuracy,
                "runs": [_describe_run(report, place, model) for place in range(len(report.runs))],
                "evaluations": _validation_rows(report),
                "provenance": {
                    **find_provenance(model.backbone.name, model.device.type),
                    "data_fingerprint": training.data.fingerprint,
                    "num_rows_skipped": training.data.num_rows_skipped,
                },
            }
        if training.ended:
            self._trained = dict(result)
        if time.monotonic() - self._saved >= self.config["checkpoint_seconds"]:
            result["checkpoint"] = self.checkpoint()
        if training.ended:
            training.keep_best()
        return result

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
        configs, data, backbone = load_inputs(self.config)
        model = PromptClassifier(backbone, configs, len(data.label_names))
        self._training = Training(model, data, self.config["selection_languages"] or None)
        if self.config["checkpoint"] is not None:
            self._training.restore(ray.get(self.config["checkpoint"]))
            self._restored_step = self._training.step
        return self._training

    def _test(self, training: Training) -> list[dict[str, Any]]:
        """Return the rows of the last report and those of the complete runs on the target languages."""
        assert self._trained is not None
        rows, runs = self._trained["evaluations"], self._trained["runs"]
        places = [place for place, run in enumerate(runs) if run["state"] == "complete"]
        if not places:
            return rows
        languages, max_examples = self.config["target_languages"], self.config["max_examples"]
        scores = evaluate(training.model, training.data, "test", languages, max_examples, places)
        return rows + [
            row
            for place, run_scores in zip(places, scores, strict=True)
            for row in make_rows(runs[place]["run_id"], "test", run_scores)
        ]

    def _take_adapters(self, training: Training) -> dict[str, bytes]:
        """Return the files of the complete runs' prompts and heads by run_id, where they are kept."""
        assert self._trained is not None
        if not self.config["keeps_adapters"]:
            return {}
        provenance, files = self._trained["provenance"], {}
        for place, run in enumerate(self._trained["runs"]):
            if run["state"] == "complete":
                facts = {name: run[name] for name in ("run_id", "num_steps", "best_step", "selection_accuracy")}
                facts |= {"validation_accuracy": run["best_validation_accuracy"]}
                facts |= {name: provenance[name] for name in ("code_version", "data_fingerprint")}
                adapter = take_adapter(training.model, place, training.data.label_names, facts)
                files[run["run_id"]] = to_bytes(adapter)
        return files


def load_inputs(constants: Mapping[str, Any]) -> tuple[list[RunConfig], TokenisedData, Backbone]:
    """Return a trial's configurations, one a seed, and data and backbone as this process caches them.

    `constants` are what the driver gives to a trial. NodeMismatch where this node has other packages, another backbone
    or other data than the driver.
    """
    configs = [RunConfig(**constants["config"]).with_seed(seed) for seed in constants["seeds"]]
    first = configs[0]
    check_versions(platform.node(), package_versions(), constants["versions"])
    use_locations(constants["places"])
    sent = constants["data"].get(first.max_length)
    data = load_tokens(first.source, first.backbone, first.max_length) if sent is None else ray.get(sent)
    found = {"backbone": fingerprint_checkpoint(first.backbone), "data": data.fingerprint}
    if first.max_length == constants["max_length"] and found != constants["fingerprints"]:
        raise NodeMismatch(f"node {platform.node()} has another backbone or data set than the driver: {found}")
    if constants["device"] == "cuda":
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.set_per_process_memory_fraction(min(constants["gpus"], 1.0))  # Ray does not see to it
    return configs, data, load_backbone(first.backbone, constants["device"])


def _describe_run(report: Report, place: int, model: PromptClassifier) -> dict[str, Any]:
    run = asdict(report.runs[place])
    del run["validation_scores"]
    return {
        **run,
        "train_seconds": report.work.seconds,
        "tokens_per_second": report.work.tokens_per_second,
        "padding_share": report.work.padding_share,
        "peak_share": report.work.peak_share(measure_peak(model.backbone, model.configs[0].precision)),
        "num_runs_in_pack": len(report.runs),
        "num_trained_parameters": sum(value.numel() for value in model.run_parameters(place).values()),
        "peak_memory_bytes": measure_memory_bytes(model.device),
    }


def _validation_rows(report: Report) -> list[dict[str, Any]]:
    return [row for run in report.runs for row in make_rows(run.run_id, "validation", run.validation_scores)]


def make_rows(run_id: str, split: str, scores: Sequence[LanguageScore]) -> list[dict[str, Any]]:
    """Return a run's rows of the table `evaluations`."""
    return [{"run_id": run_id, "split": split, **asdict(score)} for score in scores]


def measure_memory_bytes(device: torch.device) -> int:
    """Return the most memory that was in use: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # of the process so far: an actor's earlier trials count in; macOS counts in bytes, Linux in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@cache
def find_provenance(backbone: str, device: str) -> dict[str, str]:
    """Return where this process's numbers come from."""
    return {
        "code_version": code_version(),
        "package_versions": json.dumps(package_versions()),
        "backbone_fingerprint": fingerprint_checkpoint(backbone),
        "host": platform.node(),
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({torch.get_num_threads()} threads)" if names else platform.machine()
