"""Write what `test_golden` compares with; run it with the version that is to stay the reference, and no later one.

    python -m tests.golden.make

The experiments are made by its command line, the weights by `train_golden_pack`. All of it is small.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors.torch import save_file

from tests.golden.cases import CONFIGS, CONTINUED, HERE, METHODS, OLD, OPTIMIZERS, SMALL, STARTED, train_golden_pack


def main() -> None:
    """Write the ids, the weights, and the experiments with their tables."""
    from xpe_core.config import RunConfig

    ids = {name: [RunConfig(**values).run_id, RunConfig(**values).config_id] for name, values in CONFIGS.items()}
    (HERE / "ids.json").write_text(json.dumps(ids, indent=1) + "\n", encoding="utf-8")
    weights = {
        f"{method}.{optimizer}.{name}": value.contiguous()
        for method in METHODS
        for optimizer in OPTIMIZERS
        for name, value in train_golden_pack(method, optimizer).items()
    }
    save_file(weights, str(HERE / "weights.safetensors"))

    with tempfile.TemporaryDirectory() as storage:
        _run("search", "quickstart", storage)
        _run("report", "quickstart", storage, "--format", "csv")
        _run("search", SMALL, storage, "--num-samples", str(STARTED))
        _keep(Path(storage), "quickstart", "quickstart")
        _keep(Path(storage), "small", "small")
        _run("search", SMALL, storage, "--num-samples", str(CONTINUED))
        _keep(Path(storage), "small", "small-continued")


def _keep(storage: Path, name: str, kept_as: str) -> None:
    """Copy what is to be read of an experiment, without adapters and checkpoints."""
    shutil.rmtree(OLD / kept_as, ignore_errors=True)
    leave_out = shutil.ignore_patterns("adapters", "checkpoints", ".lock")
    shutil.copytree(storage / name, OLD / kept_as, ignore=leave_out)


def _run(command: str, experiment: str, storage: str, *options: str) -> None:
    words = [sys.executable, "-m", "sweep.run", command, experiment, *options, "--storage", storage]
    subprocess.run(words, check=True)


if __name__ == "__main__":
    main()
