"""TensorBoard: a folder a configuration, in it a folder a run with its event file.

The event files are written with tensorboardX, which Ray brings; its record writer and not its SummaryWriter, whose
thread keeps a full disk to itself. The HParams page compares configurations: runs of one are a group there.
"""

import socket
import time
from pathlib import Path

from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import RecordWriter

from sweep.logs.history import ConfigurationHistory, RunHistory
from sweep.logs.marks import empty, is_written, mark, take
from sweep.records.states import State

OF_A_RUN = ("seed", "run_id")


class TensorBoardWriter:
    """Writes event files below a folder."""

    def __init__(self, log_folder: Path) -> None:
        self._lock = take(log_folder)
        self.where = str(log_folder)
        self._folder = log_folder
        self._open: dict[str, _EventFile] = {}

    def write(self, configuration: ConfigurationHistory) -> None:
        """Write what the event files lack of a configuration."""
        for run in configuration.runs.values():
            folder, digest = self._folder / configuration.name / f"seed-{run.seed}", run.digest()
            file = self._open.get(run.run_id)
            if file is None:
                if is_written(folder, digest):
                    continue
                empty(folder)
                file = self._open[run.run_id] = _EventFile(folder)
            file.write(run)
            if run.state != State.RUNNING:
                self._open.pop(run.run_id).close()
                mark(folder, digest)

    def close(self) -> None:
        """Close the event files of what still runs."""
        try:
            while self._open:
                self._open.popitem()[1].close()
        finally:
            self._lock.release()


class _EventFile:
    """A run's event file."""

    def __init__(self, folder: Path) -> None:
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"
        self._records = RecordWriter(str(folder / name))
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        self._step = 0

    def write(self, run: RunHistory) -> None:
        """Write the points that are new and, at its end, the results."""
        for point in run.points.values():
            if point.step > self._step:
                for name, value in point.metrics.items():
                    scalar = summary.scalar(name, value)
                    self._write(Event(wall_time=point.time, step=point.step, summary=scalar))
                self._step = point.step
        if run.has_ended:
            end = max((point.time for point in run.points.values()), default=time.time())
            for name, value in run.results.items():
                scalar = summary.scalar(name, value)
                self._write(Event(wall_time=end, step=run.num_steps, summary=scalar))
            params = {name: value for name, value in run.params.items() if name not in OF_A_RUN}
            last = run.points[run.num_steps].metrics if run.points else {}
            for part in summary.hparams({**params, "state": run.state.value}, {**last, **run.results}):
                self._write(Event(wall_time=end, summary=part))
        self._records.flush()

    def close(self) -> None:
        """Close the file."""
        self._records.close()

    def _write(self, event: Event) -> None:
        self._records.write(event.SerializeToString())
