"""How an experiment ends before its end: the first cause counts, workers are waited for, and a signal is answered."""

import os
import signal
import time

import pytest

from sweep.driver import stopping
from sweep.driver.stopping import Stopped, Stopping
from xpe_core.errors import InputError


def test_the_first_cause_counts_and_says_how_the_process_exits() -> None:
    asked = Stopping()
    assert asked.cause is None
    asked.ask(Stopped("interrupted", 130))
    asked.ask(InputError("another"))
    assert isinstance(asked.cause, Stopped)
    assert (str(asked.cause), asked.cause.exit_code) == ("interrupted", 130)
    assert Stopped("stopped on request").exit_code == 0


def test_tune_stops_all_trials_once_they_are_saved_and_none_alone() -> None:
    asked = Stopping()
    asked.ask(Stopped("interrupted"))
    assert asked("trial", {"step": 1}) is False and asked.stop_all() is False
    asked.ready = True
    assert asked.stop_all() is True


def test_workers_are_waited_for_as_long_as_was_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "GRACE_SECONDS", 0.2)
    asked = Stopping()
    assert not asked.is_due  # nothing was asked
    began = time.monotonic()
    asked.ask(Stopped("interrupted"))
    assert not asked.is_due
    while not asked.is_due:
        time.sleep(0.01)
    assert 0.2 <= time.monotonic() - began < 10


def test_a_signal_is_said_with_what_is_waited_for_and_asks_for_the_end() -> None:
    asked, said = Stopping(), list[str]()
    with asked.on_signals(said.append, lambda: "waiting for a trial"):
        os.kill(os.getpid(), signal.SIGTERM)
        deadline = time.monotonic() + 30
        while not (said and asked.cause) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert said == ["Terminated: waiting for a trial"]
    assert isinstance(asked.cause, Stopped)
    assert (str(asked.cause), asked.cause.exit_code) == ("terminated", 128 + signal.SIGTERM)
