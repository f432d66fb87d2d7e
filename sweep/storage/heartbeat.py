"""The lock of an experiment in object storage: a file that says who writes, renewed as long as that one lives.

pyarrow can make no write depend on what is there, so this lock is a promise that is looked at again before every write.
A driver that was paused for so long that another one took over finds that out there, so it is done with the write that
it was paused in. Where that was a heartbeat, its mark is over the other one's: therefore who takes over first leaves a
notice for the driver that it replaces, which ends by it, and renews its own mark where it finds the old one again.
"""

import json
import os
import platform
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from sweep.storage import Folder
from xpe_core.errors import InputError

DRIVER = "driver.json"
HEARTBEAT_SECONDS = 20.0
BEATS_MISSED = 3
"""After so many a driver counts as dead; at once where its process is known to be gone."""
READ_TRIES = 3
JOIN_SECONDS = 5.0
"""For a heartbeat that is just being written when the driver ends."""
SETTLE_SECONDS = 1.0
"""Between claiming the lock and looking whether somebody else did so in the same moment."""


@dataclass(frozen=True)
class Process:
    """What tells a process from every other one, here and elsewhere."""

    pid: int
    started: int | None
    """In the kernel's own count, which no clock changes."""
    space: str | None
    """What process ids count within: one start of one kernel, and one container. Only Linux says which that is."""


@dataclass(frozen=True)
class Mark(Process):
    """Who writes, as the file says."""

    token: str
    """Of the driver; another one starts with another token."""
    host: str


MARK = TypeAdapter(Mark)


class Heartbeat:
    """Holds the lock until `release`, or until another driver takes it because this one was paused."""

    def __init__(self, folder: Folder) -> None:
        """Take the lock; InputError where another driver has it."""
        self._folder = folder
        self._mark = Mark(**asdict(_describe_process()), token=uuid.uuid4().hex, host=platform.node())
        other = _read(folder)
        self._replaced = None if other is None else other.token
        if other is not None and not _is_gone(other):
            if self._measure_age() < BEATS_MISSED * HEARTBEAT_SECONDS:
                raise _taken(folder, other)
            folder.write(_notice(other.token), b"")
        self._lost = False
        self._beating = threading.RLock()
        """Held from a look at the mark to the end of its renewal, so that nobody goes by a mark that came late."""
        self._write()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="heartbeat", daemon=True)
        try:
            time.sleep(SETTLE_SECONDS)
            if not self._holds():
                raise _taken(folder, _read(folder))
            self._thread.start()
        except BaseException:
            self.release()
            raise

    def check(self) -> None:
        """Raise InputError where another driver has the lock by now."""
        with self._beating:
            self._lost = self._lost or not self._holds()
        if self._lost:
            raise InputError(
                f"{self._folder} was taken over by another driver, because nothing was heard of this one for "
                f"{BEATS_MISSED * HEARTBEAT_SECONDS:g} seconds; this one has ended"
            )

    def release(self) -> None:
        """Let others write; where the storage is out of reach, they know soon that this process is gone."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_SECONDS)
        folder = self._folder.with_attempts(1)
        with suppress(InputError):
            if not self._lost and self._read_token(folder) == self._mark.token:
                folder.delete(DRIVER)

    def _go_on(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            try:
                with self._beating:
                    self.check()
                    self._write()
                    self._lost = self._folder.modified(_notice(self._mark.token)) is not None
            except InputError:
                pass  # out of reach; who writes next says so, if it still is
            if self._lost:
                return

    def _holds(self) -> bool:
        """Whether the mark is this driver's; it renews its own over a late one of the driver that it took over from."""
        token = self._read_token(self._folder)
        if token is not None and token == self._replaced:
            self._write()
            return True
        return token == self._mark.token

    def _read_token(self, folder: Folder) -> str | None:
        mark = _read(folder)
        return None if mark is None else mark.token

    def _write(self) -> None:
        self._folder.write(DRIVER, json.dumps(asdict(self._mark)).encode())

    def _measure_age(self) -> float:
        """Return the seconds since the last heartbeat by the storage's own clock, with a file that is written now."""
        probe = f".{self._mark.token}"
        self._folder.write(probe, b"")
        now, then = self._folder.modified(probe), self._folder.modified(DRIVER)
        self._folder.delete(probe)
        return now - then if now is not None and then is not None else float("inf")


def has_heartbeat(folder: Folder) -> bool:
    """Whether a driver is at work on the experiment, by this machine's clock."""
    written, mark = folder.modified(DRIVER), _read(folder)
    if written is None or mark is None or _is_gone(mark):
        return False
    return time.time() - written < BEATS_MISSED * HEARTBEAT_SECONDS


def _notice(token: str) -> str:
    """Return the name of the notice to a driver that it was replaced; it stays, since that one may sleep for long."""
    return f".replaced-{token}"


def _taken(folder: Folder, mark: Mark | None) -> InputError:
    who = "" if mark is None else f" (process {mark.pid} on {mark.host})"
    return InputError(
        f"{folder} is being written by another driver{who}; wait for it, stop it, or give a --name (one that was "
        f"killed on another machine lets go after {BEATS_MISSED * HEARTBEAT_SECONDS:g} seconds)"
    )


def _read(folder: Folder) -> Mark | None:
    """Return who writes, None where nobody does."""
    for _ in range(READ_TRIES - 1):
        with suppress(ValueError):  # replaced by a longer one while it was read
            return _parse(folder.read(DRIVER))
    return _parse(folder.read(DRIVER))


def _parse(content: bytes | None) -> Mark | None:
    return MARK.validate_json(content) if content else None


def _describe_process() -> Process:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = f"{platform.node()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        space = None
    return Process(os.getpid(), _find_start(os.getpid()), space)


def _is_gone(mark: Mark) -> bool:
    """Whether the driver is known to be a process of this machine that lives no more."""
    here = _describe_process().space
    return here is not None and mark.space == here and _find_start(mark.pid) != mark.started


def _find_start(pid: int) -> int | None:
    """Return when a process was started, in the kernel's own count, which no clock changes; None where it is gone."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else int(fields[18])
