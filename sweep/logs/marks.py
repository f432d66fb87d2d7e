"""A tool's folder on this machine, which one process at a time writes, and in it a run's own.

Tools that append to files cannot say what they hold. So a run's folder has a mark of what was written, and what changed
while nobody was watching is written anew.
"""

import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from xpe_core.errors import InputError

MARK = "written"


def take(log_folder: Path) -> FileLock:
    """Make a tool's folder and take its lock; InputError where another process has it."""
    log_folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(log_folder / ".lock", timeout=1, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(f"{log_folder} is being written by another process, such as the experiment's driver") from None
    return lock


def is_written(folder: Path, digest: str) -> bool:
    """Whether a run's folder holds all that its history says."""
    try:
        return (folder / MARK).read_text(encoding="utf-8") == digest
    except OSError:
        return False


def empty(folder: Path) -> None:
    """Make a run's folder, without what was in it."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def mark(folder: Path, digest: str) -> None:
    """Say that a run's folder is whole; to be called last."""
    (folder / MARK).write_text(digest, encoding="utf-8")
