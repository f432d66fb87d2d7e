"""The command line: `python sweep/run.py`, or `xpe-sweep` where the package is installed.

Torch and Ray take seconds to import, so they are imported by the commands that need them and a misspelt key is answered
at once.
"""

import atexit
import gc
import sys
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from sweep.cluster.command_line import forget_no_columns
from sweep.commands.best import best
from sweep.commands.check_data import check_data
from sweep.commands.compare import compare
from sweep.commands.dashboard import dashboard
from sweep.commands.evaluate import evaluate
from sweep.commands.export import export
from sweep.commands.grid import grid
from sweep.commands.list import list_experiments
from sweep.commands.log import log_experiment
from sweep.commands.options import Command, LocalCommand, StartOptions, spread_options
from sweep.commands.predict import predict
from sweep.commands.replicate import replicate
from sweep.commands.report import report
from sweep.commands.search import search
from sweep.commands.show import show
from sweep.commands.status import status
from sweep.commands.stop import stop
from sweep.commands.study import study
from sweep.commands.transfer import transfer
from sweep.report.steps import show_steps
from sweep.wording import explain
from xpe_core.errors import InputError

ANYWHERE: dict[str, Callable[..., None]] = {
    **{command.__name__: spread_options(command) for command in (search, grid, study, replicate, transfer, evaluate)},
    **{"list": list_experiments, "status": status, "show": show, "stop": stop},
}
"""Run on a cluster where `--cluster` stands before them."""
HERE: dict[str, Callable[..., None]] = {
    **{"report": report, "best": best, "compare": compare, "export": export},
    **{"log": log_experiment, "dashboard": dashboard},
}
"""Read what is here."""
ON_TEXTS: dict[str, Callable[..., None]] = {"predict": predict, "check-data": check_data}
"""For texts and data of one's own."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def begin(
    context: typer.Context,
    cluster: Annotated[
        str | None, typer.Option("--cluster", help="Run the command on the cluster of this file.")
    ] = None,
) -> None:
    """Search over prompt configurations on a frozen multilingual encoder.

    Without a command: search what this machine can do.
    """
    context.obj = cluster
    if context.invoked_subcommand is None:
        if cluster is not None:
            raise InputError(f"--cluster {cluster}: say what to run there, such as search quickstart")
        search(options=StartOptions())


for name, command in ANYWHERE.items():
    app.command(name, cls=Command)(command)
for name, command in HERE.items():
    app.command(name, cls=LocalCommand)(command)
for name, command in ON_TEXTS.items():
    app.command(name)(command)


def main() -> None:
    """Run the command line; a mistake of the user's ends in one sentence and exit status 2."""
    forget_no_columns()
    atexit.register(gc.freeze)  # else Python's last search for garbage, of no use, takes seconds
    try:
        with show_steps(Console(stderr=True)):
            app()
    except InputError as error:
        _refuse(explain(error))
    except PermissionError as error:  # of a file of another user's, wherever it is opened
        _refuse(
            f"{error.filename}: {error.strerror}; this user must be allowed to read it"
            if error.filename
            else str(error)
        )


def _refuse(sentence: str) -> NoReturn:
    Console(stderr=True).print(f"error: {sentence}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
