"""While an experiment goes on: each tool has a thread of its own, which the driver hands its news and never waits for.

A tool that fails does the experiment no harm: it is said once, tried again every minute and once more at the end, and
what is missing then can be written afterwards.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shlex import quote
from types import TracebackType

from sweep.driver.entries import describe_report, describe_run
from sweep.driver.messages import TrialReport
from sweep.logs.history import Histories
from sweep.logs.secrets import describe_failure
from sweep.logs.tools import Writer, open_writer
from sweep.records.ledger import TrialRecord
from sweep.records.states import State
from sweep.storage import Folder

RETRY_SECONDS = 60.0
"""Between tries of a tool that failed."""
CLOSE_SECONDS = 60.0
"""How long the tools may take at the end."""

News = tuple[TrialRecord, TrialReport | None, float]


class LiveLogs:
    """A listener of an experiment's driver that tells the tools; to be used as a context manager."""

    def __init__(self, log_folders: Mapping[str, Path | None], folder: Folder, say: Callable[[str], None]) -> None:
        """Start with what the folder of the experiment holds already; `say` is told of a tool that fails."""
        self._say = say
        self._folder = folder
        self._tools = [_Tool(tool, log_folder, folder) for tool, log_folder in log_folders.items()]

    def __enter__(self) -> "LiveLogs":
        for tool in self._tools:
            tool.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the tools write what they have not written yet."""
        for tool in self._tools:
            tool.news.put(None)
        deadline = time.monotonic() + CLOSE_SECONDS
        for tool in self._tools:
            tool.join(max(deadline - time.monotonic(), 0.0))
        self._tell()
        for tool in self._tools:
            if tool.is_alive() or tool.lacks:
                name = quote(self._folder.name)
                self._say(f"{tool.tool} lacks results: python sweep/run.py log {name} --to {tool.tool} writes them")

    def listen(self, record: TrialRecord, report: TrialReport | None) -> None:
        """Pass the driver's news on."""
        # the driver changes the record: what the tools see is how it was now
        news = replace(record, reports={}), report, round(time.time(), 3)
        for tool in self._tools:
            tool.news.put(news)
        self._tell()

    def _tell(self) -> None:
        """Say what has failed, from the driver's own thread."""
        for tool in self._tools:
            if tool.failure is not None and not tool.is_told:
                tool.is_told = True
                self._say(f"{tool.tool} could not be written, the experiment goes on: {tool.failure}")


class _Tool(threading.Thread):
    """Writes the news to one tool."""

    def __init__(self, tool: str, log_folder: Path | None, folder: Folder) -> None:
        super().__init__(name=f"log to {tool}", daemon=True)  # a server that hangs keeps no process alive
        self.tool = tool
        self.news: queue.SimpleQueue[News | None] = queue.SimpleQueue()
        self.failure: str | None = None
        self.is_told = False
        self.lacks = True
        """Whether something has not been written."""
        self._log_folder = log_folder
        self._folder = folder
        self._histories = Histories(folder.name)
        self._writer: Writer | None = None
        self._waiting: set[str] = set()
        self._next_try = 0.0

    def run(self) -> None:
        """Write what there is, then the news as they come, until there are no more."""
        try:
            self._histories = Histories.read(self._folder)
            self._waiting = set(self._histories)
            self._try_to_write()
            is_last = False
            while not is_last:
                is_last = self._take()
                if is_last or time.monotonic() >= self._next_try:
                    self._try_to_write()
            self.lacks = bool(self._waiting)
        except Exception as error:  # nothing here may harm the experiment
            self.failure = describe_failure(error)
        self._close()

    def _take(self) -> bool:
        """Take the news there are, waiting for the first; return whether they are the last."""
        news = [self.news.get()]
        with suppress(queue.Empty):
            while True:
                news.append(self.news.get_nowait())
        for one in news:
            if one is not None:
                self._waiting.add(_take_in(self._histories, *one))
        if None in news:
            self._waiting |= self._histories.pause()
        return None in news

    def _try_to_write(self) -> None:
        try:
            if self._writer is None:
                self._writer = open_writer(self.tool, self._log_folder, self._folder.name)
            for config_id in [config_id for config_id in self._histories if config_id in self._waiting]:
                self._writer.write(self._histories[config_id])
                self._waiting.discard(config_id)
        except Exception as error:  # whatever a tool raises is the tool's alone
            self.failure = describe_failure(error)
            self._next_try = time.monotonic() + RETRY_SECONDS
            self._close()

    def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except Exception as error:
                self.failure = self.failure or describe_failure(error)


def _take_in(histories: Histories, record: TrialRecord, report: TrialReport | None, seconds: float) -> str:
    """Add a piece of news to the histories and return the configuration that it is of."""
    if report is None:
        config_id = histories.begin(record)
        if record.state is not None:  # it was given up
            failed = [{"run_id": run_id, "state": State.FAILED, "error": record.error} for run_id in record.run_ids]
            histories.end(record.trial_id, failed, [])
        return config_id
    if not report.tick:
        histories.report({**describe_report(record, report), "time": seconds})
    if report.done:
        rows = [describe_run(record, report, index) for index in range(len(record.runs))]
        histories.end(record.trial_id, rows, report.rows())
    return record.config_id
