"""Run two experiments on this machine at the same time, and compare each with itself run alone.

    python -m tests.cases.two_experiments

The first ends in the middle of the second. Prints when each began and ended and what is equal; exit status 1 where a
number differs. No RAY_ADDRESS is set: each experiment is on its own to find or start a Ray.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from sweep.analysis import read_evaluations, read_runs
from sweep.records.ledger import read_events
from tests.cluster.leftovers import mark
from tests.conftest import ONE_THREAD, make_backbone, make_search, write_dataset

ROOT = Path(__file__).parent.parent.parent
MEASURED = ["train_seconds", "tokens_per_second", "peak_share", "peak_memory_bytes", "host", "device"]
"""Of a run, what depends on its time and place."""


@dataclass
class Lives:
    """When experiments began and ended, in seconds since the first began."""

    began: dict[str, float]
    ended: dict[str, float]
    outputs: dict[str, str]


def main() -> None:
    """Run both alone and together, and print what came of it."""
    with tempfile.TemporaryDirectory(prefix="x2", dir="/tmp") as scratch:
        place = Path(scratch)
        (place / "data").mkdir()
        write_experiments(place, write_dataset(place / "data"), make_backbone(place / "backbone"))
        for name in ("first", "second"):
            run_alone(place, name)
            print(f"{name} has run alone", flush=True)
        lives = run_together(place)
        for name in ("second", "first"):
            print(f"{name} began at {lives.began[name]:.1f} s and ended at {lives.ended[name]:.1f} s")
        before, after = count_reports(place, lives)
        print(f"when the first had ended, the second had made {before} reports, and {after} were to come")
        differences = compare(place)
        print("\n".join(differences) or "together as alone: every run, number and count for a language is equal")
        sys.exit(bool(differences))


def write_experiments(place: Path, dataset: str, backbone: str) -> None:
    """Write a short and a longer experiment whose outcome does not depend on what ends when."""
    for name, steps, samples in (("first", 40, 2), ("second", 1000, 3)):
        values = make_search(dataset, backbone)
        values["base"] |= {"max_steps": steps, "eval_steps": steps // 2 if name == "first" else 50}
        values["scheduler"]["grace_period"] = steps
        values |= {"num_samples": samples, "sampler": "random", "resources": ONE_THREAD}
        (place / f"{name}.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def start(place: Path, name: str, storage: str, marked: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Start an experiment as a person would, without a word about Ray."""
    environment = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "RAY_TMPDIR")}
    environment |= {"HF_HUB_OFFLINE": "1", "XPE_CACHE_DIR": str(place / "cache"), **(marked or {})}
    command = [sys.executable, "sweep/run.py", "search", str(place / f"{name}.yaml"), "--storage", str(place / storage)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def run_alone(place: Path, name: str) -> None:
    """Run one experiment with nothing beside it."""
    process = start(place, name, "alone")
    output, _ = process.communicate()
    assert process.returncode == 0, output


def run_together(place: Path) -> Lives:
    """Start the longer experiment and, as soon as its Ray is there, the shorter one; wait for both."""
    marked, lives, began = mark(), Lives({}, {}, {}), time.monotonic()
    lives.began["second"] = 0.0
    second = start(place, "second", "together", marked)
    ledger = place / "together" / "second"
    while second.poll() is None and not any(event["event"] == "start" for event in read_events(ledger)):
        time.sleep(0.05)
    lives.began["first"] = time.monotonic() - began
    processes = {"first": start(place, "first", "together", marked), "second": second}
    for name, process in processes.items():
        lives.outputs[name], _ = process.communicate()
        lives.ended[name] = time.monotonic() - began
        assert process.returncode == 0, lives.outputs[name]
    return lives


def count_reports(place: Path, lives: Lives) -> tuple[int, int]:
    """Return how many reports the second experiment made until the first one's last event, and after it."""
    last = max(event["time"] for event in read_events(place / "together" / "first"))
    times = [event["time"] for event in read_events(place / "together" / "second") if event["event"] == "report"]
    return sum(one <= last for one in times), sum(one > last for one in times)


def compare(place: Path) -> list[str]:
    """Return how the tables of the experiments that ran together differ from those of each alone."""
    differences = []
    for name in ("first", "second"):
        alone, together = (place / storage / name for storage in ("alone", "together"))
        runs = [read_runs(folder).drop(MEASURED) for folder in (alone, together)]
        if not runs[0].equals(runs[1]):
            columns = [one for one in runs[0].columns if not runs[0][one].equals(runs[1][one])]
            differences.append(f"{name}: the runs differ in {', '.join(columns)}")
        if not read_evaluations(alone).equals(read_evaluations(together)):
            differences.append(f"{name}: the evaluations differ")
        best = [(folder / f"{name}-best.yaml").read_text(encoding="utf-8") for folder in (alone, together)]
        if json.dumps(best[0]) != json.dumps(best[1]):
            differences.append(f"{name}: the best configurations differ")
    return differences


if __name__ == "__main__":
    main()
