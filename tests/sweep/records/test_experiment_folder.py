"""The experiment's folder: what is written stays whole, and only the same experiment goes on in it."""

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from sweep.analysis.stored_experiment import read_experiment
from sweep.experiment.config import make_sweep
from sweep.records.events import Reported
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.ledger import TrialRecord, read_ledger, read_usage
from sweep.records.parquet import EVALUATION_SCHEMA, RUN_SCHEMA, read_rows
from sweep.records.runs import make_runs
from sweep.records.specification import read_specification
from sweep.records.states import State
from sweep.storage import Folder
from xpe_core.config import FIELDS, RunConfig
from xpe_core.errors import InputError

FINGERPRINTS = {"backbone": "b", "data": "d"}


def open_folder(path: Path, **values: Any) -> ExperimentFolder:
    return ExperimentFolder(path, make_sweep(base={"max_steps": 100}, **values), FINGERPRINTS)


def suggest(folder: ExperimentFolder, number: int = 0) -> TrialRecord:
    """Write a proposal and return it."""
    record = TrialRecord(f"t{number}", number, False, {"encoder_ratio": 0.3}, RunConfig().values, make_runs([1, 2]))
    folder.append(record.suggestion())
    return record


def rows_of(record: TrialRecord, state: str = "complete") -> list[dict[str, Any]]:
    config = record.run_config
    runs = [config.with_seed(run.seed) for run in record.runs]
    return [{**run.values, "run_id": run.run_id, "trial_id": record.trial_id, "state": state} for run in runs]


def counts_of(record: TrialRecord) -> list[dict[str, Any]]:
    counts = {"split": "test", "language": "kat_Geor", "metric": "accuracy", "num_examples": 4, "score_sum": 3}
    return [{"run_id": run_id, **counts} for run_id in record.run_ids]


def test_the_ledger_gives_back_what_was_written(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "x")
    first = suggest(folder)
    suggest(folder, 1)
    folder.append({"event": "report", "trial_id": "t0", "step": 10, "selection_accuracy": 0.25})
    folder.append({"event": "report", "trial_id": "t0", "step": 20, "selection_accuracy": 0.5})
    folder.end(first, State.COMPLETE, None, rows_of(first), counts_of(first))
    folder.close()
    records = read_ledger(tmp_path / "x")
    assert list(records) == ["t0", "t1"]
    assert (records["t0"].state, records["t0"].value, records["t0"].reports) == ("complete", 0.5, {10: 0.25, 20: 0.5})
    assert (records["t1"].state, records["t1"].value) == (None, None)
    assert records["t0"].run_config == RunConfig()


def test_a_line_that_a_killed_driver_left_half_written_is_dropped(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "x")
    record = suggest(folder)
    folder.close()
    with (tmp_path / "x" / "ledger.jsonl").open("a") as ledger:
        ledger.write('{"event": "end", "trial_id": "t0", "sta')
    assert read_ledger(tmp_path / "x")["t0"].state is None
    again = open_folder(tmp_path / "x")
    again.end(record, State.PRUNED, None, [], [])
    again.close()
    assert read_ledger(tmp_path / "x")["t0"].state == "pruned"


def test_what_follows_quickly_is_written_together_and_rows_are_there_before_the_end_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = open_folder(tmp_path / "x")
    monkeypatch.setattr("sweep.records.experiment_folder.FLUSH_SECONDS", 3600.0)
    record = suggest(folder)  # the first event is written at once
    assert list(read_ledger(tmp_path / "x")) == ["t0"]
    folder.end(record, State.COMPLETE, None, rows_of(record), counts_of(record))
    assert read_ledger(tmp_path / "x")["t0"].state is None
    write = Folder.append

    def look_and_write(self: Folder, name: str, content: bytes) -> None:
        assert (
            len(pl.read_parquet(tmp_path / "x" / "runs")) == len(pl.read_parquet(tmp_path / "x" / "evaluations")) == 2
        )
        write(self, name, content)

    monkeypatch.setattr(Folder, "append", look_and_write)
    folder.close()
    assert read_ledger(tmp_path / "x")["t0"].state == "complete"


def test_a_trial_that_ends_twice_counts_once(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "x")
    records = [suggest(folder, number) for number in (0, 1)]
    records[1].config = RunConfig(max_steps=7).values
    for state in ("failed", "complete"):
        for record in records:
            folder.end(record, State(state), None, rows_of(record, state), counts_of(record))
            folder.flush()
    folder.close()
    assert sorted(file.name for file in (tmp_path / "x" / "evaluations").iterdir()) == ["part-0000.parquet"]
    assert len(pl.read_parquet(tmp_path / "x" / "evaluations")) == 4
    assert pl.read_parquet(tmp_path / "x" / "runs")["state"].to_list() == ["complete"] * 4


