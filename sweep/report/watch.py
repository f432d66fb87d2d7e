"""A report that follows experiments while they run: page and terminal are written again as results come in."""

import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.text import Text

from sweep.analysis.report_data import ReportData
from sweep.records.ledger import read_events, read_ledger
from sweep.report.answer_sheets import answer_sheets
from sweep.report.inspection import count_states
from sweep.report.main_sheets import main_sheets
from sweep.report.page import PAGE, write_pages
from sweep.report.terminal import print_problems, print_sheet
from sweep.storage import Folder
from sweep.storage.lock import is_running
from xpe_core.errors import InputError

POLL_SECONDS = 5.0
"""How often experiments are looked at, and an open page loads itself again."""
SHARE_AT_WORK = 0.2
"""Of its time at most; a report of a thousand runs takes seconds, and a driver may need the same cores."""


def watch(
    console: Console,
    folders: Sequence[Folder],
    make: Callable[[], Sequence[ReportData]],
    target: Folder,
    poll_seconds: float = POLL_SECONDS,
    page: str = PAGE,
) -> None:
    """Keep page and terminal up to date until no driver is at work on any of the experiments.

    What a driver wrote before it ended is in the last page, which does not load itself again.
    """
    before: tuple[int, ...] | None = None
    announced = False
    while True:
        # first whether it is running, then what is there: what comes between them is in the next round
        running = any(is_running(folder) for folder in folders)
        events = tuple(len(read_events(folder)) for folder in folders)
        begun = time.monotonic()
        if any((folder / "runs").names(".parquet") for folder in folders):
            if events != before or not running:
                before = events
                try:
                    _show(console, folders, make(), target, page, poll_seconds if running else None)
                except InputError as error:
                    if not running:
                        raise
                    # a driver may be between two tables of the same trial
                    console.print(Text(f"{error}; trying again"), soft_wrap=True)
                    before = None
        elif not running:
            raise InputError(f"{', '.join(map(str, folders))}: there are no results, and no driver is at work there")
        elif not announced:
            console.print(Text(f"{_say_status(folders)}; waiting for the first result"), soft_wrap=True)
            announced = True
        if not running:
            return
        time.sleep(max(poll_seconds, (time.monotonic() - begun) * (1 / SHARE_AT_WORK - 1)))


def _show(
    console: Console,
    folders: Sequence[Folder],
    reports: Sequence[ReportData],
    target: Folder,
    page: str,
    refresh_seconds: float | None,
) -> None:
    status = _say_status(folders)
    write_pages(reports, target, page, status, refresh_seconds)
    line = f"{time.strftime('%H:%M:%S')}  {status}; page: {target / page}"
    if not console.is_terminal:  # a file that grows by a line, not by all tables
        console.print(Text(line), soft_wrap=True)
        return
    console.clear()
    console.print(Text(line, style="bold"), soft_wrap=True)
    for data in reports:
        print_problems(console, data.problems)
        for sheet in [*answer_sheets(data), *main_sheets(data)]:
            print_sheet(console, sheet)


def _say_status(folders: Sequence[Folder]) -> str:
    """Return how far each experiment is, in one line."""
    parts = []
    for folder in folders:
        at_work = "running" if is_running(folder) else "no driver at work"
        parts.append(f"{folder.name}: {count_states(read_ledger(folder))} ({at_work})")
    return "; ".join(parts)
