"""What takes longer than a moment, shown while it does: a bar in a terminal, one line a minute in a log.

What is over quickly is not shown at all. Steps are shown on standard error, so that answers can be sent into a file.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Column

from sweep.wording import format_duration
from xpe_core.steps import Step, listening

QUIET_SECONDS = 2.0
"""How long what is done is not shown in a terminal."""
LINE_SECONDS = 60.0
"""Between two lines where there is no terminal, and before the first."""
REFRESH_SECONDS = 0.25
WIDE = 90
"""Columns of a terminal from which on there is room for a bar beside the words."""


@contextmanager
def show_steps(
    console: Console, quiet_seconds: float = QUIET_SECONDS, line_seconds: float = LINE_SECONDS
) -> Iterator[None]:
    """Show the long steps of what is done within, the innermost that is begun."""
    with listening(_ShownSteps(console, quiet_seconds, line_seconds).show):
        yield


def describe_step(step: Step, seconds: float) -> str:
    """Return what is done and how far it is after so many seconds, in words."""
    if not step.total:
        return f"{step.name} ({format_duration(seconds)})"
    left = f", about {format_duration(seconds / step.done * (step.total - step.done))} to go" if step.done else ""
    return f"{step.name}: {step.done:,} of {step.total:,} {step.unit} ({format_duration(seconds)}{left})"


class _ShownSteps:
    """The steps that are being done; a thread shows them as long as there are any."""

    def __init__(self, console: Console, quiet_seconds: float, line_seconds: float) -> None:
        self._console = console
        self._quiet_seconds = quiet_seconds
        self._line_seconds = line_seconds
        self._begun: list[tuple[Step, float]] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def show(self, step: Step) -> Iterator[None]:
        """Show a step until it ends."""
        self._begun.append((step, time.monotonic()))
        if self._thread is None:
            self._ended.clear()
            target = self._draw if self._console.is_terminal else self._write
            self._thread = threading.Thread(target=target, name="steps", daemon=True)
            self._thread.start()
        try:
            yield
        finally:
            self._begun.pop()
            if not self._begun:  # what is printed next must not meet a bar
                self._ended.set()
                self._thread.join()
                self._thread = None

    def _draw(self) -> None:
        if self._ended.wait(self._quiet_seconds):
            return
        text_column = TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold"))
        columns = [SpinnerColumn(), text_column, *([BarColumn(20)] if self._console.width >= WIDE else [])]
        with Progress(
            *columns, console=self._console, transient=True, redirect_stdout=False, redirect_stderr=False
        ) as bar:
            task = bar.add_task("", total=None)
            while not self._ended.wait(REFRESH_SECONDS):
                for step, started in self._begun[-1:]:
                    text = describe_step(step, time.monotonic() - started)
                    bar.update(task, description=text, total=step.total, completed=step.done)

    def _write(self) -> None:
        while not self._ended.wait(self._line_seconds):
            for step, started in self._begun[-1:]:
                text = describe_step(step, time.monotonic() - started)
                self._console.print(text, soft_wrap=True, markup=False, highlight=False)
