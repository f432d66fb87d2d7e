"""How long a report takes, and how much memory: 1,000 made runs times 205 languages.

python -m benchmarks.report [--runs 1000] [--seeds 10]
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sweep.experiment.config import make_sweep
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.ledger import TrialRecord
from sweep.records.runs import make_runs
from sweep.records.states import State
from xpe_core.languages import load_languages

SOURCE_SETS = ("enarzho", "joshi5", "xlmr_seen", "eng")
NUM_REPORTS = 20
"""Of a trial: the points of its learning curve."""
NUM_EXAMPLES = 204
"""Of a language's test split in SIB-200."""


def write_experiment(folder: Path, num_arms: int, seeds: Sequence[int]) -> int:
    """Write a made grid whose arms differ a little, and return how many runs it has."""
    ratios = np.linspace(0, 1, num_arms).round(3).tolist()
    arms = {"spt": {"encoder_ratio": 0.0}} | {f"dual_{ratio:g}": {"encoder_ratio": ratio} for ratio in ratios[1:-1]}
    arms["xpe"] = {"encoder_ratio": 1.0}
    sweep = make_sweep(kind="grid", arms=arms, source_sets=SOURCE_SETS, seeds=tuple(seeds))
    opened = ExperimentFolder(folder, sweep, {})
    generator = np.random.default_rng(0)
    codes = [language.code for language in load_languages()]
    levels = generator.uniform(0.2, 0.9, len(codes))
    for number, ((arm, _), config) in enumerate(zip(sweep.cells, sweep.corners, strict=True)):
        runs, evaluations = [], []
        for seed in seeds:
            run = config.with_seed(seed)
            identity = {"run_id": run.run_id, "config_id": run.config_id, "trial_id": f"t{number}", "arm": arm}
            runs.append({**run.values, **identity, "trial_number": number, "method": run.method})
            runs[-1] |= {"state": State.COMPLETE, "selection_accuracy": 0.5, "num_steps": run.training.max_steps}
            shares = np.clip(levels + generator.normal(0, 0.02) + generator.normal(0, 0.03, len(codes)), 0, 1)
            for code, correct in zip(codes, generator.binomial(NUM_EXAMPLES, shares).tolist(), strict=True):
                counts = {"num_examples": NUM_EXAMPLES, "metric": "accuracy", "score_sum": correct}
                evaluations.append({"run_id": run.run_id, "split": "test", "language": code, **counts})
        record = TrialRecord(f"t{number}", number, False, {}, config.values, make_runs(seeds), arm)
        opened.append(record.suggestion())
        for report in range(1, NUM_REPORTS + 1):
            step = config.training.max_steps * report // NUM_REPORTS
            value = 0.5 * report / NUM_REPORTS
            opened.append({"event": "report", "trial_id": record.trial_id, "step": step, "selection_accuracy": value})
        opened.end(record, State.COMPLETE, None, runs, evaluations)
    opened.close()
    return len(sweep.cells) * len(seeds)


def main() -> None:
    """Print seconds and bytes of a report in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    seeds = range(1, arguments.seeds + 1)
    num_arms = arguments.runs // (len(SOURCE_SETS) * arguments.seeds)
    with tempfile.TemporaryDirectory() as storage:
        num_runs = write_experiment(Path(storage, "made"), num_arms, seeds)
        for form in ("terminal", "csv", "html"):
            started = time.monotonic()
            command = [sys.executable, "-m", "sweep.run", "report", "made", "--storage", storage, "--format", form]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            seconds = time.monotonic() - started
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024  # Linux counts in KiB
            lines = len(output.splitlines())
            print(f"report_{form} {num_runs} runs {seconds:.1f} s, {peak / 2**30:.2f} GiB at most, {lines} lines")


if __name__ == "__main__":
    main()
