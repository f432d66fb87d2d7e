"""Folders that are made once on a machine and read by every process on it.

A folder appears under its name only when it is complete, by a rename, so a reader needs no lock. File locks are not to
be trusted on every network file system; the rename is, so without them work may be done twice but never half.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from xpe_core.errors import InputError


def cache_folder() -> Path:
    """Return `$XPE_CACHE_DIR`, else `$XDG_CACHE_HOME/xpe-sweep`, else `~/.cache/xpe-sweep`; it need not exist."""
    if own := os.environ.get("XPE_CACHE_DIR"):
        return Path(own).expanduser().absolute()
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(shared).expanduser().absolute() / "xpe-sweep"


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return `folder`, after `build` has filled it if it was not there; concurrent callers wait for the first.

    `build` gets an empty folder beside it, on the same file system. Raises InputError where the disk is full or not
    writable; what `build` raises otherwise passes, and nothing is left behind.
    """
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if not folder.is_dir():
                _build(folder, build)
    except OSError as error:
        raise InputError(
            f"cannot write to the cache folder {folder.parent}: {error.strerror or error}; "
            "set XPE_CACHE_DIR to a writable folder with free space"
        ) from error
    return folder


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    prefix = f".{folder.name}.partial-"
    for leftover in folder.parent.glob(f"{prefix}*"):  # of a process that was killed: whoever builds holds the lock
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix, ignore_cleanup_errors=True) as scratch:
        content = Path(scratch) / folder.name  # the scratch folder itself is private to this user
        content.mkdir()
        build(content)
        try:
            content.rename(folder)
        except OSError:
            if not folder.is_dir():  # where locks do not work, another process may have been faster
                raise
