"""Ctrl-C and its like, answered at once, whatever the main thread is in.

Python runs a signal's handler in the main thread, between two of its own instructions: a call into Ray, torch or a
tokenizer keeps it waiting for seconds. A signal's number is written into a socket in the moment that it comes, so a
thread that waits there can answer.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from sweep.cluster.life import kill_raylets

NAMES = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "the terminal was closed"}
"""What each signal is to a person; all are answered alike."""

Answer = Callable[[signal.Signals], str]
Say = Callable[[str], None]


@contextmanager
def answered(
    say: Say, answer: Answer, act: Callable[[signal.Signals], None], patience_seconds: float | None = None
) -> Iterator[None]:
    """Answer the first SIGINT, SIGTERM or SIGHUP of the block; a second one ends the process at once.

    At the first one a thread says the `answer`, and the main thread calls `act` as soon as it can. Where it could not
    end the block within `patience_seconds`, the process is ended. Outside of the main thread signals are left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [number for number in NAMES if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    come = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if not come.is_set():
            come.set()
            act(signal.Signals(number))

    there, here = socket.socketpair()
    there.setblocking(False)
    before = {number: signal.signal(number, handle) for number in numbers}
    descriptor = signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(
        target=_wait, args=(here, set(numbers), say, answer, patience_seconds), name="signals", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        there.close()  # ends the thread
        thread.join()
        here.close()


def _wait(here: socket.socket, numbers: set[int], say: Say, answer: Answer, patience_seconds: float | None) -> None:
    first: signal.Signals | None = None
    while True:
        try:
            received = here.recv(1)
        except TimeoutError:
            received = bytes([first or 0])
        if not received:
            return
        if received[0] not in numbers:
            continue
        number = signal.Signals(received[0])
        if first is not None:
            end_now(128 + number)
        first = number
        if number == signal.SIGHUP:
            _leave_terminal()
        here.settimeout(patience_seconds)
        with suppress(OSError, ValueError):  # nobody may be reading any more
            say(answer(number))


def end_now(status: int) -> None:
    """End the process as it is, and the Ray that it started, with the terminal's cursor shown again."""
    kill_raylets()
    with suppress(OSError, ValueError):
        if sys.__stdout__ is not None and sys.__stdout__.isatty():
            os.write(sys.__stdout__.fileno(), b"\r\n\x1b[?25h")
    os._exit(status)


def _leave_terminal() -> None:
    """Write nowhere what would go to a terminal that is gone: an error in the middle of an end would spoil it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        if os.isatty(descriptor):
            os.dup2(nowhere, descriptor)
    os.close(nowhere)
