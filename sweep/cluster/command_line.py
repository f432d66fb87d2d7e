"""The command that this process was started with, as a person types it again."""

import os
import shlex
import sys
from pathlib import Path

LAUNCHED = "XPE_SWEEP_LAUNCHED"
"""Is set where `--cluster` started this process on the head: the command to repeat is another one, elsewhere."""


def this_command() -> str | None:
    """Return this process's command, quoted for a shell, as it was typed; None where nobody typed it here."""
    if os.environ.get(LAUNCHED):
        return None
    return shlex.join([*_program(), *sys.argv[1:]])


def how_to_go_on() -> str:
    """Return the end of a sentence: that the same command goes on, and which one that is."""
    command = this_command()
    return "the same command goes on from here" + (f": {command}" if command else "")


def forget_no_columns() -> None:
    """Take COLUMNS=0, as some shells and editors set it, for not set: Rich would print nothing at all."""
    if not os.environ.get("COLUMNS", "").strip("0 "):
        os.environ.pop("COLUMNS", None)


def _program() -> list[str]:
    """Return the words before the arguments: `xpe-sweep`, or Python with the script or module as it was called."""
    name = Path(sys.argv[0]).name
    if name == "xpe-sweep":
        return [sys.argv[0] if os.sep not in sys.argv[0] or not _is_on_path(sys.argv[0]) else name]
    words = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]
    if len(words) > 1 and sys.orig_argv[len(words) :] == sys.argv[1:]:
        return words
    return ["python", "sweep/run.py"]


def _is_on_path(script: str) -> bool:
    return any(Path(folder) == Path(script).parent for folder in os.get_exec_path())
