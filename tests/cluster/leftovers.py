"""Processes that outlive what started them: found by a mark in their environment, which children inherit."""

import time
import uuid

import psutil

MARK = "XPE_SWEEP_TEST_MARK"


def mark() -> dict[str, str]:
    """Return the environment variable to start a process with."""
    return {MARK: uuid.uuid4().hex}


def find_left(marked: dict[str, str], seconds: float = 120.0) -> list[str]:
    """Return the command lines of processes with this mark that outlive so many seconds; [] as soon as none is left."""
    deadline = time.monotonic() + seconds
    while True:
        left = [process for process in psutil.process_iter() if _has_mark(process, marked)]
        if not left or time.monotonic() >= deadline:
            return [" ".join(process.cmdline()) for process in left if process.is_running()]
        time.sleep(0.2)


def _has_mark(process: psutil.Process, marked: dict[str, str]) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == marked[MARK]
    except psutil.Error:
        return False
