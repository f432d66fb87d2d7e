"""Folders that are made once on a machine and read by every process on it.

A folder appears under its name only when it is complete, by a rename, so a reader needs no lock. File locks are not to
be trusted on every network file system; the rename is, so without them work may be done twice but never half.

Where the default cache cannot be written (a read-only home), what is not in it is made in the folder for temporary
files, the same one for all processes of a user.
"""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from xpe_core.errors import InputError
from xpe_core.steps import long_step

READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
DAMAGES = (OSError, ValueError, KeyError, EOFError)
"""What reading a damaged folder raises: truncated arrays and JSON, files that are not there."""

Content = TypeVar("Content")


def cache_folder() -> Path:
    """Return `$XPE_CACHE_DIR`, else `$XDG_CACHE_HOME/xpe-sweep`, else `~/.cache/xpe-sweep`; it need not exist."""
    if own := os.environ.get("XPE_CACHE_DIR"):
        return Path(own).expanduser().absolute()
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(shared).expanduser().absolute() / "xpe-sweep"
    except RuntimeError:  # a user without a home
        return _private_folder()


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return `folder`, after `build` has filled it if it was not there; concurrent callers wait for the first.

    `build` gets an empty folder beside it, on the same file system. Where the default cache cannot be written, another
    folder of the same name is returned. Raises InputError where the disk is full or not writable; what `build` raises
    otherwise passes, and nothing is left behind.
    """
    stand_in = _stand_in(folder)
    try:
        return _build_once(folder, build)
    except OSError as error:
        if not _is_of(error, folder):
            raise
        if stand_in is None or error.errno not in READ_ONLY:
            raise _explain(error, folder) from error
    try:
        stand_in.parents[1].mkdir(mode=0o700, exist_ok=True)
        return _build_once(stand_in, build)
    except OSError as error:
        if not _is_of(error, stand_in):
            raise
        raise _explain(error, stand_in) from error


def read_built(folder: Path, build: Callable[[Path], None], read: Callable[[Path], Content]) -> Content:
    """Return what `read` makes of the folder that `build` fills, which is made again where it is damaged."""
    built = build_once(folder, build)
    try:
        return read(built)
    except DAMAGES:
        _discard(built)
    return read(build_once(folder, build))


def explain_stand_in() -> str | None:
    """Return a sentence on where the cache is if its default place cannot be written, None where it can."""
    folder = cache_folder()
    stand_in = _stand_in(folder / "any" / "any")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        return None
    except OSError as error:
        if stand_in is None or error.errno not in READ_ONLY:
            return None
    return (
        f"{folder} cannot be written, so what is made once lies in {stand_in.parents[1]}; "
        "set XPE_CACHE_DIR to a folder that stays"
    )


def _build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        with long_step(f"Waiting for another process that makes {folder}"):
            lock.acquire()
    try:
        if not folder.is_dir():
            _build(folder, build)
    finally:
        lock.release()
    return folder


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    prefix = f".{folder.name}.partial-"
    for leftover in folder.parent.glob(f"{prefix}*"):  # of a process that was killed: whoever builds holds the lock
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix, ignore_cleanup_errors=True) as scratch:
        content = Path(scratch) / folder.name  # the scratch folder itself is private to this user
        content.mkdir()
        with _as_os_errors():
            build(content)
        try:
            content.rename(folder)
        except OSError:
            if not folder.is_dir():  # where locks do not work, another process may have been faster
                raise


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """Turn what libraries written in Rust or C say of a full disk into the error that it is."""
    try:
        yield
    except Exception as error:
        if number := re.search(r"\(os error (\d+)\)$", str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
        if re.fullmatch(r"\d+ requested and \d+ written", str(error)):  # NumPy's
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise


def _discard(folder: Path) -> None:
    """Take a damaged folder away; another process may be doing the same."""
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as scratch:
            folder.rename(Path(scratch) / folder.name)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise InputError(
            f"the cache folder {folder} is damaged and cannot be replaced ({error.strerror}): "
            "delete it, or set XPE_CACHE_DIR to another folder"
        ) from error


def _stand_in(folder: Path) -> Path | None:
    """Return the folder among the temporary files that stands for one in the default cache, None in any other."""
    if os.environ.get("XPE_CACHE_DIR") or not folder.is_relative_to(cache_folder()):
        return None
    private = _private_folder()
    if private.exists() and private.stat().st_uid != os.getuid():  # made by somebody else to be read by this user
        return None
    return private / folder.relative_to(cache_folder())


def _private_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"xpe-sweep-cache-{os.getuid()}"


def _is_of(error: OSError, folder: Path) -> bool:
    """Whether an error is about the cache: what else a build reads may be missing or unreadable, too."""
    if error.filename is None:
        return True
    path = Path(os.fsdecode(error.filename))
    return path.is_relative_to(folder.parents[1]) or folder.is_relative_to(path)


def _explain(error: OSError, folder: Path) -> InputError:
    return InputError(
        f"cannot write to the cache folder {folder.parent}: {error.strerror or error}; "
        "set XPE_CACHE_DIR to a writable folder with free space"
    )
