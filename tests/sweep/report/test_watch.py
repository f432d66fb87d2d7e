"""A report that follows an experiment: a driver holds the folder while the report is made again and again."""

import io
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from sweep.analysis.report_data import read_reports
from sweep.experiment.config import make_sweep
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.parquet import write_rows
from sweep.report.watch import watch
from sweep.storage import Folder
from tests.making.experiments import make_rows, put, write_grid
from tests.sweep.analysis.test_tables import ARMS, accuracy
from xpe_core.errors import InputError


def test_the_page_follows_a_driver_and_the_last_one_stands_still(tmp_path: Path) -> None:
    folder, target, console = Folder(tmp_path / "made"), Folder(tmp_path / "out"), Console(file=io.StringIO())
    sweep = make_sweep(**{"kind": "grid", "arms": ARMS, "seeds": tuple(range(1, 7))})
    driver = ExperimentFolder(tmp_path / "made", sweep, {})
    thread = threading.Thread(target=watch, args=(console, [folder], lambda: read_reports([folder]), target, 0.05))
    thread.start()
    _wait_for("waiting for the first result", console)
    assert target.read("report.html") is None
    for number, ((arm, _), config) in enumerate(zip(sweep.cells, sweep.corners, strict=True)):
        put(tmp_path / "made", *make_rows(config, number, range(1, 7), accuracy, arm=arm))
        driver.append({"event": "start"})
        driver.flush()
        if number == 0:
            _wait_for("report.html", console)
            page = (target.read("report.html") or b"").decode()
            assert 'data-refresh-seconds="0.05"' in page and "6 of 6 runs unfinished" in page
    assert thread.is_alive()
    driver.close()
    thread.join(60)
    assert not thread.is_alive()
    page = (target.read("report.html") or b"").decode()
    assert "data-refresh-seconds" not in page.split("<head>")[0]
    assert "unfinished" not in page.split("<script")[0] and "made: none yet (no driver at work)" in page


def test_between_two_tables_of_a_trial_it_tries_again(tmp_path: Path) -> None:
    folder, target, console = Folder(tmp_path / "made"), Folder(tmp_path / "out"), Console(file=io.StringIO())
    sweep = make_sweep(**{"kind": "grid", "arms": ARMS, "seeds": tuple(range(1, 7))})
    driver = ExperimentFolder(tmp_path / "made", sweep, {})
    runs, rows = make_rows(sweep.corners[0], 0, range(1, 7), accuracy, arm="spt")
    write_rows(folder, "runs", 0, [run["run_id"] for run in runs], runs)
    thread = threading.Thread(target=watch, args=(console, [folder], lambda: read_reports([folder]), target, 0.05))
    thread.start()
    _wait_for("there are no test results of the 6 runs that are complete; trying again", console)
    put(tmp_path / "made", runs, rows)
    _wait_for("report.html", console)
    driver.close()
    thread.join(60)
    assert not thread.is_alive()


def test_without_a_driver_it_writes_once_and_ends(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, accuracy)
    folder = Folder(tmp_path / "made")
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    watch(console, [folder], lambda: read_reports([folder]), Folder(tmp_path / "out"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "The answer" in text and "Test accuracy in %" in text
    assert (tmp_path / "out" / "report.html").is_file()


def test_where_there_is_neither_result_nor_driver_it_says_so(tmp_path: Path) -> None:
    sweep = make_sweep(**{"kind": "grid", "arms": ARMS, "seeds": (1,)})
    ExperimentFolder(tmp_path / "made", sweep, {}).close()
    folder = Folder(tmp_path / "made")
    with pytest.raises(InputError, match="there are no results, and no driver is at work"):
        watch(Console(file=io.StringIO()), [folder], lambda: read_reports([folder]), folder)


def _wait_for(text: str, console: Console) -> None:
    end = time.monotonic() + 60
    while text not in console.file.getvalue():  # type: ignore[attr-defined]
        assert time.monotonic() < end, text
        time.sleep(0.02)
