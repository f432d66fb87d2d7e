"""Which tools there are, what each needs, and where it writes."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sweep.storage import Folder
from xpe_core.errors import InputError
from xpe_core.lists import split_list

if TYPE_CHECKING:
    from sweep.logs.history import ConfigurationHistory

TOOLS = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
"""The package that writes for each."""
INSTALL = "pip install -c constraints.txt -e '.[tools]'"


class Writer(Protocol):
    """Brings one tool to what histories say."""

    where: str
    """What a person opens or is told, without passwords."""

    def write(self, configuration: "ConfigurationHistory") -> None:
        """Write what the tool lacks of a configuration; whatever the tool's package raises comes through."""

    def close(self) -> None:
        """Finish what is open."""


def parse_tools(option: str, values: Sequence[str]) -> tuple[str, ...]:
    """Return the tools of an option, given several times or with commas; InputError names the option.

    The packages must be installed, which is looked at without importing them.
    """
    named = [name.lower() for value in values for name in split_list(value)]
    if values and not named:
        raise InputError(
            f"{option}: names no tool; allowed are {', '.join(TOOLS)}, or several with commas between them"
        )
    for name in named:
        if name not in TOOLS:
            raise InputError(
                f"{option} {name}: must be {', '.join(TOOLS)}, or several of these with commas between them"
            )
        if find_spec(TOOLS[name]) is None:
            raise InputError(f"{option} {name} needs the package {TOOLS[name]}, which is not installed: {INSTALL}")
    return tuple(dict.fromkeys(named))


def find_log_folders(tools: Sequence[str], folder: Folder, log_dir: str | None) -> dict[str, Path | None]:
    """Return each tool's folder on this machine; None where it has a server, and the experiment is in object storage.

    InputError where a tool writes files and there is no folder for them: object storage takes whole files only.
    """
    if log_dir is not None and "://" in log_dir:
        raise InputError(f"--log-dir {log_dir}: must be a folder on this machine")
    if log_dir is not None:
        above: Path | None = Path(log_dir).expanduser().absolute() / folder.name
    else:
        above = None if folder.path is None else folder.path.absolute() / "logs"
    for tool in tools:
        if above is None and not has_server(tool):
            server = {"mlflow": "set MLFLOW_TRACKING_URI or ", "wandb": "log in to W&B or "}.get(tool, "")
            raise InputError(f"{tool} cannot write to {folder}, object storage: {server}say where with --log-dir DIR")
    return {tool: above / tool if above is not None else None for tool in tools}


def has_server(tool: str) -> bool:
    """Whether a tool sends what it is told to a server, and needs no folder."""
    if tool == "wandb":
        from sweep.logs.to_wandb import find_mode

        return find_mode() != "offline"
    return tool == "mlflow" and bool(os.environ.get("MLFLOW_TRACKING_URI"))


def open_writer(tool: str, log_folder: Path | None, experiment: str) -> Writer:
    """Open a tool; whatever its package raises comes through."""
    if tool == "tensorboard":
        from sweep.logs.to_tensorboard import TensorBoardWriter

        assert log_folder is not None
        return TensorBoardWriter(log_folder)
    if tool == "mlflow":
        from sweep.logs.to_mlflow import MLflowWriter

        return MLflowWriter(log_folder, experiment)
    from sweep.logs.to_wandb import WandbWriter

    return WandbWriter(log_folder, experiment)
