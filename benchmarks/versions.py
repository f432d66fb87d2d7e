"""Our checkout against another one of the project, such as the version before a change, on the same steps in turns.

`git worktree add ../before REVISION && python -m benchmarks.versions --other ../before`. Each version is a process that
keeps its data and trains a few steps when it is asked, so that what slows the machine down slows both.
"""

import os
import statistics
import subprocess
import sys
from argparse import Namespace
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.setting import (
    PRECISIONS,
    alternate,
    choose_size,
    median_ratio,
    parse_arguments,
    print_ratios,
    print_table,
)

HERE = Path(__file__).parents[1]


def main() -> None:
    """Print rates of both versions and ratios of this one's over the other's."""
    arguments = parse_arguments(
        __doc__ or "", other=(str(HERE), "the other checkout's folder"), runs=(2, "runs in a pack")
    )
    size = choose_size(arguments, (6, 40), (4, 15), (1, 1))
    with ExitStack() as stack:
        folders = {"this": HERE, "other": Path(arguments.other).resolve()}
        versions = {name: stack.enter_context(start(folder, arguments, size[0])) for name, folder in folders.items()}
        ratios = {f"this_over_other_{precision}": compare(versions, precision, *size) for precision in PRECISIONS}
        for process in versions.values():
            process.communicate()
    print_ratios(ratios)


def compare(versions: Mapping[str, subprocess.Popen[str]], precision: str, num_steps: int, num_rounds: int) -> float:
    """Print text tokens a second of both versions and return this one's over the other's."""
    rates = alternate({name: partial(ask, process, precision) for name, process in versions.items()}, num_rounds)
    rows = [(name, statistics.median(values)) for name, values in rates.items()]
    title = f"training, {precision}: {num_steps} steps a round, {num_rounds} rounds"
    print_table(title, ("version", "text tokens / s"), rows)
    return median_ratio(rates["this"], rates["other"])


def start(folder: Path, arguments: Namespace, num_steps: int) -> subprocess.Popen[str]:
    """Start a process that imports the version in a folder and trains when a line asks it to."""
    program = [sys.executable, str(HERE / "benchmarks" / "rounds.py")]
    return subprocess.Popen(
        [*program, arguments.dataset, arguments.backbone, str(num_steps), str(arguments.runs)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ask(process: "subprocess.Popen[str]", precision: str, number: int) -> float:
    """Let a version train a round, and return its text tokens a second."""
    assert process.stdin and process.stdout
    print(precision, number, file=process.stdin, flush=True)
    if not (line := process.stdout.readline()):
        sys.exit("the process of a version ended; what it said stands above")
    return float(line)


if __name__ == "__main__":
    main()
