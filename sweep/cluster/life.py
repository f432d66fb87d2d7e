"""Whether the Ray that this process uses is alive: where it dies, the process ends soon, with a sentence.

Ray itself waits a minute for its server and then ends the process with a line of its own; a call that waits for a
raylet that was killed returns late or never, and Ctrl-C does not reach it.
"""

import atexit
import os
import shutil
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import NoReturn

import psutil
from rich.console import Console

from sweep.cluster.command_line import how_to_go_on
from xpe_core.errors import InputError

SERVERS = ("gcs_server", "raylet")
LOOK_SECONDS = 0.2
HEAD_LOOK_SECONDS = 2.0
SILENCE_SECONDS = 20.0
"""Without an answer from the head of a joined cluster, after which it counts as gone."""
LEAVE_SECONDS = 2.0
"""For the main thread to leave what it is in, before the process is ended as it is."""
END_SECONDS = 15.0
"""For the rest of the process, after the main thread has left."""


class RayLost(InputError):
    """The Ray that an experiment ran on has ended."""


class Life(threading.Thread):
    """Watches the servers of a Ray from the moment they are started, or those of one that was joined."""

    def __init__(self, folder: str = "") -> None:
        """Take the folder to remove where the process has to be ended as it is."""
        super().__init__(name="life of Ray", daemon=True)
        self.lost: RayLost | None = None
        self._folder = folder
        self._children = True
        self._before = {child.pid for child in psutil.Process().children()}
        self._servers: dict[str, psutil.Process] = {}
        self._address: tuple[str, int] | None = None
        self._answered = self._asked = time.monotonic()
        self._ended, self._left = threading.Event(), threading.Event()
        self._is_main = threading.current_thread() is threading.main_thread()

    def begin(self) -> None:
        """Begin to watch; to be called in the thread that is to be told."""
        if self._is_main:
            self._before_handler = signal.signal(signal.SIGUSR1, self._raise)
        self.start()

    def watch_cluster(self, address: str, node_pid: int | None) -> None:
        """Watch a cluster that was joined, by its node here and its head's address."""
        host, _, port = address.rpartition(":")
        self._children, self._address = False, (host.strip("[]"), int(port))
        self._answered = time.monotonic()
        if node_pid is not None:
            with suppress(psutil.Error):
                self._servers["raylet"] = psutil.Process(node_pid)

    def end(self) -> None:
        """Watch no more: what ends from now on is meant to."""
        self._ended.set()
        self.join()
        if self._is_main:
            signal.signal(signal.SIGUSR1, self._before_handler)

    def leave(self) -> RayLost:
        """Say that the main thread has noticed, and return what to raise; the process ends within END_SECONDS."""
        assert self.lost is not None
        self._left.set()
        atexit.register(self._end)  # before Ray's own, which waits for what is gone
        if self._is_main:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        return self.lost

    def look(self) -> None:
        """Find out at once whether something is gone: an error of Ray's may come before the next look."""
        deadline = time.monotonic() + 1.0
        while self.lost is None and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS / 2)

    def run(self) -> None:
        """Look again and again until the end, of the one or the other."""
        while not self._ended.wait(LOOK_SECONDS):
            if (gone := self._find_gone()) is not None:
                self._give_notice(gone)
                return

    def _find_gone(self) -> str | None:
        if self._children and len(self._servers) < len(SERVERS):
            with suppress(psutil.Error):
                for child in psutil.Process().children():
                    if child.pid not in self._before and child.name() in SERVERS:
                        self._servers.setdefault(child.name(), child)
        for name, server in list(self._servers.items()):
            if not _is_alive(server):
                return f"its process {name} ended"
        if self._address is not None and time.monotonic() - self._asked >= HEAD_LOOK_SECONDS:
            self._asked = time.monotonic()
            with suppress(OSError), socket.create_connection(self._address, HEAD_LOOK_SECONDS):
                self._answered = time.monotonic()
            if time.monotonic() - self._answered > SILENCE_SECONDS:
                return f"its head at {self._address[0]}:{self._address[1]} does not answer"
        return None

    def _give_notice(self, gone: str) -> None:
        whose = "the Ray cluster that was joined" if self._address else "the experiment's Ray"
        self.lost = RayLost(f"{whose} is gone ({gone}); what was finished is kept: {how_to_go_on()}")
        if self._is_main:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        if not self._left.wait(LEAVE_SECONDS):
            Console(stderr=True).print(
                f"error: {self.lost}", style="red", markup=False, highlight=False, soft_wrap=True
            )
            if self._folder:
                shutil.rmtree(self._folder, ignore_errors=True)
            self._end()
        time.sleep(END_SECONDS)
        self._end()

    def _end(self) -> NoReturn:
        kill_raylets(self._servers.get("raylet") if self._children else None)
        _end()

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if self.lost is not None and not self._left.is_set():
            raise self.lost


def kill_raylets(lost: psutil.Process | None = None) -> None:
    """Kill the raylets that this process started, with their workers and agents, and those of one that was `lost`.

    An agent whose raylet is gone ends too late by itself: it waits a minute for a server that is gone as well.
    """
    doomed = []
    with suppress(psutil.Error):
        for raylet in (child for child in psutil.Process().children() if child.name() == "raylet"):
            doomed += [raylet, *raylet.children(recursive=True)]
    if lost is not None:
        doomed += [process for process in psutil.process_iter() if _is_of(process, lost.pid)]
    for process in doomed:
        with suppress(psutil.Error):
            process.kill()


def _is_of(process: psutil.Process, raylet: int) -> bool:
    try:
        return process.environ().get("RAY_RAYLET_PID") == str(raylet)
    except (psutil.Error, OSError):
        return False


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _end() -> NoReturn:
    with suppress(OSError):
        if sys.__stdout__ is not None and sys.__stdout__.isatty():
            sys.__stdout__.write("\x1b[?25h")  # a screen that could not be closed has hidden the cursor
            sys.__stdout__.flush()
        sys.stderr.flush()
    os._exit(2)
