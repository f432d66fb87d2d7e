"""What `--cluster` runs on the cluster's head: an experiment as a Ray job, found again by its name.

The job goes on when whoever follows it goes away. Two lines of JSON, which the launcher at the other end takes out of
the output, say that this process has begun and how it ended.
"""

import asyncio
import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from sweep.cluster.command_line import LAUNCHED
from sweep.cluster.versions import package_versions
from sweep.wording import explain
from xpe_core.errors import InputError

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

MARK = "::xpe-sweep:: "
"""Begins a line that is for the launcher."""
OUTBOX = "~/xpe-sweep-outbox"
"""Where results wait for being fetched."""
BROUGHT = (
    *("experiment.yaml", "ledger.jsonl", "*-best.yaml", "report*"),
    *("runs/*.parquet", "evaluations/*.parquet", "adapters/*.safetensors"),
)
"""What of an experiment's folder is brought home: all but checkpoints, with which two drivers could go on."""
RAYS_LINES = re.compile(r"Running entrypoint for job |.*INFO job_(manager|supervisor)\.py|.*INFO worker\.py:\d+ --")

PATIENCE_SECONDS = 120.0
"""How long a Ray that has just started may take until it runs jobs."""


@dataclass(frozen=True)
class Request:
    """What is to be run on the head."""

    arguments: tuple[str, ...]
    """Of `sweep/run.py`; `~/` stands for the head's own."""
    submission_id: str | None = None
    """Of the job; None where the command is over in a moment and needs none."""
    name: str = ""
    """The experiment's."""
    storage: str = ""
    """The folder above the experiment's, from which results are brought; empty where none are."""
    columns: int = 120
    """The terminal's width."""


class End(TypedDict):
    """How a request ended, as the last line for the launcher says."""

    status: int
    """The exit status."""
    brought: bool
    """Whether results wait in `OUTBOX`."""


def main(text: str) -> None:
    """Do what a request in JSON asks for."""
    values = json.loads(text)
    request = Request(**{**values, "arguments": tuple(map(_expand, values["arguments"]))})
    print(f"{MARK}{json.dumps({'begin': True})}", flush=True)
    try:
        _check_packages()
        status = _follow(request) if request.submission_id else _run(request)
        brought = bool(request.storage) and _gather(Path(_expand(request.storage)) / request.name)
    except InputError as error:
        print(f"error: {explain(error)}", flush=True)
        status, brought = 2, False
    print(f"{MARK}{json.dumps(End(status=status, brought=brought))}", flush=True)


def encode(request: Request) -> str:
    """Return the shell's words that run this module with a request."""
    return f"python -m sweep.cluster.job {shlex.quote(json.dumps(asdict(request)))}"


def _check_packages() -> None:
    """Raise InputError where the head has other packages than the project that was brought pins."""
    pins = dict(line.split("==") for line in Path("constraints.txt").read_text().split() if "==" in line)
    for name, found in package_versions().items():
        if name in pins and found.partition("+")[0] != pins[name]:
            raise InputError(
                f"the head has {name} {found}, and constraints.txt pins {pins[name]}: `ray up` sets the cluster up "
                "again (and restarts Ray: wait for what runs)"
            )


def _run(request: Request) -> int:
    environment = {**os.environ, "COLUMNS": str(request.columns)}
    command = [sys.executable, "-m", "sweep.run", *request.arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout, end="", flush=True)  # not the terminal of ssh, whose control characters mean nothing at home
    return done.returncode


def _follow(request: Request) -> int:
    """Start the job, or find it running; show its output from the beginning, and return its exit status."""
    from ray.job_submission import JobStatus, JobSubmissionClient

    assert request.submission_id is not None
    logging.disable(logging.INFO)  # Ray's notices of packages and connections
    try:
        client = JobSubmissionClient()
    except (ConnectionError, RuntimeError) as error:
        raise InputError(f"Ray on the head takes no jobs: {str(error).splitlines()[0]}") from None
    known = {job.submission_id: job for job in client.list_jobs()}.get(request.submission_id)
    if known and not known.status.is_terminal():
        same = (known.metadata or {}).get("arguments") == shlex.join(request.arguments)
        other = "" if same else " with other arguments, and these count from its next start"
        print(f"{request.name} is running already{other}; this is its output from the beginning.", flush=True)
        shown = int((known.metadata or {}).get("begins", 0))
    else:
        shown = 0
        if known:  # Ray keeps the output of a job that had the same id, and appends to it
            shown = len(client.get_job_logs(request.submission_id))
            client.delete_job(request.submission_id)
        _submit(client, request, shown)
    while True:
        shown = asyncio.run(_show(client, request.submission_id, shown))
        info = client.get_job_info(request.submission_id)
        if info.status.is_terminal():
            break
        time.sleep(1.0)
    if info.status == JobStatus.STOPPED:
        return 143
    if info.driver_exit_code is None and info.status == JobStatus.FAILED:
        raise InputError(f"the job did not start: {' '.join((info.message or 'Ray does not say why').split())}")
    status = info.driver_exit_code or 0
    return status if status >= 0 else 128 - status


def _submit(client: "JobSubmissionClient", request: Request, begins: int) -> None:
    """Start the job, whose output begins after so many characters; a Ray that has just started is waited for."""
    words = [sys.executable, "-m", "sweep.run", *request.arguments]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            client.submit_job(
                entrypoint=f"COLUMNS={request.columns} {LAUNCHED}=1 exec {shlex.join(words)}",
                submission_id=request.submission_id,
                # every worker, also one that joins later, gets the code that was brought now, through Ray
                runtime_env={"working_dir": str(Path.cwd())},
                metadata={"arguments": shlex.join(request.arguments), "begins": str(begins)},
            )
            return
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                reason = " ".join(str(error).split())
                raise InputError(f"Ray on the head does not take the job: {reason}") from None
        time.sleep(2.0)


async def _show(client: "JobSubmissionClient", submission_id: str, shown: int) -> int:
    """Print a job's output after its first `shown` characters until it ends or the connection does; return where."""
    seen, rest = 0, ""
    try:
        async for text in client.tail_job_logs(submission_id):
            new = text[max(shown - seen, 0) :] if seen < shown else text
            seen += len(text)
            *lines, rest = (rest + new).split("\n")
            for line in lines:
                if not RAYS_LINES.match(line):
                    print(line, flush=True)
    except RuntimeError:  # the connection to Ray's own server broke
        pass
    if rest and not RAYS_LINES.match(rest):
        print(rest, flush=True)
    return max(seen, shown)


def _gather(folder: Path) -> bool:
    """Lay an experiment's results where they are fetched; False where there are none."""
    target = Path(OUTBOX).expanduser() / folder.name
    shutil.rmtree(target, ignore_errors=True)
    results = [file for pattern in BROUGHT for file in folder.glob(pattern) if file.is_file()]
    for file in results:
        copy = target / file.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy)
    return bool(results)


def _expand(argument: str) -> str:
    return os.path.expanduser(argument) if argument.startswith("~/") else argument


if __name__ == "__main__":
    main(*sys.argv[1:])
