"""Kill an experiment's driver at random moments, start it again each time, and compare with an undisturbed one.

    python -m tests.cluster.kill_driver EXPERIMENT.yaml STORAGE [TIMES]

The experiment wants one trial at a time (`resources: {max_concurrent_trials: 1}`), so that the order of trials, and
with it what is stopped early, is the same. Prints what was compared; exit status 1 where something differs.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from sweep.analysis import find_best, read_evaluations, read_runs
from sweep.ledger import read_events, read_ledger
from sweep.storage import Place

LONGEST_LIFE = 12.0
"""Seconds after its first event in which a driver is killed; its first trial takes about seven of them to start."""
MEASURED = ["train_seconds", "tokens_per_second", "peak_share", "peak_memory_bytes", "host", "device"]


def main(experiment: str, storage: str, times: str = "10") -> None:
    """Run undisturbed, then disturbed, and compare."""
    name = Path(experiment).stem
    assert start(experiment, f"{storage}/undisturbed").wait() == 0
    folder = Path(storage) / "disturbed" / name
    draw, num_kills = random.Random(0), 0
    while num_kills < int(times):
        driver, before = start(experiment, f"{storage}/disturbed"), len(read_events(folder))
        while len(read_events(folder)) == before and driver.poll() is None:
            time.sleep(0.05)
        time.sleep(draw.uniform(0.0, LONGEST_LIFE))
        if driver.poll() is not None:
            break  # it ended before
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        num_kills += 1
        ended = sum(record.state is not None for record in read_ledger(folder).values())
        print(f"killed {num_kills} times, {ended} trials have ended", flush=True)
    assert start(experiment, f"{storage}/disturbed").wait() == 0
    compare(Path(storage) / "undisturbed" / name, folder)
    print(f"after {num_kills} kills: the same runs, numbers and best configuration")


def start(experiment: str, storage: str) -> subprocess.Popen[bytes]:
    """Start a driver with a Ray of its own."""
    command = [sys.executable, "sweep/run.py", "search", experiment, "--storage", storage]
    environment = {**os.environ, "RAY_ADDRESS": "local"}
    root = Path(__file__).parent.parent.parent
    return subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.DEVNULL)


def compare(expected: Place, found: Place) -> None:
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
