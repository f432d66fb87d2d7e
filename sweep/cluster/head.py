"""A cluster's head, reached with Ray's own `up`, `exec`, `rsync-up` and `rsync-down`, which need ssh alone.

Ray's commands end with 1 whatever the command on the head ended with, and repeat ssh's whole command line on an error;
what is worth telling is taken out of their output.
"""

import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from sweep.cluster.job import MARK, End
from sweep.cluster.sections import Section, section, texts
from xpe_core.errors import InputError

ROOT = Path(__file__).parents[2]
INPUTS = "~/xpe-sweep-inputs"
"""On the head: what was brought, each in a folder named by its content."""


NUM_LINES = 4
"""Of what a command said last."""
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
ANNOUNCED = re.compile(r"\(\d+/\d+\) (?P<command>.+)|\[\d/\d\] (?P<step>.+)")
"""Ray's line before it runs a command on the head, or a step with commands that it does not name."""
FAILED = re.compile(r"Failed\.|New status: update-failed|!!!|Error: .*command failed", re.IGNORECASE)
RAYS_NOTE = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ (INFO|WARNING) ")
DULL = (
    "Command failed:",
    "Shared connection",
    "ssh ",
    "rsync ",
    "Connection to ",
    "Error: Command failed",
    "Error: SSH command failed",
)
"""How lines begin that repeat Ray's or ssh's own command."""


class Head:
    """A cluster's head, reached with Ray's commands."""

    def __init__(self, file: str, config: Section) -> None:
        self._file = str(Path(file).resolve())
        self._config = config
        for program in ("ssh", "rsync"):
            if shutil.which(program) is None:
                raise InputError(f"--cluster needs the program {program}, and there is none on PATH")
        provider = section(config, "provider")
        if provider["type"] == "local" and "head_ip" in provider:
            self._remember_head()

    def is_up(self) -> bool:
        """Whether Ray runs there; InputError where that cannot be known."""
        said = (
            f"echo {shlex.quote(MARK + 'reached')}; ray health-check >/dev/null 2>&1 && echo {shlex.quote(MARK + 'up')}"
        )
        output = self._ray("exec", f"{said} || true", check=False)
        lines = [line.strip() for line in output.splitlines()]  # Ray repeats the command where ssh fails, in one line
        if f"{MARK}reached" in lines:
            return f"{MARK}up" in lines
        if "Head node of cluster" in output and "not found" in output:
            return False
        raise InputError(f"the head of {self._config['cluster_name']} cannot be reached: {_last_line(output)}")

    def start(self) -> None:
        """Run `ray up`; InputError with the command that failed there, and what it said, where one did."""
        with self._start("up", "--yes", "--disable-usage-stats") as process:
            output, _ = process.communicate()
        if process.returncode:
            failure = describe_failure(str(output), self._commands()) or _last_line(str(output))
            host = section(self._config, "provider").get("head_ip") or f"of cluster {self._config['cluster_name']}"
            raise InputError(f"ray up {self._file} failed on the head {host}: {failure}")

    def _commands(self) -> list[str]:
        """Return what `ray up` runs on the head, each in one line."""
        keys = ("initialization_commands", "setup_commands", "head_setup_commands", "head_start_ray_commands")
        return [" ".join(command.split()) for key in keys for command in texts(self._config, key)]

    def upload(self, folder: Path) -> None:
        """Bring a folder's content to `INPUTS`."""
        self._ray("rsync-up", f"{folder}/", f"{INPUTS}/")

    def download(self, there: str, here: Path) -> None:
        """Bring a folder's content here."""
        here.mkdir(parents=True, exist_ok=True)
        self._ray("rsync-down", there, f"{here.resolve()}/")

    def run(self, command: str, console: Console) -> End | None:
        """Run a command there and show its output; return how it ended, None where the connection did before.

        InputError where it did not begin.
        """
        begun, last = False, [""]
        end: End | None = None
        with self._start("exec", command) as process:
            assert process.stdout is not None
            for line in process.stdout:
                line = line.rstrip("\r\n")
                if line.startswith(MARK):
                    begun, end = True, _read_end(line) or end
                elif begun and end is None:
                    console.print(line, markup=False, soft_wrap=True)
                elif line.strip():
                    last.append(line)
        if not begun:
            raise InputError(f"nothing could be run on the head: {_last_line(chr(10).join(last))}")
        return end

    def _ray(self, command: str, *arguments: str, check: bool = True) -> str:
        with self._start(command, *arguments) as process:
            output, _ = process.communicate()
        if check and process.returncode:
            raise InputError(f"ray {command} {self._file} failed: {_last_line(output)}")
        return str(output)

    @contextmanager
    def _start(self, command: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start one of Ray's commands, out of reach of this terminal's Ctrl-C, and see to its end."""
        options = ["--log-style", "pretty", "--log-color", "false"]
        if command.startswith("rsync"):
            options.append("-v")  # else what rsync says of a failure is lost
        file_first = [self._file, *arguments] if command != "up" else [*arguments, self._file]
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", command, *options, *file_first],
            cwd=ROOT,
            env={"RAY_UP_enable_autoscaler_v2": "1", **os.environ},  # its default, without the notice of it
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None and sys.exc_info()[0] is not None:
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def _remember_head(self) -> None:
        """Let Ray know that the head may be up.

        Of machines of one's own it knows only what it has started itself from this computer since its last boot, and
        would otherwise restart a head on which others run experiments.
        """
        from ray.autoscaler._private.local.node_provider import LocalNodeProvider, record_local_head_state_if_needed

        logging.getLogger("ray.autoscaler").setLevel(logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # Ray leaves the closing of its files to chance
            record_local_head_state_if_needed(LocalNodeProvider(self._config["provider"], self._config["cluster_name"]))


def describe_failure(output: str, commands: Sequence[str]) -> str | None:
    """Return which of the commands on the head failed and its last lines, out of what `ray up` said; None for neither.

    Ray announces each command, truncated after some letters, shows what it says, and then that it failed.
    """
    lines = [" ".join(COLOUR.sub("", line).split()) for line in output.splitlines()]
    end = next((index for index, line in enumerate(lines) if FAILED.match(line)), None)
    if end is None:
        return None
    begin = next((index for index in range(end - 1, -1, -1) if ANNOUNCED.match(lines[index])), None)
    if begin is None:
        return None
    matched = ANNOUNCED.match(lines[begin])
    assert matched is not None
    said = [
        line for line in lines[begin + 1 : end] if line and not line.startswith(DULL) and not RAYS_NOTE.match(line)
    ][-NUM_LINES:]
    what = matched["command"] or matched["step"]
    if what.endswith("..."):
        what = next((command for command in commands if command.startswith(what.removesuffix("..."))), what)
    return f"{what} failed" + (f", saying: {' | '.join(said)}" if said else " without a word")


def _read_end(line: str) -> End | None:
    """Return how a request ended, None where the line for the launcher says that it began."""
    message = json.loads(line.removeprefix(MARK))
    return End(status=message["status"], brought=message["brought"]) if "status" in message else None


def _last_line(output: str) -> str:
    """Return the last line that says something: Ray repeats the command after ssh's own words."""
    lines = [" ".join(line.split()) for line in output.splitlines()]
    said = [line for line in lines if line and not line.startswith((*DULL, MARK))]
    return said[-1] if said else "it says nothing"
