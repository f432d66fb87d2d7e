"""Ray workers that start as copies of a process which has already imported what a trial needs.

Every worker is a process of its own that runs Ray's own worker program, with the arguments, environment and output that
Ray gives it; only the seconds of imports before that are spent once for all of them. Ray starts `attach` in place of
Python (its runtime environment's `py_executable`), `attach` hands everything to `serve`, and that forks.
"""

import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parents[2]


@contextmanager
def preloaded_workers(folder: str) -> Iterator[dict[str, str]]:
    """Start the process to copy, with its socket in a folder, and give the runtime environment that uses it."""
    address = os.path.join(folder, "workers")
    arguments = [sys.executable, "-m", "tests.making.preloaded_workers", "serve", address]
    # it ends with its input, and so with this process; a Ctrl-C is not for it
    with subprocess.Popen(
        arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as server:
        assert server.stdout is not None and server.stdout.readline() == b"listening\n"
        # without site-packages, which `attach` does not need, Python starts at once
        yield {"py_executable": f"{sys.executable} -I -S {__file__} attach {address}"}


def attach(address: str, arguments: list[str]) -> None:
    """Let a copy run a Python program with its arguments as this process would, and wait for its end."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        request = json.dumps([arguments, dict(os.environ), os.getcwd()]).encode()
        socket.send_fds(connection, [len(request).to_bytes(4, "big")], [0, 1, 2])
        connection.sendall(request)
        connection.recv(1)


def serve(address: str) -> None:
    """Import what is slow, then run every program that is asked for in a copy of this process.

    Not Ray itself: it reads settings, which differ from worker to worker, when it is imported.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("listening", flush=True)  # whoever asks already now waits for the imports

        import pandas  # noqa: F401
        import pyarrow.dataset  # noqa: F401
        import transformers.models.xlm_roberta.modeling_xlm_roberta  # noqa: F401

        import xpe_core.training.training  # noqa: F401

        signal.signal(signal.SIGCHLD, _reap)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.setsid()  # Ray ends a worker with all of its process group
                listener.close()
                return _run(connection)
            connection.close()


def _reap(number: int, frame: FrameType | None) -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _run(connection: socket.socket) -> None:
    """Become what `attach` asked for; the connection stays open until this process ends."""
    size, files, *_ = socket.recv_fds(connection, 4, 3)
    with connection.makefile("rb") as request:
        sys.argv, environment, folder = json.loads(request.read(int.from_bytes(size, "big")))
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    role, address, *program = sys.argv[1:]
    if role == "attach":
        attach(address, program)
    else:
        serve(address)
