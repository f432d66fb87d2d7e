"""One driver at a time: a lock on an experiment's folder that a killed driver does not keep."""

import json
import time
import uuid

from filelock import FileLock, Timeout

from sweep.storage import Folder
from xpe_core.errors import InputError

HEARTBEAT_SECONDS = 20.0
"""How often a driver says in object storage that it is alive; it counts as dead after three times as long."""
DRIVER = "driver.json"


class Lock:
    """Lets one driver at a time write: by a file lock, which a killed process loses, or by a heartbeat."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._file: FileLock | None = None
        self._token = uuid.uuid4().hex
        self._beaten = 0.0
        taken = InputError(f"{folder} is being written by another driver; wait for it, stop it, or give a --name")
        if folder.path is not None:
            folder.path.mkdir(parents=True, exist_ok=True)
            self._file = FileLock(folder.path / ".lock", timeout=1)
            try:
                self._file.acquire()
            except Timeout:
                raise taken from None
        elif is_running(folder):
            raise taken
        else:
            self.beat()
            time.sleep(1.0)
            if json.loads(folder.read(DRIVER) or b"{}").get("token") != self._token:
                raise taken

    def beat(self) -> None:
        """Say that this driver is alive, where that is not known otherwise."""
        if self._file is None and time.monotonic() - self._beaten >= HEARTBEAT_SECONDS:
            self._folder.write(DRIVER, json.dumps({"token": self._token, "time": time.time()}).encode())
            self._beaten = time.monotonic()

    def release(self) -> None:
        """Let others write."""
        if self._file is not None:
            self._file.release()
        else:
            self._folder.delete(DRIVER)


def is_running(folder: Folder) -> bool:
    """Whether a driver is at work on the experiment."""
    if folder.path is None:
        beat = json.loads(folder.read(DRIVER) or b'{"time": 0}')
        return bool(time.time() - beat["time"] < 3 * HEARTBEAT_SECONDS)
    lock = FileLock(folder.path / ".lock", timeout=0)
    if not (folder.path / ".lock").exists():
        return False
    try:
        lock.acquire()
    except Timeout:
        return True
    lock.release()
    return False
