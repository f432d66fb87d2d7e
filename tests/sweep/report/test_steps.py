"""Long steps are shown, quick ones are not."""

import io
import time

import pytest
from rich.console import Console

from sweep.report.steps import describe_step, show_steps
from xpe_core.steps import Step, listening, long_step


def show(is_terminal: bool, until: str = "", quiet_seconds: float = 0.02, width: int = 100) -> str:
    """Return what is printed while a step is done, which ends when `until` has been printed."""
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=width)
    deadline = time.monotonic() + 20
    with show_steps(console, quiet_seconds, line_seconds=max(quiet_seconds, 0.1)):
        with long_step("Preparing"), long_step("Tokenising", 1000, "texts") as step:
            step.done = 250
            while until not in printed(console):
                assert time.monotonic() < deadline, printed(console)
                time.sleep(0.02)
        console.print("after")
    return printed(console)


def printed(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_quick_step_is_not_shown() -> None:
    assert show(True, quiet_seconds=30) == show(False, quiet_seconds=30) == "after\n"


def test_a_long_step_is_a_bar_in_a_terminal_that_is_gone_afterwards() -> None:
    shown = show(True, "Tokenising: 250 of 1,000 texts")
    assert "━" in shown
    assert shown.endswith("\x1b[2Kafter\n")


def test_there_is_a_line_at_a_time_where_there_is_no_terminal() -> None:
    lines = show(False, "to go)\nTokenising").splitlines()
    assert {line.split(" (")[0] for line in lines[:-1]} == {"Tokenising: 250 of 1,000 texts"}
    assert lines[-1] == "after" and len(lines) < 20


def test_a_narrow_terminal_cuts_nothing() -> None:
    assert "…" not in show(True, "1,000", width=30)


def test_what_is_left_is_estimated_from_what_is_done() -> None:
    assert describe_step(Step("Reading", 200, "rows", 50), 20) == "Reading: 50 of 200 rows (20 s, about 60 s to go)"
    assert describe_step(Step("Reading", 200, "rows"), 20) == "Reading: 0 of 200 rows (20 s)"
    assert describe_step(Step("Reading"), 20) == "Reading (20 s)"


def test_an_interrupt_ends_a_step_at_once() -> None:
    console = Console(file=io.StringIO(), force_terminal=True)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), show_steps(console, 0.01, 60), long_step("Tokenising"):
        time.sleep(0.3)
        raise KeyboardInterrupt
    assert time.monotonic() - started < 2
    assert printed(console).endswith("\x1b[2K")


def test_nobody_needs_to_listen() -> None:
    with long_step("Reading") as step:
        step.done += 1
    with listening(None), long_step("Reading"):
        pass
