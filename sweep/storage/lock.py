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
        self._held = _lock_file(folder) if folder.path is not None else Heartbeat(folder)

    def check(self) -> None:
        """Raise InputError where this driver has lost the lock to another one; to be called before every write."""
        if isinstance(self._held, Heartbeat):
            self._held.check()

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
                # shared, which wants no right to write; a driver that is just starting tries again
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
    return False


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
