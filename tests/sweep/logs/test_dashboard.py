"""The Optuna dashboard, as its own HTTP interface shows a search."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweep.experiment.search import Search
from sweep.logs.dashboard import DashboardStudy
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.ledger import TrialRecord, read_ledger
from sweep.records.runs import make_runs
from sweep.records.states import State
from sweep.storage import Folder
from tests.conftest import Refuse
from tests.making.experiments import run_study, write_grid, write_search
from tests.sweep.experiment.test_study import make_study

ROOT = Path(__file__).parents[3]
SEARCH = {
    "space": {
        "encoder_ratio": {"uniform": [0.1, 0.9], "step": 0.1},
        "learning_rate": {"log_uniform": [1e-4, 1e-2]},
        "encoder_hidden_size": {"choice": [32, 64]},
    },
    "num_samples": 6,
    "seeds": [1, 2],
}
TRIALS: list[tuple[dict[str, Any], str, float, int]] = [
    ({"encoder_ratio": 0.0, "learning_rate": 1e-3}, "complete", 0.4, 500),
    ({"encoder_ratio": 0.5, "learning_rate": 2e-3, "encoder_hidden_size": 32}, "complete", 0.7, 500),
    ({"encoder_ratio": 0.3, "learning_rate": 1e-4, "encoder_hidden_size": 64}, "pruned", 0.2, 100),
    ({"encoder_ratio": 0.9, "learning_rate": 1e-2, "encoder_hidden_size": 64}, "failed", 0.1, 200),
]
PORT = "0"  # any that is free


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a search that has ended."""
    place = tmp_path_factory.mktemp("results")
    write_search(place / "mine", Search(**SEARCH), TRIALS, lambda config, language: 0.5)
    return place


@pytest.fixture(scope="module")
def served(storage: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Serve it from the command line; give the process and the address that it prints."""
    arguments = [sys.executable, "sweep/run.py", "dashboard", "mine", "--port", PORT, "--storage", str(storage)]
    variables = {**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        arguments,
        cwd=ROOT,
        env=variables,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # a shell's background jobs, of which the tests may be one, begin with Ctrl-C ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        assert line.startswith("mine at http://127.0.0.1:"), line + str(process.stderr and process.stderr.read())
        yield process, line.split()[2]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ask(address: str) -> Any:
    with urllib.request.urlopen(address) as answer:
        return json.load(answer)


def test_the_dashboard_has_every_trial_as_the_ledger_has_it(
    served: tuple[subprocess.Popen[str], str], storage: Path
) -> None:
    address = served[1]
    (summary,) = ask(f"{address}api/studies")["study_summaries"]
    assert (summary["study_name"], summary["directions"]) == ("mine", ["maximize"])
    study = ask(f"{address}api/studies/{summary['study_id']}")
    records = list(read_ledger(storage / "mine").values())
    assert len(study["trials"]) == len(records) == 4
    states = {"complete": "Complete", "pruned": "Pruned", "failed": "Fail"}
    for trial, record in zip(study["trials"], records, strict=True):
        assert (trial["number"], trial["state"]) == (record.number, states[str(record.state)])
        params = {one["name"]: json.loads(one["param_external_value"]) for one in trial["params"]}
        assert params == record.params
        assert {one["step"]: one["value"] for one in trial["intermediate_values"]} == record.reports
        assert trial.get("values") == (None if record.state == "failed" else [record.value])
        attributes = {one["key"]: one["value"] for one in trial["user_attrs"]}
        assert json.loads(attributes["run_ids"]) == record.run_ids
        assert json.loads(attributes["seeds"]) == [1, 2]
        assert record.run_config.method in attributes["method"] and str(record.state) in attributes["state"]


def test_the_page_itself_is_served(served: tuple[subprocess.Popen[str], str]) -> None:
    with urllib.request.urlopen(served[1]) as answer:
        assert answer.url.endswith("/dashboard") and b"<html" in answer.read()


def test_a_port_in_use_is_one_sentence(
    served: tuple[subprocess.Popen[str], str], storage: Path, refuse: Refuse
) -> None:
    port = served[1].rstrip("/").rpartition(":")[2]
    sentence = refuse("dashboard", "mine", "--port", port, "--storage", str(storage))
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use; say another --port" in sentence


def test_ctrl_c_ends_it_without_an_error(served: tuple[subprocess.Popen[str], str]) -> None:
    process, address = served
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    port = int(address.rstrip("/").rpartition(":")[2])
    with socket.socket() as free:
        assert free.connect_ex(("127.0.0.1", port)) != 0


def test_a_running_search_is_kept_up_to_date(tmp_path: Path) -> None:
    sweep = Search(**SEARCH)
    opened = ExperimentFolder(tmp_path / "mine", sweep, {})
    params = TRIALS[1][0]
    record = TrialRecord("t0", 0, False, params, sweep.config(params).values, make_runs([1, 2]))
    opened.append(record.suggestion())
    study = DashboardStudy(Folder(tmp_path / "mine"))
    states = []
    for step, value in ((100, 0.3), (200, 0.6)):
        opened.append({"event": "report", "trial_id": "t0", "step": step, "selection_accuracy": value})
        opened.flush()
        study.refresh()
        (trial,) = study.storage.get_all_trials(0)
        states.append((trial.state.name, dict(trial.intermediate_values)))
    opened.end(record, State.PRUNED, None, [], [])
    opened.close()
    study.refresh()
    study.refresh()
    (trial,) = study.storage.get_all_trials(0)
    assert states == [("RUNNING", {100: 0.3}), ("RUNNING", {100: 0.3, 200: 0.6})]
    assert (trial.state.name, trial.value, trial.user_attrs["state"]) == ("PRUNED", 0.6, "pruned")


def test_a_grid_has_no_dashboard(tmp_path: Path, refuse: Refuse) -> None:
    write_grid(tmp_path / "table", {"spt": {"encoder_ratio": 0.0}}, lambda config, language: 0.5)
    sentence = refuse("dashboard", "table", "--storage", str(tmp_path))
    assert "table is a grid, and the dashboard shows searches: python sweep/run.py report table" in sentence


def test_what_runs_here_is_not_asked_of_a_cluster(refuse: Refuse) -> None:
    for arguments in (["dashboard", "mine"], ["report", "mine"], ["best", "mine"], ["log", "mine", "--to", "mlflow"]):
        assert f"{arguments[0]} runs here" in refuse("--cluster", "cluster.yaml", *arguments)


def test_every_search_of_a_study_is_a_study_of_optunas(tmp_path: Path) -> None:
    made = make_study(budget={"trials": 3}, seeds=[1])
    run_study(tmp_path / "mine", made, lambda run, code: 0.5, lambda run: 0.4)
    studies = DashboardStudy(Folder(tmp_path / "mine"))
    studies.refresh()
    names = {one.study_name: one._study_id for one in studies.storage.get_all_studies()}
    assert list(names) == [f"mine: {method}" for method in made.methods]
    assert [len(studies.storage.get_all_trials(study_id)) for study_id in names.values()] == [3, 3, 3]
