"""What the storage's commands print."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sweep.experiment.config import make_sweep
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.ledger import TrialRecord
from sweep.records.runs import make_runs
from sweep.records.states import State
from sweep.report.inspection import print_experiments, print_status, stop_experiment
from sweep.report.one_run import print_run
from xpe_core.config import RunConfig
from xpe_core.errors import InputError


@pytest.fixture
def storage(tmp_path: Path) -> str:
    """Write an experiment of one trial that has ended and one that has not."""
    folder = ExperimentFolder(tmp_path / "mine", make_sweep(base={"max_steps": 100}), {})
    for number, ratio in enumerate((0.0, 0.3)):
        config = RunConfig(max_steps=100, encoder_ratio=ratio)
        record = TrialRecord(f"t{number}", number, False, {"encoder_ratio": ratio}, config.values, make_runs([1, 2]))
        folder.append(record.suggestion())
        folder.append({"event": "report", "trial_id": f"t{number}", "step": 50, "selection_accuracy": 0.25})
        if number == 0:
            rows = [{**config.with_seed(seed).values, "run_id": record.run_ids[seed - 1]} for seed in (1, 2)]
            counts: dict[str, Any] = {
                "split": "test",
                "language": "kat_Geor",
                "metric": "accuracy",
                "num_examples": 4,
                "score_sum": 3,
            }
            folder.end(record, State.COMPLETE, None, rows, [{"run_id": record.run_ids[0], **counts}])
    folder.close()
    return str(tmp_path)


def text_of(console: Console) -> str:
    return " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=100)


def test_the_list_says_how_far_each_experiment_is(storage: str, console: Console) -> None:
    print_experiments(console, storage)
    assert "mine search 1 complete, 1 unfinished 25.0 0 s –" in text_of(console)


def test_the_status_shows_every_trial(storage: str, console: Console) -> None:
    print_status(console, storage, "mine")
    text = text_of(console)
    assert "mine (search): 1 complete, 1 unfinished; 0 s." in text
    assert "1 complete 50/100 25.0 * encoder_ratio=0" in text
    assert "2 to go on 50/100 25.0 encoder_ratio=0.3" in text
    assert "No driver is at work on it." in text


def test_a_run_is_found_by_its_first_digits(storage: str, console: Console) -> None:
    run_id = RunConfig(max_steps=100, encoder_ratio=0.0).run_id
    print_run(console, storage, run_id[:6])
    text = text_of(console)
    assert f"run {run_id} of mine" in text
    assert "max_steps 100" in text and "kat_Geor Georgian 75.0 3/4" in text
    assert "test 75.0 %, the mean over 1 language" in text
    with pytest.raises(InputError, match="holds no run 'zzz'"):
        print_run(console, storage, "zzz")
    with pytest.raises(InputError, match="run '' could be .*; give more digits"):
        print_run(console, storage, "")


def test_what_is_not_there_is_said(storage: str, tmp_path: Path, console: Console) -> None:
    with pytest.raises(InputError, match="holds no experiment 'other'; there are mine"):
        print_status(console, storage, "other")
    with pytest.raises(InputError, match="no driver is at work on"):
        stop_experiment(console, storage, "mine")
    with pytest.raises(InputError, match="is not there .* holds no experiment; say where with --storage DIR"):
        print_experiments(console, str(tmp_path / "nowhere"))


def test_a_driver_at_work_is_seen_and_asked_to_stop(storage: str, tmp_path: Path, console: Console) -> None:
    folder = ExperimentFolder(tmp_path / "mine", make_sweep(base={"max_steps": 100}), {})
    try:
        print_experiments(console, storage)
        assert "running" in text_of(console)
        assert not folder.is_asked_to_stop()
        stop_experiment(console, storage, "mine")
        assert folder.is_asked_to_stop()
    finally:
        folder.close()
    again = ExperimentFolder(tmp_path / "mine", make_sweep(base={"max_steps": 100}), {})
    assert not again.is_asked_to_stop()  # the request was for the driver before
    again.close()


def test_a_damaged_experiment_is_a_row_of_the_list_and_the_others_are_listed(
    storage: str, tmp_path: Path, console: Console
) -> None:
    for name, content in (("alien", b"hello"), ("binary", b"\x00\xff")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "experiment.yaml").write_bytes(content)
    print_experiments(console, storage)
    text = text_of(console)
    assert "alien damaged – – – –" in text and "binary damaged – – – –" in text
    assert "mine search 1 complete, 1 unfinished 25.0 0 s –" in text
    assert f"{tmp_path}/alien/experiment.yaml is damaged" in text
