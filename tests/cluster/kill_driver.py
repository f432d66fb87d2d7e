"""Kill an experiment's driver at random moments, start it again each time, and compare with an undisturbed one.

    python -m tests.cluster.kill_driver EXPERIMENT.yaml STORAGE [TIMES [LONGEST_LIFE [EVENT]]]

The experiment needs one trial at a time (`resources: {max_concurrent_trials: 1}`), so that the order of trials, and
with it what is stopped early, is the same. A driver lives up to LONGEST_LIFE seconds after it has written an event, of
the kind EVENT where one is given. An undisturbed run that STORAGE has already is not repeated. Prints what was
compared; exit status 1 where something differs or a process outlives its driver. What the last driver prints is in
STORAGE/output.txt.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from sweep.analysis import find_best, read_evaluations, read_runs
from sweep.experiment.files import load_experiment
from sweep.records.ledger import read_events, read_ledger
from sweep.storage import Location
from tests.cluster.leftovers import find_left, mark

LONGEST_LIFE = "12.0"
"""Seconds after its event in which a driver is killed; its first trial takes about seven of them to start."""
MEASURED = ["train_seconds", "tokens_per_second", "peak_share", "peak_memory_bytes", "host", "device"]


def main(
    experiment: str, storage: str, times: str = "10", longest_life: str = LONGEST_LIFE, event: str | None = None
) -> None:
    """Run undisturbed, then disturbed, and compare."""
    name = Path(experiment).stem
    marked = mark()
    run_undisturbed(experiment, storage, marked)
    folder = Path(storage) / "disturbed" / name
    draw, num_kills = random.Random(0), 0
    while num_kills < int(times):
        driver, before = start(experiment, f"{storage}/disturbed", marked), count_events(folder, event)
        while count_events(folder, event) == before and driver.poll() is None:
            time.sleep(0.05)
        time.sleep(draw.uniform(0.0, float(longest_life)))
        if driver.poll() is not None:
            break  # it ended before
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        num_kills += 1
        if left := find_left(marked):
            sys.exit(f"left over after the kill: {left}")
        ended = sum(record.state is not None for record in read_ledger(folder).values())
        print(f"killed {num_kills} times, {ended} trials have ended", flush=True)
    with Path(storage, "output.txt").open("wb") as output:
        assert start(experiment, f"{storage}/disturbed", marked, output).wait() == 0
    compare(Path(storage) / "undisturbed" / name, folder)
    print(f"after {num_kills} kills: the same runs, numbers and best configuration, no process left over")


def run_undisturbed(experiment: str, storage: str, marked: dict[str, str]) -> None:
    """Run the experiment as a whole, where STORAGE has no such run yet."""
    if not (Path(storage) / "undisturbed" / Path(experiment).stem).exists():
        assert start(experiment, f"{storage}/undisturbed", marked).wait() == 0


def count_events(folder: Path, kind: str | None) -> int:
    """Return how many events of a kind, or of all kinds, an experiment's ledger has."""
    return sum(kind in (None, event["event"]) for event in read_events(folder))


def start(
    experiment: str,
    storage: str,
    marked: dict[str, str],
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a driver with a Ray of its own."""
    command = [sys.executable, "sweep/run.py", load_experiment(experiment)[1].kind, experiment, "--storage", storage]
    environment = {**os.environ, "RAY_ADDRESS": "local", **marked}
    root = Path(__file__).parent.parent.parent
    return subprocess.Popen(command, cwd=root, env=environment, stdout=stdout, stderr=stderr)


def compare(expected: Location, found: Location) -> None:
    """Exit with what differs between two experiments."""
    runs = [read_runs(folder).drop(MEASURED).sort("run_id") for folder in (expected, found)]
    order = ["run_id", "split", "language"]
    evaluations = [read_evaluations(folder).sort(order) for folder in (expected, found)]
    if runs[1]["run_id"].n_unique() != len(runs[1]):
        sys.exit("a run is there twice")
    for name, (first, second) in {"runs": runs, "evaluations": evaluations}.items():
        if not first.equals(second):
            sys.exit(f"the table {name} differs")
    if find_best(runs[0]) != find_best(runs[1]):
        sys.exit("the best configuration differs")


if __name__ == "__main__":
    main(*sys.argv[1:])