def test_a_thousand_trials_leave_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_folder(tmp_path / "x")
    monkeypatch.setattr("sweep.records.experiment_folder.FLUSH_SECONDS", 3600.0)
    for number in range(1000):
        record = suggest(folder, number)
        record.config = RunConfig(max_steps=number + 1).values
        folder.end(record, State.COMPLETE, None, rows_of(record), counts_of(record))
    folder.close()
    assert len(pl.read_parquet(tmp_path / "x" / "runs")) == 2000
    assert len([file for file in (tmp_path / "x").rglob("*") if file.is_file()]) <= 30


def test_a_checkpoint_is_kept_until_its_trial_has_ended(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "x")
    record = suggest(folder)
    assert folder.read_checkpoint("t0") is None
    folder.write_checkpoint("t0", b"first")
    folder.write_checkpoint("t0", b"second")
    assert folder.read_checkpoint("t0") == b"second"
    folder.end(record, State.COMPLETE, None, rows_of(record), counts_of(record))
    folder.flush()
    assert folder.read_checkpoint("t0") is None
    assert list((tmp_path / "x" / "checkpoints").iterdir()) == []
    folder.close()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{half a line\n", "line 2 of ledger.jsonl is damaged"),
        ('"no event"\n', "line 2 of ledger.jsonl is damaged"),
        ('{"trial_id": "t0"}\n', "line 2 of ledger.jsonl is damaged"),
        ('{"event": "end", "time": 1, "trial_id": "t9", "state": "complete"}\n', "no beginning of trial t9"),
    ],
)
def test_a_damaged_ledger_is_said_in_a_sentence(tmp_path: Path, line: str, sentence: str) -> None:
    folder = open_folder(tmp_path / "x")
    suggest(folder)
    folder.close()
    with (tmp_path / "x" / "ledger.jsonl").open("a") as file:
        file.write(line)
    with pytest.raises(InputError, match=sentence):
        read_ledger(tmp_path / "x")


def test_a_checkpoint_that_a_killed_driver_left_of_an_ended_trial_goes_at_the_next_start(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "x")
    ended, running = suggest(folder), suggest(folder, 1)
    folder.end(ended, State.COMPLETE, None, rows_of(ended), counts_of(ended))
    folder.close()
    for record in (ended, running):
        (tmp_path / "x" / "checkpoints").mkdir(exist_ok=True)
        (tmp_path / "x" / "checkpoints" / f"{record.trial_id}.safetensors").write_bytes(b"left")
    folder = open_folder(tmp_path / "x")
    assert [file.name for file in (tmp_path / "x" / "checkpoints").iterdir()] == ["t1.safetensors"]
    folder.close()


def test_what_was_reported_before_a_checkpoint_is_in_the_ledger_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = open_folder(tmp_path / "x")
    monkeypatch.setattr("sweep.records.experiment_folder.FLUSH_SECONDS", 3600.0)
    suggest(folder)
    folder.append({"event": "report", "trial_id": "t0", "step": 10, "selection_accuracy": 0.25})
    assert read_ledger(tmp_path / "x")["t0"].reports == {}
    folder.write_checkpoint("t0", b"of step 10")
    assert read_ledger(tmp_path / "x")["t0"].reports == {10: 0.25}
    folder.close()


def test_hours_are_counted_over_starts_without_the_time_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr("time.time", lambda: now)
    for start in (1_000.0, 900_000.0):
        folder = open_folder(tmp_path / "x")
        for now in (start, start + 3600.0, start + 5400.0):
            reported: Reported = {"event": "report", "trial_id": "t0", "step": 1, "selection_accuracy": 0.5}
            folder.append({"event": "start"} if now == start else {**reported, "gpu_seconds": 1350.0})
            folder.flush()
        folder.close()
    usage = read_usage(tmp_path / "x")
    assert usage.hours == pytest.approx(3.0)
    assert usage.gpu_hours == pytest.approx(1.5)


def test_tables_have_their_columns_even_where_a_trial_has_no_values(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "x")
    record = suggest(folder)
    folder.end(record, State.CRASHED, "why", [{**RunConfig().values, "run_id": "r", "state": State.FAILED}], [])
    folder.close()
    runs = pl.read_parquet(tmp_path / "x" / "runs")
    assert runs.columns == RUN_SCHEMA.names and set(FIELDS) <= set(runs.columns)
    assert [runs[name].dtype for name in ("eval_steps", "learning_rate")] == [pl.Int64(), pl.Float64()]
    assert runs["optimizer"].to_list() == ["adafactor"]
    assert pl.read_parquet(tmp_path / "x" / "evaluations").columns == EVALUATION_SCHEMA.names


