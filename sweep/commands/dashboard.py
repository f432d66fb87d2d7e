"""The command `dashboard`."""

from typing import Annotated

import typer
from rich.console import Console

from sweep.commands.options import Kept, Storage


def dashboard(
    name: Kept,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 8080,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    storage: Storage = "results",
) -> None:
    """Show a search in the Optuna dashboard, in a browser; a running one is kept up to date."""
    from sweep.logs.dashboard import serve
    from sweep.records.finding import find_experiment

    serve(Console(), find_experiment(storage, name), host, port)
