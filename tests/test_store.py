"""The experiment's folder: what is written stays whole, and only the same experiment goes on in it."""

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sweep.config import SweepConfig
from sweep.store import EVALUATION_SCHEMA, RUN_SCHEMA, ExperimentFolder, read_ledger
from xpe_core.config import RunConfig
from xpe_core.errors import InputError

FINGERPRINTS = {"backbone": "b", "data": "d"}


def open_folder(path: Path, **values: Any) -> ExperimentFolder:
    return ExperimentFolder(path, SweepConfig(base={"max_steps": 100}, **values), FINGERPRINTS)


def suggested(trial_id: str = "t1", number: int = 0) -> dict[str, Any]:
    config = RunConfig().model_dump()
    event = {"event": "suggested", "trial_id": trial_id, "number": number, "baseline": False}
    return {**event, "params": {"encoder_ratio": 0.3}, "config": config, "seeds": [1, 2]}


def test_the_ledger_gives_back_what_was_written(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "x")
    folder.append(suggested("t1"))
    folder.append(suggested("t2", 1))
    folder.append({"event": "report", "trial_id": "t1", "step": 10, "selection_accuracy": 0.25})
    folder.append({"event": "report", "trial_id": "t1", "step": 20, "selection_accuracy": 0.5})
    folder.append({"event": "end", "trial_id": "t1", "state": "complete", "error": None})
    folder.close()
    records = read_ledger(tmp_path / "x")
    assert list(records) == ["t1", "t2"]
    assert (records["t1"].state, records["t1"].value, records["t1"].reports) == ("complete", 0.5, {10: 0.25, 20: 0.5})
    assert (records["t2"].state, records["t2"].value) == (None, None)
    assert records["t1"].run_config == RunConfig()


def test_a_line_that_a_killed_driver_left_half_written_is_dropped(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "x")
    folder.append(suggested("t1"))
    folder.close()
    with (tmp_path / "x" / "ledger.jsonl").open("a") as ledger:
        ledger.write('{"event": "end", "trial_id": "t1", "sta')
    again = open_folder(tmp_path / "x")
    again.append({"event": "end", "trial_id": "t1", "state": "pruned", "error": None})
    again.close()
    assert read_ledger(tmp_path / "x")["t1"].state == "pruned"


def test_a_table_written_twice_counts_once_and_leaves_no_other_file(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "x")
    row = {"run_id": "r", "split": "test", "language": "kat_Geor", "num_examples": 4, "num_correct": 3}
    for _ in range(2):
        folder.write_evaluations("t1", [row])
    folder.close()
    assert [file.name for file in (tmp_path / "x" / "evaluations").iterdir()] == ["t1.parquet"]
    table = pl.read_parquet(tmp_path / "x" / "evaluations")
    assert table.rows() == [("r", "test", "kat_Geor", 4, 3, None, None)]


def test_tables_have_their_columns_even_where_a_trial_has_no_values(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "x")
    folder.write_runs("t1", [{**RunConfig().model_dump(), "run_id": "r", "state": "failed", "error": "why"}])
    folder.write_evaluations("t1", [])
    folder.close()
    runs = pl.read_parquet(tmp_path / "x" / "runs")
    assert runs.columns == RUN_SCHEMA.names and set(RunConfig.model_fields) <= set(runs.columns)
    assert [runs[name].dtype for name in ("eval_steps", "learning_rate")] == [pl.Int64(), pl.Float64()]
    assert runs["optimizer"].to_list() == ["adafactor"]
    assert pl.read_parquet(tmp_path / "x" / "evaluations").columns == EVALUATION_SCHEMA.names


def test_the_same_experiment_goes_on_and_may_grow(tmp_path: Path) -> None:
    open_folder(tmp_path / "x", num_samples=4).close()
    open_folder(tmp_path / "x", num_samples=8, resources={"max_concurrent_trials": 1}).close()


def test_a_number_may_be_written_in_another_way(tmp_path: Path) -> None:
    for rate in ("5e-3", 0.005):
        sweep = SweepConfig(base={"max_steps": 100, "learning_rate": rate})
        ExperimentFolder(tmp_path / "x", sweep, FINGERPRINTS).close()


def test_a_second_driver_is_refused(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "x")
    with pytest.raises(InputError, match="is being written by another search"):
        open_folder(tmp_path / "x")
    folder.close()
    open_folder(tmp_path / "x").close()


def test_another_experiment_is_refused_with_the_difference(tmp_path: Path) -> None:
    open_folder(tmp_path / "x", seeds=[1, 2]).close()
    with pytest.raises(InputError, match=r"seeds was \[1, 2\] and is now \[1, 3\].*--name"):
        open_folder(tmp_path / "x", seeds=[1, 3])
    with pytest.raises(InputError, match="fingerprints.data was 'd' and is now 'other'"):
        sweep = SweepConfig(base={"max_steps": 100}, seeds=(1, 2))
        ExperimentFolder(tmp_path / "x", sweep, {**FINGERPRINTS, "data": "other"})


def test_a_storage_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=f"storage {tmp_path}/file/x cannot be written .*--storage DIR"):
        open_folder(tmp_path / "file" / "x")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full to write to")
def test_a_full_disk_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "ledger.jsonl").symlink_to("/dev/full")
    folder = open_folder(tmp_path / "x")
    with pytest.raises(InputError, match="no space left for .*make room and start the same command again"):
        folder.append(suggested())
    folder.close()
