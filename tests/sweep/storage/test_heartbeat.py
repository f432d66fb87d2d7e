"""The lock in object storage: one writes, the dead let go, and who was paused for too long writes no more."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweep.storage import Folder
from sweep.storage.heartbeat import DRIVER, Heartbeat
from sweep.storage.lock import Lock, is_running
from xpe_core.errors import InputError

ROOT = Path(__file__).parents[3]
HOLD = """
import sys, time
from sweep.storage import heartbeat
from sweep.storage.lock import Lock
from sweep.storage import Folder
from xpe_core.errors import InputError
heartbeat.HEARTBEAT_SECONDS = 1.0
lock = Lock(Folder(sys.argv[1]))
print("held", flush=True)
try:
    while True:
        time.sleep(0.2)
        lock.check()
except InputError as error:
    print(error, flush=True)
"""


@pytest.fixture
def folder(bucket: str) -> Folder:
    return Folder(f"{bucket}/results/mine")


def hold(folder: Folder) -> "subprocess.Popen[str]":
    """Start another process that takes the lock, and return it when it has it."""
    arguments = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_driver_is_refused_until_the_first_lets_go(folder: Folder) -> None:
    lock = Lock(folder)
    assert is_running(folder)
    with pytest.raises(InputError, match=f"is being written by another driver \\(process {os.getpid()} on "):
        Lock(folder)
    lock.check()
    lock.release()
    assert not is_running(folder) and folder.names() == []
    Lock(folder).release()


def test_a_driver_that_was_killed_here_is_known_to_be_dead_at_once(folder: Folder) -> None:
    with hold(folder) as process:
        assert is_running(folder)
        with pytest.raises(InputError, match=f"process {process.pid} on "):
            Lock(folder)
        process.kill()
        process.wait()
        assert folder.read(DRIVER) is not None and not is_running(folder)
        Lock(folder).release()


def test_a_driver_elsewhere_is_dead_when_nothing_is_heard_of_it(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = {"token": "other", "host": "elsewhere", "pid": 1, "started": 1.0, "space": "elsewhere"}
    folder.write(DRIVER, json.dumps(mark).encode())
    with pytest.raises(InputError, match="process 1 on elsewhere.*killed on another machine lets go after 60 seconds"):
        Lock(folder)
    assert is_running(folder)
    monkeypatch.setattr("sweep.storage.heartbeat.HEARTBEAT_SECONDS", 0.5)
    time.sleep(3)  # the server's clock shows whole seconds
    assert not is_running(folder)
    Lock(folder).release()


def test_a_wrong_clock_makes_no_driver_dead(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, now = Lock(folder), time.time
    with monkeypatch.context() as wrong:
        wrong.setattr("time.time", lambda: now() + 3600)
        with pytest.raises(InputError, match="is being written by another driver"):
            Lock(folder)
    lock.check()
    lock.release()


def test_of_two_that_start_at_once_one_is_refused(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    sleep, others = time.sleep, []

    def start_another(seconds: float) -> None:
        monkeypatch.setattr("time.sleep", sleep)
        folder.delete(DRIVER)  # it looked before there was one
        others.append(Lock(folder))

    monkeypatch.setattr("time.sleep", start_another)
    with pytest.raises(InputError, match="is being written by another driver"):
        Lock(folder)
    others[0].check()
    others[0].release()


def test_a_driver_lives_as_long_as_its_heartbeat(folder: Folder) -> None:
    with hold(folder) as process:
        before = folder.modified(DRIVER)
        time.sleep(4)
        assert (folder.modified(DRIVER) or 0) > (before or 0)
        with pytest.raises(InputError, match="is being written by another driver"):
            Lock(folder)
        process.kill()


def test_a_driver_that_was_paused_for_too_long_says_so_and_writes_no_more(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.storage.heartbeat.HEARTBEAT_SECONDS", 1.0)
    with hold(folder) as process:
        process.send_signal(signal.SIGSTOP)
        time.sleep(5)
        lock = Lock(folder)
        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate(timeout=30)
        assert output.startswith(f"{folder} was taken over by another driver, because nothing was heard of this one")
        lock.check()
        lock.release()


def test_a_driver_that_was_paused_while_another_came_and_went_writes_no_more(folder: Folder) -> None:
    lock = Lock(folder)
    folder.delete(DRIVER)
    with pytest.raises(InputError, match="was taken over by another driver"):
        lock.check()
    other = Lock(folder)
    lock.release()
    other.check()
    other.release()


def test_a_heartbeat_that_comes_late_ends_its_own_driver_and_not_the_one_that_took_over(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.storage.heartbeat.HEARTBEAT_SECONDS", 0.5)
    monkeypatch.setattr(Heartbeat, "_measure_age", lambda self: float("inf"))
    paused, write, others = Heartbeat(folder), Heartbeat._write, list[Heartbeat]()

    def take_over_before(self: Heartbeat) -> None:
        if self is paused and not others:  # it had looked already, and was about to write
            others.append(Heartbeat(folder))
        write(self)

    monkeypatch.setattr(Heartbeat, "_write", take_over_before)
    with pytest.raises(InputError, match="was taken over by another driver"):
        for _ in range(200):
            paused.check()
            time.sleep(0.05)
    others[0].check()
    time.sleep(1)
    others[0].check()
    assert json.loads(folder.read(DRIVER) or b"") == vars(others[0]._mark)
    with pytest.raises(InputError, match="was taken over by another driver"):
        paused.check()
    others[0].release()


def test_a_mark_of_a_third_driver_ends_one_that_took_over_itself(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Heartbeat, "_measure_age", lambda self: float("inf"))
    first, second, third = (Heartbeat(folder) for _ in range(3))
    for lost in (first, second):
        with pytest.raises(InputError, match="was taken over by another driver"):
            lost.check()
    third.check()
    for one in (first, second, third):
        one.release()
    assert folder.names() == []
