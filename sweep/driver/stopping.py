"""Why and how an experiment ends before its end: a signal, a request, a budget, or the same error again and again."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ray import tune

from sweep.driver.interrupts import NAMES, Say, answered
from sweep.driver.messages import Wire

GRACE_SECONDS = 30.0
"""How long workers are waited for, that they may send a checkpoint."""


class Stopped(Exception):
    """The experiment was ended before its end; what was written is whole, and the same command goes on."""

    def __init__(self, reason: str, exit_code: int = 0) -> None:
        """Take what to tell a person, and the process's exit status."""
        super().__init__(reason)
        self.exit_code = exit_code


class Stopping(tune.Stopper):
    """Whether the experiment is being ended, since when and why; Tune asks it whether to go on."""

    def __init__(self) -> None:
        self.cause: Exception | None = None
        self.ready = False
        """Whether all that runs has been saved, so that Tune may stop it."""
        self._deadline = 0.0

    def __call__(self, trial_id: str, result: Wire) -> bool:
        """Never stop a trial alone."""
        return False

    def stop_all(self) -> bool:
        """Whether Tune is to stop every trial."""
        return self.ready

    def ask(self, cause: Exception) -> None:
        """End the experiment for this cause; the first one counts."""
        if self.cause is None:
            self.cause, self._deadline = cause, time.monotonic() + GRACE_SECONDS

    @property
    def is_due(self) -> bool:
        """Whether workers have been waited for long enough."""
        return self.cause is not None and time.monotonic() >= self._deadline

    @contextmanager
    def on_signals(self, say: Say, describe: Callable[[], str]) -> Iterator[None]:
        """Ask for the end at the first SIGINT, SIGTERM or SIGHUP; a second one ends the process at once.

        What is waited for, as `describe` has it, is said immediately.
        """

        def answer(number: signal.Signals) -> str:
            return f"{NAMES[number].capitalize()}: {describe()}"

        with answered(say, answer, lambda number: self.ask(Stopped(NAMES[number], 128 + number))):
            yield
