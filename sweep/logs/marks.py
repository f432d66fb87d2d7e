"""A run's own folder on this machine: written whole, with a mark of what was written, so that it is not written again.

Tools that append to files cannot say what they hold; what changed while nobody was watching is written anew.
"""

import shutil
from pathlib import Path

MARK = "written"


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