def test_the_same_experiment_goes_on_and_may_grow(tmp_path: Path) -> None:
    open_folder(tmp_path / "x", num_samples=4).close()
    open_folder(tmp_path / "x", num_samples=8, resources={"max_concurrent_trials": 1}).close()
    open_folder(tmp_path / "x", num_samples=8, seeds=[1, 2, 3]).close()
    sweep = make_sweep(base={"max_steps": 200}, num_samples=8, seeds=(1, 2, 3))
    ExperimentFolder(tmp_path / "x", sweep, FINGERPRINTS).close()
    with pytest.raises(InputError, match=r"base.max_steps was 200 and is now 100; seeds was \[1, 2, 3\] and is now"):
        open_folder(tmp_path / "x", num_samples=8)


def test_a_number_may_be_written_in_another_way(tmp_path: Path) -> None:
    for rate in ("5e-3", 0.005):
        sweep = make_sweep(base={"max_steps": 100, "learning_rate": rate})
        ExperimentFolder(tmp_path / "x", sweep, FINGERPRINTS).close()


def test_a_second_driver_is_refused(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "x")
    with pytest.raises(InputError, match="is being written by another driver"):
        open_folder(tmp_path / "x")
    folder.close()
    open_folder(tmp_path / "x").close()


def test_another_experiment_is_refused_with_the_difference(tmp_path: Path) -> None:
    open_folder(tmp_path / "x", seeds=[1, 2]).close()
    with pytest.raises(InputError, match=r"seeds was \[1, 2\] and is now \[1, 3\].*--name"):
        open_folder(tmp_path / "x", seeds=[1, 3])
    with pytest.raises(InputError, match="the data differ, in content .*fingerprints d and other"):
        sweep = make_sweep(base={"max_steps": 100}, seeds=(1, 2))
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
        suggest(folder)
    folder.close()
    open_folder(tmp_path / "x").close()  # nobody holds it


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00\xff\xfe", b"kind: [grid", b"base: {}", b"1: kind"])
def test_a_damaged_specification_is_one_sentence_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    open_folder(tmp_path / "x").close()
    (tmp_path / "x" / "experiment.yaml").write_bytes(content)
    sentence = f"{tmp_path}/x/experiment.yaml is damaged"
    with pytest.raises(InputError, match=sentence):
        read_specification(tmp_path / "x")
    with pytest.raises(InputError, match=sentence):
        open_folder(tmp_path / "x")


@pytest.mark.parametrize(
    ("table", "column"), [("runs", "selection_accuracy"), ("runs", "batch_size"), ("evaluations", "score_sum")]
)
def test_a_table_of_another_version_that_lacks_what_is_needed_is_refused(
    tmp_path: Path, table: str, column: str
) -> None:
    folder = open_folder(tmp_path / "x")
    record = suggest(folder)
    folder.end(record, State.COMPLETE, None, rows_of(record), counts_of(record))
    folder.close()
    part = tmp_path / "x" / table / "part-0000.parquet"
    whole = pl.read_parquet(part)
    whole.drop("host" if table == "runs" else "loss").write_parquet(part)  # nothing is computed from these
    rows = read_rows(Folder(tmp_path / "x"), table)
    assert rows is not None and len(rows) == 2
    whole.drop(column).write_parquet(part)
    with pytest.raises(InputError, match=f"part-0000.parquet cannot be .* {table}: it lacks the column {column};"):
        read_rows(Folder(tmp_path / "x"), table)


def test_an_older_grid_with_the_defaults_of_other_kinds_is_the_same_one(tmp_path: Path) -> None:
    grid = make_sweep(kind="grid", base={"max_steps": 100}, arms={"spt": {"encoder_ratio": 0.0}})
    ExperimentFolder(tmp_path / "x", grid, FINGERPRINTS).close()
    file = tmp_path / "x" / "experiment.yaml"
    foreign = {"space": {}, "num_samples": 16, "scheduler": {"grace_period": 20}, "of": None, "top": 1, "adapters": {}}
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **foreign}))
    assert read_experiment(Folder(tmp_path / "x")).sweep == grid
    ExperimentFolder(tmp_path / "x", grid, FINGERPRINTS).close()
    assert not foreign.keys() & yaml.safe_load(file.read_text()).keys()
