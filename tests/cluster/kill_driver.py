"""Kill an experiment's driver at random moments, start it again each time, and compare with an undisturbed one.

    python -m tests.cluster.kill_driver EXPERIMENT.yaml STORAGE [TIMES]

The experiment needs one trial at a time (`resources: {max_concurrent_trials: 1}`), so that the order of trials, and
with it what is stopped early, is the same. Prints what was compared; exit status 1 where something differs or a process
outlives its driver.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from sweep.analysis import find_best, read_evaluations, read_runs
from sweep.records.ledger import read_events, read_ledger
from sweep.storage import Location
from tests.cluster.leftovers import find_left, mark

LONGEST_LIFE = 12.0
"""Seconds after its first event in which a driver is killed; its first trial takes about seven of them to start."""
MEASURED = ["train_seconds", "tokens_per_second", "peak_share", "peak_memory_bytes", "host", "device"]


def main(experiment: str, storage: str, times: str = "10") -> None:
    """Run undisturbed, then disturbed, and compare."""
    name = Path(experiment).stem
    marked = mark()
    assert start(experiment, f"{storage}/undisturbed", marked).wait() == 0
    folder = Path(storage) / "disturbed" / name
    draw, num_kills = random.Random(0), 0
    while num_kills < int(times):
        driver, before = start(experiment, f"{storage}/disturbed", marked), len(read_events(folder))
        while len(read_events(folder)) == before and driver.poll() is None:
            time.sleep(0.05)
        time.sleep(draw.uniform(0.0, LONGEST_LIFE))
        if driver.poll() is not None:
            break  # it ended before
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        num_kills += 1
        if left := find_left(marked):
            sys.exit(f"left over after the kill: {left}")
        ended = sum(record.state is not None for record in read_ledger(folder).values())
        print(f"killed {num_kills} times, {ended} trials have ended", flush=True)
    assert start(experiment, f"{storage}/disturbed", marked).wait() == 0
    compare(Path(storage) / "undisturbed" / name, folder)
    print(f"after {num_kills} kills: the same runs, numbers and best configuration, no process left over")


def start(experiment: str, storage: str, marked: dict[str, str], stderr: int | None = None) -> subprocess.Popen[bytes]:
    """Start a driver with a Ray of its own."""
    command = [sys.executable, "sweep/run.py", "search", experiment, "--storage", storage]
    environment = {**os.environ, "RAY_ADDRESS": "local", **marked}
    root = Path(__file__).parent.parent.parent
    return subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=stderr)


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
