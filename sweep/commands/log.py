"""The command `log`."""

from typing import Annotated

import typer
from rich.console import Console

from sweep.commands.options import Kept, LogDir, Storage
from sweep.logs.tools import find_log_folders, parse_tools


def log_experiment(
    name: Kept,
    to: Annotated[list[str], typer.Option("--to", help="tensorboard, mlflow, wandb, or several.")],
    log_dir: LogDir = None,
    storage: Storage = "results",
) -> None:
    """Write an experiment's results to TensorBoard, MLflow or W&B; what is there already is not written again."""
    tools = parse_tools("--to", to)
    from sweep.logs.afterwards import write_logs
    from sweep.records.finding import find_experiment

    folder = find_experiment(storage, name)
    write_logs(Console(), folder, find_log_folders(tools, folder, log_dir))
