"""Whole files on a file system, which may be NFS: never half written, and kept before a write returns."""

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path

STALE_TRIES = 3
"""Of reading a file that another machine replaces on NFS in this moment."""
TEMPORARY = ".tmp"
"""How the names of files end that are still being written."""


def read_file(path: Path) -> bytes:
    """Return a file's content, also where another machine replaces it in this moment."""
    for _ in range(STALE_TRIES - 1):
        try:
            return path.read_bytes()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    return path.read_bytes()


def write_file(path: Path, content: bytes) -> None:
    """Put a file in its place, whole; where that fails, the old one is still there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=TEMPORARY, dir=path.parent)
    try:
        os.fchmod(handle, 0o644)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def append_to_file(path: Path, content: bytes) -> None:
    """Add to a file's end and wait until it is kept; where that fails, nothing is added."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        before = os.fstat(handle).st_size
        try:
            if os.write(handle, content) < len(content):  # a disk that fills up takes a part
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(handle)  # NFS says only here that there was no room
        except OSError:
            with suppress(OSError):
                os.ftruncate(handle, before)
            raise
    finally:
        os.close(handle)
