"""What the ledger keeps of a trial's runs, and what it reads of older ledgers."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from sweep.records.events import Event, parse_event, write_event
from sweep.records.ledger import LEDGER, TrialRecord, read_events, read_ledger, read_usage
from sweep.records.parquet import read_rows, write_rows
from sweep.records.runs import RunKey, make_runs
from sweep.storage import Folder
from tests.golden.cases import OLD
from xpe_core.config import RunConfig
from xpe_core.errors import InputError

ADAPTED = RunKey(2, "kat_Geor")


def make_record(*runs: RunKey) -> TrialRecord:
    return TrialRecord("t0", 0, False, {"encoder_ratio": 0.3}, RunConfig().values, runs, "xpe")


@pytest.mark.parametrize("runs", [make_runs([1, 2]), (RunKey(1), ADAPTED, RunKey(2))])
def test_a_trial_is_read_as_it_was_suggested(runs: tuple[RunKey, ...]) -> None:
    record = make_record(*runs)
    assert TrialRecord.from_suggestion(json.loads(json.dumps(record.suggestion()))) == record


def test_runs_of_the_same_seed_that_are_adapted_to_different_languages_have_different_ids() -> None:
    config = RunConfig(seed=7)
    keys = (RunKey(2), ADAPTED, RunKey(2, "yor_Latn"), RunKey(3, "kat_Geor"))
    assert len({key.run_id(config) for key in keys}) == len(keys)
    assert RunKey(2).run_id(config) == config.with_seed(2).run_id
    assert make_record(*keys).run_ids == [key.run_id(config) for key in keys]


def test_an_older_ledger_names_the_seeds_of_its_runs() -> None:
    ledger = (OLD / "small" / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
    suggested = [event for event in map(json.loads, ledger) if event["event"] == "suggested"]
    assert suggested and all("runs" not in event and event["seeds"] == [1, 2] for event in suggested)
    records = read_ledger(OLD / "small")
    assert [record.runs for record in records.values()] == [make_runs([1, 2])] * len(suggested)


def test_a_run_of_an_older_table_is_adapted_to_nothing(tmp_path: Path) -> None:
    old = read_rows(Folder(OLD / "small"), "runs")
    assert old is not None and old["adapted_to"].null_count == old["parent_run_id"].null_count == len(old) > 0
    rows = old.to_pylist()
    rows[0] |= {"adapted_to": "kat_Geor", "parent_run_id": "0123456789abcdef"}
    write_rows(Folder(tmp_path), "runs", 0, [], rows)
    again = read_rows(Folder(tmp_path), "runs")
    assert again is not None and again.equals(pa.Table.from_pylist(rows, schema=old.schema))


@pytest.mark.parametrize(
    "event",
    [
        {"event": "report", "time": 1, "trial_id": "t0", "step": 1},
        {"event": "failure", "time": 1, "trial_id": "t0", "num_errors": "many"},
        {"event": "start"},
        {"event": ["start"], "time": 1},
        ["start"],
    ],
)
def test_an_event_that_lacks_what_is_read_of_it_is_damaged(tmp_path: Path, event: object) -> None:
    (tmp_path / LEDGER).write_text('{"event": "start", "time": 1}\n' + json.dumps(event) + "\n")
    with pytest.raises(InputError, match=f"line 2 of {LEDGER} is damaged"):
        read_ledger(tmp_path)


def test_of_an_event_of_another_version_only_the_time_is_read(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_text(
        '{"event": "start", "time": 100}\n{"event": "note", "trial_id": 3, "time": 3700}\n', encoding="utf-8"
    )
    assert read_events(tmp_path) == [{"event": "start", "time": 100.0}, {"event": "other", "time": 3700.0}]
    assert read_ledger(tmp_path) == {} and read_usage(tmp_path).hours == 1.0


def test_an_older_ledger_does_not_say_whether_a_node_was_lost(tmp_path: Path) -> None:
    lost = {"event": "lost", "time": 1.0, "trial_id": "t0", "error": "The actor died."}
    (tmp_path / LEDGER).write_text(json.dumps(lost) + "\n", encoding="utf-8")
    assert read_events(tmp_path) == [lost] and read_ledger(tmp_path) == {}


def test_an_error_that_is_no_valid_text_is_kept_as_it_is() -> None:
    event: Event = {"event": "failure", "trial_id": "t0", "num_errors": 1, "error": "no file \udcff"}
    assert parse_event(write_event(event, 1.5)) == {**event, "time": 1.5}
