"""Experiments whose results and adapters are made up: ten minutes of training are written in a second."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sweep.experiment.config import SweepConfig
from sweep.records.adapters import ADAPTERS, SUFFIX
from tests.making.experiments import CODES, make_rows, put, write_grid
from tests.making.runs import make_run, ratio_of
from xpe_core.adapters import Adapter, write_adapter
from xpe_core.config import RunConfig
from xpe_core.json_types import JsonObject

LABELS = ("sports", "travel|<b>", "health")
HIDDEN_SIZE = 32
ARMS = {"spt": {"encoder_ratio": 0.0}, "xpe": {"encoder_ratio": 1.0}, "dual_30": {"encoder_ratio": 0.3}}
HOST = "gpu-node-17"
PROVENANCE: dict[str, Any] = {
    "host": HOST,
    "device": "Some GPU 80GB",
    "code_version": "0.1.0 abcdef123456",
    "package_versions": json.dumps({"python": "3.11.9", "torch": "2.13.0"}),
    "num_trained_parameters": 1234,
    "validation_accuracy": 0.8125,
    "best_step": 20,
}


def make_accuracy(config: RunConfig, code: str) -> float:
    """Return an accuracy that differs by method, seed and language."""
    return 0.3 + 0.1 * CODES.index(code) + 0.05 * ratio_of(config) + 0.005 * (config.seed * (1 + len(code)) % 7)


def write_experiment(
    folder: Path,
    base: Mapping[str, Any],
    seeds: Sequence[int] = range(1, 11),
    accuracy: Callable[[RunConfig, str], float] = make_accuracy,
    kept: Callable[[int], bool] = lambda seed: True,
    arms: Mapping[str, Mapping[str, Any]] = ARMS,
) -> SweepConfig:
    """Write a grid of SPT, XPE and DUAL with its tables, and the adapters of the seeds that are kept."""
    sweep = write_grid(folder, arms, accuracy, seeds=seeds, base=dict(base))
    (folder / ADAPTERS).mkdir()
    for number, ((arm, _), config) in enumerate(zip(sweep.cells, sweep.corners, strict=True)):
        put(folder, *make_rows(config, number, seeds, accuracy, arm=arm, **PROVENANCE))
        for seed in filter(kept, seeds):
            run = config.with_seed(seed)
            write_adapter(make_adapter(run), folder / ADAPTERS / f"{run.run_id}{SUFFIX}")
    return sweep


def make_adapter(run: RunConfig) -> Adapter:
    """Return an untrained prompt and head of a run, with a fact that is nobody else's business."""
    with torch.random.fork_rng():
        torch.manual_seed(run.seed)
        parameters = make_run(run, HIDDEN_SIZE, len(LABELS)).state_dict()
    facts: JsonObject = {"run_id": run.run_id, "best_step": 20, "note": f"on {HOST} in /home/someone/models"}
    return Adapter(run, LABELS, parameters, "weights-of-the-backbone", facts)


def fail_run(folder: Path, config: RunConfig, seed: int, number: int, error: str) -> None:
    """Let one seed of a cell have failed, the others being as they were."""
    runs, rows = make_rows(config, number, [seed], make_accuracy)
    put(folder, [{**runs[0], **PROVENANCE, "state": "failed", "error": error}], [])
