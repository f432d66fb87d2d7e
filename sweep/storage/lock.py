"""One driver at a time: a lock on an experiment's folder that a killed driver does not keep."""

import fcntl

from filelock import FileLock, Timeout

from sweep.storage import Folder
from sweep.storage.heartbeat import Heartbeat, has_heartbeat
from xpe_core.errors import InputError

LOCK = ".lock"


class Lock:
    """Lets one driver at a time write: by a file lock, which a killed process loses, or by a heartbeat."""

    def __init__(self, folder: Folder) -> None:
        """Take the lock; InputError where another driver has it."""
        self._folder = folder
        self._held = _lock_file(folder) if folder.path is not None else Heartbeat(folder)
        self._file = _identify(folder)

    def check(self) -> None:
        """Raise InputError where this driver has lost the lock, to another one or with its folder.

        To be called before every write.
        """
        if isinstance(self._held, Heartbeat):
            self._held.check()
        elif _identify(self._folder) != self._file:
            raise InputError(f"{self._folder} was deleted or moved while it was written: what ran there is not kept")

    def release(self) -> None:
        """Let others write."""
        self._held.release()


def is_running(folder: Folder) -> bool:
    """Whether a driver is at work on the experiment."""
    if folder.path is None:
        return has_heartbeat(folder)
    with folder.explain("read"):
        try:
            with (folder.path / LOCK).open() as file:
                # shared, which needs no right to write; a driver that is just starting tries again
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
    return False


def _identify(folder: Folder) -> int | None:
    """Return what tells the lock's file from another one of its name; None where there is none."""
    if folder.path is None:
        return None
    try:
        return (folder.path / LOCK).stat().st_ino
    except OSError:
        return None


def _lock_file(folder: Folder) -> FileLock:
    assert folder.path is not None
    lock = FileLock(folder.path / LOCK, timeout=1)
    with folder.explain("written"):
        folder.path.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            taken = f"{folder} is being written by another driver; wait for it, stop it, or give a --name"
            raise InputError(taken) from None
    return lock
