"""A search whose trials train nothing: what the driver itself costs a trial, in time, memory, files and bytes written.

    python -m benchmarks.stub_search [--trials 1000] [--storage DIR or s3://BUCKET/PATH]

With `--storage` of an earlier, killed call it goes on there and says how long that took.
"""

import argparse
import gc
import hashlib
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ray import tune

from benchmarks.setting import print_ratios, print_table
from sweep.driver.messages import Assignment, RunResult, RunScores, TrialReport, Wire
from sweep.driver.tuner import run_experiment
from sweep.experiment.config import make_sweep
from sweep.planning.plan import prepare
from sweep.records.ledger import LEDGER, TrialRecord, read_ledger
from sweep.records.states import State
from sweep.storage import Folder
from xpe_core.config import RunConfig
from xpe_core.tasks.scores import LanguageScore


class StubPack(tune.Trainable):
    """A trial that makes up one report of all its runs and is done."""

    def setup(self, config: Wire) -> None:
        """Take a trial."""
        self._order = Assignment.from_wire(config).order

    def reset_config(self, new_config: Wire) -> bool:
        """Start again in the same process."""
        self.setup(new_config)
        return True

    def step(self) -> Wire:
        """Report a number that depends on the configuration alone."""
        configs = [RunConfig(**self._order.config).with_seed(run.seed) for run in self._order.runs]
        value = int(hashlib.sha256(configs[0].config_id.encode()).hexdigest()[:8], 16) / 2**32
        score = LanguageScore("kat_Geor", 100, {"accuracy": float(int(100 * value))}, loss=1.0)
        runs = [
            RunResult(
                run_id=config.run_id,
                state=State.COMPLETE,
                num_runs_in_pack=len(configs),
                num_steps=1,
                best_step=1,
                validation_accuracy=value,
                best_validation_accuracy=value,
                selection_accuracy=value,
            )
            for config in configs
        ]
        report = TrialReport(
            step=configs[0].training.max_steps,
            selection_accuracy=value,
            trained=True,
            finished=True,
            done=True,
            runs=tuple(runs),
            evaluations=tuple(RunScores(config.run_id, "test", (score,)) for config in configs),
        )
        return report.to_wire()


def main() -> None:
    """Print seconds and driver memory a trial, files, and the time until the first trial starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--storage")
    arguments = parser.parse_args()
    sweep = make_sweep(
        base={"backbone": "e5-small", "dataset": "cldr", "max_length": 32, "source_set": "eng", "max_steps": 1},
        space={"learning_rate": {"log_uniform": [1e-5, 1e-2]}, "encoder_ratio": {"uniform": [0.1, 0.9]}},
        num_samples=arguments.trials,
        seeds=(1, 2),
        sampler="random",
        scheduler={"grace_period": 1},
        evaluation={"languages": "kat_Geor"},
        resources={"cpus_per_trial": 1},
    )
    plan = prepare("stub", sweep)
    memory: list[int] = []
    first: list[float] = []

    def listen(record: TrialRecord, report: TrialReport | None) -> None:
        first.append(time.perf_counter()) if not first else None
        if record.state and record.number % 100 == 99:
            gc.collect()
            memory.append(_resident_bytes())

    with tempfile.TemporaryDirectory(prefix="xpe-bench-") as scratch:
        storage = Folder(arguments.storage or scratch)
        before = len(read_ledger(storage / "stub"))
        started = time.perf_counter()
        with _counted_bytes() as written:
            folder = run_experiment(plan, storage, listen, trainable=StubPack)
        ended = time.perf_counter()
        sizes, ledger_size = _measure_files(folder), len(folder.read_appended(LEDGER))
    num_trials = arguments.trials - before
    per_trial = (memory[-1] - memory[0]) / (100 * (len(memory) - 1)) / 1024 if len(memory) > 1 else float("nan")
    rows = [
        ("seconds until the first trial starts", first[0] - started),
        ("trials a second, from then on", num_trials / (ended - first[0])),
        ("KiB of driver memory a trial", per_trial),
        ("files in the experiment's folder", len(sizes)),
        ("MB in them", sum(sizes) / 1e6),
        ("MB written to the ledger", written["ledger"] / 1e6),
        ("MB of the ledger", ledger_size / 1e6),
        ("MB written in all", sum(written.values()) / 1e6),
    ]
    print_table(f"{num_trials} trials that train nothing, {before} before", ("", "value"), rows)
    print_ratios({"stub_trials_per_second": num_trials / (ended - first[0]), "stub_kib_per_trial": per_trial})


@contextmanager
def _counted_bytes() -> Iterator[Counter[str]]:
    """Count the bytes that are written in the block, those of the ledger by themselves."""
    counts: Counter[str] = Counter()
    write, append = Folder.write, Folder.append

    def count_and_write(self: Folder, name: str, content: bytes) -> None:
        counts["ledger" if self.name == "ledger" else "others"] += len(content)
        write(self, name, content)

    def count_and_append(self: Folder, name: str, content: bytes) -> None:
        if self.path is not None:
            counts["ledger"] += len(content)
        append(self, name, content)

    Folder.write, Folder.append = count_and_write, count_and_append  # type: ignore[method-assign]
    try:
        yield counts
    finally:
        Folder.write, Folder.append = write, append  # type: ignore[method-assign]


def _measure_files(folder: Folder) -> list[int]:
    """Return the bytes of every file in a folder and those below it."""
    below = [size for name in folder.folders() for size in _measure_files(folder / name)]
    return [folder.size(name) for name in folder.names()] + below


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
