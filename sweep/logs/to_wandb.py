"""Weights & Biases: a group a configuration, in it its runs; W&B itself shows a group's means.

Sent to the server where one is logged in, else written for `wandb sync`; WANDB_MODE decides over both. A run's id at
W&B derives from the experiment's name and its run_id. On the server it is resumed, and steps it has are not sent again;
on the disk its folder is written anew.
"""

import netrc
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from sweep.logs.history import ConfigurationHistory, RunHistory
from sweep.logs.marks import empty, is_written, mark, take
from sweep.records.states import State

if TYPE_CHECKING:
    import wandb

HOST = "https://api.wandb.ai"
PROJECT = "xpe-sweep"
Mode = Literal["online", "offline", "disabled", "shared"]
MODES: dict[str, Mode] = {"online": "online", "offline": "offline", "disabled": "disabled", "shared": "shared"}
KEYS = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")
FAILED = 1
"""The exit status that W&B shows as failed."""


def find_mode() -> Mode:
    """Return `online` where one is logged in, else `offline`; or what WANDB_MODE says."""
    if mode := os.environ.get("WANDB_MODE"):
        return MODES.get(mode, "offline")
    if any(os.environ.get(name) for name in KEYS):
        return "online"
    file = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        known = netrc.netrc(str(file)).authenticators(urlsplit(os.environ.get("WANDB_BASE_URL") or HOST).netloc)
    except (OSError, netrc.NetrcParseError):
        return "offline"
    return "offline" if known is None else "online"


class WandbWriter:
    """Writes runs of one W&B project (WANDB_PROJECT, else xpe-sweep)."""

    def __init__(self, log_folder: Path | None, experiment: str) -> None:
        self._mode = find_mode()
        # without a folder all goes to a server, and what W&B puts by on its way is of no use afterwards
        self._scratch = tempfile.TemporaryDirectory(prefix="xpe-sweep-wandb-") if log_folder is None else None
        self._folder = Path(self._scratch.name) if self._scratch else Path(str(log_folder))
        self._lock = take(self._folder)
        project = os.environ.get("WANDB_PROJECT") or PROJECT
        self.where = str(log_folder) if self._mode == "offline" else f"project {project}"
        self._experiment = experiment
        self._project = project
        self._open: dict[str, wandb.Run] = {}
        self._steps: dict[str, int] = {}

    def write(self, configuration: ConfigurationHistory) -> None:
        """Write what W&B lacks of a configuration."""
        for run in configuration.runs.values():
            folder, digest = self._folder / run.run_id, run.digest()
            if run.run_id not in self._open:
                if is_written(folder, digest):
                    continue
                empty(folder)
                self._start(configuration, run, folder)
            self._write_run(run)
            if run.state != State.RUNNING:
                self._open.pop(run.run_id).finish(exit_code=FAILED if run.state == State.FAILED else 0)
                mark(folder, digest)

    def close(self) -> None:
        """Finish the runs of what still runs."""
        try:
            while self._open:
                self._open.popitem()[1].finish(exit_code=0)
        finally:
            self._lock.release()
            if self._scratch:
                self._scratch.cleanup()

    def _start(self, configuration: ConfigurationHistory, run: RunHistory, folder: Path) -> None:
        import wandb

        settings = wandb.Settings(
            console="off",
            silent=True,
            reinit="create_new",  # several runs are open at once
            x_disable_stats=True,  # of this machine, not of the workers'
            x_disable_meta=True,
            disable_git=True,
            disable_code=True,
        )
        opened = wandb.init(
            project=self._project,
            group=f"{self._experiment}/{configuration.name}",
            id=f"{self._experiment}-{run.run_id}",
            name=f"{configuration.name}-seed-{run.seed}",
            tags=[str(run.params["method"])],
            config=dict(run.params),
            dir=str(folder),
            mode=self._mode,
            resume=None if self._mode == "offline" else "allow",
            settings=settings,
        )
        self._open[run.run_id] = opened
        self._steps[run.run_id] = opened.step - 1 if opened.resumed else 0  # a resumed one is past its last step

    def _write_run(self, run: RunHistory) -> None:
        opened = self._open[run.run_id]
        for point in run.points.values():
            if point.step > self._steps[run.run_id]:
                opened.log({**point.metrics, "_timestamp": point.time}, step=point.step)
                self._steps[run.run_id] = point.step
        opened.summary.update({"state": run.state.value, **({"error": run.error} if run.error else {}), **run.results})
