"""`log`: brings tools to what an experiment's ledger and tables say."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from sweep.logs.history import Histories
from sweep.logs.secrets import describe_failure
from sweep.logs.tools import open_writer
from sweep.storage import Folder
from xpe_core.errors import InputError


def write_logs(console: Console, folder: Folder, log_folders: Mapping[str, Path | None]) -> None:
    """Write an experiment's results to the tools and say where they are; InputError where a tool fails."""
    histories = Histories.read(folder)
    for tool, log_folder in log_folders.items():
        try:
            writer = open_writer(tool, log_folder, folder.name)
            try:
                for configuration in histories.values():
                    writer.write(configuration)
            finally:
                writer.close()
        except InputError:
            raise
        except Exception as error:  # whatever a tool's package raises
            raise InputError(f"{tool} could not be written: {describe_failure(error)}") from None
        num_runs = sum(len(configuration.runs) for configuration in histories.values())
        console.print(
            f"{tool}: {len(histories)} configurations, {num_runs} runs, in {writer.where}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
