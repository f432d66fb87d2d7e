"""The folder of a Ray that is started for one experiment: short, writable, its own, and away again afterwards.

Unix sockets lie in it, whose paths may have 107 bytes; batch systems like to set a longer TMPDIR.
"""

import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xpe_core.cache import cache_folder
from xpe_core.errors import InputError

PREFIX = "xpe-"
SOCKET_BYTES = 103 if sys.platform == "darwin" else 107
BELOW = len("/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
"""Bytes of what Ray puts below its folder, the longest that is a socket."""
NEEDED_BYTES = 64 * 2**20
"""For Ray's logs."""
ABANDONED_SECONDS = 3600.0


@contextmanager
def own_folder() -> Iterator[str]:
    """Make a folder for a Ray, and remove it afterwards; InputError where there is no place for one.

    RAY_TMPDIR and TMPDIR come first, where they can be used.
    """
    folder = _make()
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a killed process loses it, so that what it left can be told
        try:
            yield str(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _make() -> Path:
    """Return a new folder in the first folder that can take one."""
    problems = []
    for name, path in _candidates():
        if (problem := _find_problem(path)) is not None:
            problems.append(f"{name} {problem}")
            continue
        try:
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=path))
        except OSError as error:
            problems.append(f"{name} ({error.strerror})")
            continue
        _remove_abandoned(path)
        return folder
    most = SOCKET_BYTES - BELOW - len(f"/{PREFIX}12345678")
    raise InputError(
        f"Ray finds no place for its files: {'; '.join(problems)}; set RAY_TMPDIR to a writable folder whose path has "
        f"at most {most} bytes"
    )


def _candidates() -> Iterator[tuple[str, Path]]:
    """Yield what to call each folder that may be used, and its path."""
    for variable in ("RAY_TMPDIR", "TMPDIR"):
        if value := os.environ.get(variable):
            yield f"{variable}={value}", Path(value).absolute()
    yield "/tmp", Path("/tmp")
    if value := os.environ.get("XDG_RUNTIME_DIR"):
        yield f"XDG_RUNTIME_DIR={value}", Path(value)
    with suppress(RuntimeError):  # there is no home
        cache = cache_folder()
        with suppress(OSError):
            cache.mkdir(parents=True, exist_ok=True)
        yield str(cache), cache


def _find_problem(path: Path) -> str | None:
    """Return why a folder cannot be used, in a few words, or None."""
    if not path.is_dir():
        return "(no such folder)"
    if len(os.fsencode(path)) > SOCKET_BYTES - BELOW - len(f"/{PREFIX}12345678"):
        return "(too long a path for sockets)"
    with suppress(OSError):
        if shutil.disk_usage(path).free < NEEDED_BYTES:
            return "(no space left)"
    return None


def _remove_abandoned(path: Path) -> None:
    """Remove folders of this user's whose process was killed an hour ago or earlier."""
    for folder in path.glob(f"{PREFIX}????????"):
        with suppress(OSError):
            status = folder.stat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < ABANDONED_SECONDS:
                continue
            with (folder / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
