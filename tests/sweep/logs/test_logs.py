"""Experiments in TensorBoard, MLflow and W&B: every number of ledger and tables is there once, as their readers say."""

import json
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto import wandb_internal_pb2

from sweep.analysis import read_evaluations, read_runs, target_groups
from sweep.analysis.targets import Exclusion
from sweep.driver.tuner import run_experiment
from sweep.experiment.config import make_sweep
from sweep.logs.history import ConfigurationHistory, Histories
from sweep.logs.live import LiveLogs
from sweep.logs.secrets import hide_secrets
from sweep.logs.tools import find_log_folders, open_writer
from sweep.planning.plan import prepare
from sweep.records.ledger import read_events, read_ledger
from sweep.records.states import State
from sweep.storage import Folder
from tests.conftest import Refuse, Run, make_search_in_order
from xpe_core.errors import InputError

SECRET = "never-to-be-seen-0123456789abcdef0123456"
CURVES = {"validation_accuracy", "selection_accuracy", "train_loss"}
Values = dict[str, dict[int, float]]
"""Values by metric and step."""

UNTRAINED = Exclusion("trained", frozenset({"eng_Latn"}))
"""What the search trains on, and is tested on, is in no row."""


@pytest.fixture(scope="module")
def environment() -> Iterator[pytest.MonkeyPatch]:
    """Give an environment in which the tools write files here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_PROJECT"):
            patch.delenv(name, raising=False)
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_API_KEY", SECRET)
        yield patch


@pytest.fixture(scope="module")
def said() -> list[str]:
    """Collect what is said while the experiment of `logged` goes on."""
    return []


@pytest.fixture(scope="module")
def logged(
    environment: pytest.MonkeyPatch,
    dataset: str,
    backbone: str,
    cache_folder: Path,
    local_ray: None,
    tmp_path_factory: pytest.TempPathFactory,
    said: list[str],
) -> Folder:
    """Run a search that is extended by a second start; in the first one TensorBoard cannot be written."""
    storage = tmp_path_factory.mktemp("logged")
    folder = Folder(storage) / "mine"
    values = make_search_in_order(dataset, backbone)
    places = find_log_folders(("tensorboard", "mlflow", "wandb"), folder, None)
    in_the_way = storage / "file"
    in_the_way.touch()
    for num_samples, tensorboard in ((3, in_the_way / "tensorboard"), (5, places["tensorboard"])):
        plan = prepare("mine", make_sweep(**{**values, "num_samples": num_samples}))
        with LiveLogs({**places, "tensorboard": tensorboard}, folder, said.append) as logs:
            run_experiment(plan, storage, logs.listen)
    return folder


def expect(folder: Folder) -> dict[str, Values]:
    """Return what tools must hold of every run, out of ledger and tables."""
    expected: dict[str, Values] = {}
    run_ids = {record.trial_id: record.run_ids for record in read_ledger(folder).values()}
    for event in read_events(folder):
        if event["event"] == "report":
            for place, run_id in enumerate(run_ids[event["trial_id"]]):
                values = expected.setdefault(run_id, {name: {} for name in CURVES})
                for name, reported in (
                    ("validation_accuracy", event["validation_accuracies"]),
                    ("selection_accuracy", event["selection_accuracies"]),
                    ("train_loss", event["train_losses"]),
                ):
                    if (value := reported[place]) is not None:
                        values[name][event["step"]] = value
    for row in read_runs(folder).iter_rows(named=True):
        for name, value in (
            ("best_step", row["best_step"]),
            ("best_validation_accuracy", row["validation_accuracy"]),
            ("train_seconds", row["train_seconds"]),
            ("num_trained_parameters", row["num_trained_parameters"]),
        ):
            expected[row["run_id"]][name] = {row["num_steps"]: value}
    tested = read_evaluations(folder)
    for (run_id,), rows in tested.filter(tested["split"] == "test").group_by("run_id"):
        accuracies = dict(rows.select("language", "score").iter_rows())
        for language, accuracy in accuracies.items():
            expected[str(run_id)][f"test_accuracy_by_language/{language}"] = {60: accuracy}
        for group, codes in target_groups(sorted(accuracies), UNTRAINED).items():
            if codes:
                mean = sum(accuracies[code] for code in codes) / len(codes)
                expected[str(run_id)][f"test_accuracy/{group}"] = {60: mean}
    return expected


def in_mlflow(folder: Folder) -> tuple[dict[str, MlflowRun], dict[str, MlflowRun], dict[str, Values]]:
    """Return parents by config_id, seeds' runs by run_id, and these runs' values; no step may stand twice."""
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/logs/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name(folder.name)
    parents: dict[str, MlflowRun] = {}
    runs: dict[str, MlflowRun] = {}
    values: dict[str, Values] = {}
    for run in client.search_runs([experiment.experiment_id]):
        tags = run.data.tags
        if "run_id" not in tags:
            assert tags["config_id"] not in parents
            parents[tags["config_id"]] = run
            continue
        assert tags["run_id"] not in runs
        runs[tags["run_id"]] = run
        values[tags["run_id"]] = {name: {} for name in run.data.metrics}
        for name, steps in values[tags["run_id"]].items():
            for metric in client.get_metric_history(run.info.run_id, name):
                assert metric.step not in steps
                steps[metric.step] = metric.value
    return parents, runs, values


def in_tensorboard(folder: Path) -> Values:
    """Return the values of a run's event file; no step may stand twice."""
    events = EventAccumulator(str(folder)).Reload()
    values: Values = {}
    for name in events.Tags()["scalars"]:
        steps = [scalar.step for scalar in events.Scalars(name)]
        assert len(steps) == len(set(steps))
        values[name] = {scalar.step: scalar.value for scalar in events.Scalars(name)}
    return values


def in_wandb(file: Path) -> list[Any]:
    """Return the records of an offline run's file up to its exit, which W&B's process writes soon after `finish`."""
    deadline = time.monotonic() + 30
    while not (records := read_records(file)) or not records[-1].HasField("exit"):
        assert time.monotonic() < deadline, records
        time.sleep(0.05)
    return records


def read_records(file: Path) -> list[Any]:
    """Return the records that are in the file, which is a log of LevelDB's kind: blocks with pieces of records."""
    content, place, piece, records = file.read_bytes(), 7, b"", []
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:  # no room for a header in the block
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        if place + 7 + length > len(content):  # it is being written
            break
        piece += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last piece of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(piece)
            records.append(record)
            piece = b""
    return records


def read_items(items: Any) -> dict[str, Any]:
    """Return keys and values of a W&B record."""
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_mlflow_holds_every_number_of_ledger_and_tables_once_below_its_configuration(logged: Folder) -> None:
    parents, runs, values = in_mlflow(logged)
    expected = expect(logged)
    assert values.keys() == expected.keys() and len(values) == 5 * 2
    for run_id, metrics in expected.items():
        assert values[run_id] == {name: pytest.approx(steps, rel=1e-12) for name, steps in metrics.items()}, run_id
    statuses = {"complete": "FINISHED", "pruned": "KILLED"}
    for row in read_runs(logged).iter_rows(named=True):
        run, parent = runs[row["run_id"]], parents[row["config_id"]]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert (run.data.tags["state"], run.info.status) == (row["state"], statuses[row["state"]])
        named = ("seed", "run_id", "config_id", "method", "learning_rate", "encoder_ratio", "num_virtual_tokens")
        assert {name: run.data.params[name] for name in named} == {name: str(row[name]) for name in named}
        assert run.data.params["experiment"] == "mine" and "seed" not in parent.data.params
    complete = read_runs(logged).filter(read_runs(logged)["state"] == "complete")
    for config_id, parent in parents.items():
        of_config = complete.filter(complete["config_id"] == config_id)["run_id"].to_list()
        assert parent.data.metrics["num_complete_seeds"] == len(of_config)
        if of_config:
            found = [expected[run_id]["test_accuracy/seen"][60] for run_id in of_config]
            assert parent.data.metrics["test_accuracy/seen"] == pytest.approx(sum(found) / len(found))


def test_tensorboard_holds_every_number_once_in_a_folder_a_seed_below_its_configuration(logged: Folder) -> None:
    expected = expect(logged)
    folders = {folder.name: folder for folder in Path(f"{logged}/logs/tensorboard").iterdir() if folder.is_dir()}
    assert len(folders) == 5
    for row in read_runs(logged).iter_rows(named=True):
        number = row["trial_number"] + 1
        folder = folders[f"{number:03}-{row['method']}-{row['config_id'][:6]}"] / f"seed-{row['seed']}"
        values = in_tensorboard(folder)
        metrics = expected[row["run_id"]]
        assert values == {name: pytest.approx(steps, rel=1e-6) for name, steps in metrics.items()}  # float32


def test_wandb_holds_every_number_once_in_a_run_a_seed_of_its_configurations_group(logged: Folder) -> None:
    expected = expect(logged)
    for row in read_runs(logged).iter_rows(named=True):
        (file,) = Path(f"{logged}/logs/wandb/{row['run_id']}").rglob("*.wandb")
        records = in_wandb(file)
        (run,) = {(r.run.run_id, r.run.run_group) for r in records if r.WhichOneof("record_type") == "run"}
        assert run == (
            f"mine-{row['run_id']}",
            f"mine/{row['trial_number'] + 1:03}-{row['method']}-{row['config_id'][:6]}",
        )
        steps: Values = {}
        results: dict[str, Any] = {}
        for record in records:
            items = read_items(record.history.item)
            for name in CURVES & items.keys():
                assert record.history.step.num not in steps.setdefault(name, {})
                steps[name][record.history.step.num] = items[name]
            results |= read_items(record.summary.update)
        metrics = expected[row["run_id"]]
        assert steps == {name: metrics[name] for name in CURVES}
        assert results["state"] == row["state"]
        for name in metrics.keys() - CURVES:
            assert results[name] == pytest.approx(metrics[name][row["num_steps"]], rel=1e-9), name


def test_a_tool_that_cannot_be_written_is_said_once_and_the_next_start_writes_what_it_lacks(
    logged: Folder, said: list[str]
) -> None:
    failure, lacks = said
    assert failure.startswith("tensorboard could not be written, the experiment goes on: ")
    assert lacks == "tensorboard lacks results: python sweep/run.py log mine --to tensorboard writes them"


def test_no_secret_is_in_what_is_written(logged: Folder) -> None:
    files = contents(Path(str(logged)))
    assert len(files) > 30 and not any(SECRET.encode() in content for content in files.values())


def test_logging_again_changes_nothing(
    logged: Folder, run_here: Run, dataset: str, backbone: str, tmp_path: Path
) -> None:
    before, files = in_mlflow(logged)[2], contents(Path(f"{logged}/logs"))
    output = run_here("log", "mine", "--to", "mlflow,wandb", "--to", "tensorboard", "--storage", str(logged.parent))
    assert "mlflow: 5 configurations, 10 runs, in sqlite:///" in output
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(make_search_in_order(dataset, backbone)))
    output = run_here("search", str(file), "--storage", str(logged.parent), "--log-to", "tensorboard,mlflow,wandb")
    assert f"In wandb: {logged}/logs/wandb" in output
    assert in_mlflow(logged)[2] == before
    after = contents(Path(f"{logged}/logs"))
    assert files.keys() == after.keys()
    assert [name for name in files if files[name] != after[name] and "mlflow.db" not in name] == []


def test_afterwards_in_another_folder_the_same_is_written_as_live(
    logged: Folder, run_here: Run, tmp_path: Path
) -> None:
    run_here("log", "mine", "--to", "tensorboard", "--storage", str(logged.parent), "--log-dir", str(tmp_path))
    live = Path(f"{logged}/logs/tensorboard")
    folders = sorted(folder.relative_to(live) for folder in live.glob("*/*"))
    assert len(folders) == 10
    for folder in folders:
        assert in_tensorboard(tmp_path / "mine" / "tensorboard" / folder) == in_tensorboard(live / folder)


def cut(histories: Histories) -> ConfigurationHistory:
    """Return a configuration that was complete as it was after its first report."""
    half = next(one for one in histories.values() if one.state == "complete")
    for run in half.runs.values():
        run.state, run.results, run.points = State.UNFINISHED, {}, {20: run.points[20]}
    return half


def test_a_run_that_was_interrupted_goes_on_in_mlflow_as_the_same_one(logged: Folder, tmp_path: Path) -> None:
    whole, half = Histories.read(logged), cut(Histories.read(logged))
    place = Path(f"{logged}/logs/mlflow")  # to make another database takes seconds
    client = MlflowClient(tracking_uri=f"sqlite:///{place}/mlflow.db")
    found = []
    for configuration in (half, whole[half.config_id]):
        writer = open_writer("mlflow", place, "interrupted")
        writer.write(configuration)
        writer.close()
        experiment = client.get_experiment_by_name("interrupted")
        found.append({run.data.tags.get("run_id"): run for run in client.search_runs([experiment.experiment_id])})
    first, last = found
    assert {key: run.info.run_id for key, run in first.items()} == {key: run.info.run_id for key, run in last.items()}
    assert {run.info.status for run in first.values()} == {"SCHEDULED"}
    assert {run.info.status for run in last.values()} == {"FINISHED"}
    for run_id in half.runs:
        history = client.get_metric_history(last[run_id].info.run_id, "train_loss")
        assert [metric.step for metric in history] == [20, 40, 60]


@pytest.mark.parametrize("tool", ["tensorboard", "wandb"])
def test_a_run_that_was_interrupted_is_written_anew_where_it_is_files(
    logged: Folder, tmp_path: Path, tool: str
) -> None:
    whole, half = Histories.read(logged), cut(Histories.read(logged))
    for configuration in (half, whole[half.config_id]):
        writer = open_writer(tool, tmp_path, "interrupted")
        writer.write(configuration)
        writer.close()
    for run in whole[half.config_id].runs.values():
        if tool == "tensorboard":
            assert list(in_tensorboard(tmp_path / half.name / f"seed-{run.seed}")["train_loss"]) == [20, 40, 60]
        else:
            (file,) = (tmp_path / run.run_id).rglob("*.wandb")
            steps = [record.history.step.num for record in in_wandb(file) if record.history.item]
            assert steps == [20, 40, 60]


def test_what_a_driver_is_writing_is_not_written_by_another_process(
    logged: Folder, tmp_path: Path, refuse: Refuse
) -> None:
    writer = open_writer("tensorboard", tmp_path / "mine" / "tensorboard", "mine")
    arguments = ("log", "mine", "--to", "tensorboard", "--storage", str(logged.parent), "--log-dir", str(tmp_path))
    assert "tensorboard is being written by another process" in refuse(*arguments)
    writer.close()


def test_a_run_that_reports_again_what_it_had_reported_counts_once(logged: Folder) -> None:
    events = [event for event in read_events(logged) if event["event"] == "report"]
    again = Histories.read(logged)
    before = {run_id: dict(run.points) for one in again.values() for run_id, run in one.runs.items()}
    for event in events:
        again.report({**event, "time": event["time"] + 100.0})
    assert {run_id: run.points for one in again.values() for run_id, run in one.runs.items()} == before


def test_a_package_that_is_not_installed_is_said_before_anything_starts(
    refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # as Python marks what cannot be imported
    sentence = refuse("search", "quickstart", "--log-to", "mlflow,wandb")
    assert "--log-to wandb needs the package wandb, which is not installed: pip install" in sentence


def test_an_unknown_tool_is_one_sentence(refuse: Refuse) -> None:
    assert "--log-to comet: must be tensorboard, mlflow, wandb" in refuse("grid", "table1-e5", "--log-to", "comet")


def test_object_storage_takes_no_files_of_tools(environment: pytest.MonkeyPatch, bucket: str, tmp_path: Path) -> None:
    folder = Folder(f"{bucket}/mine")
    for tool, way in (("tensorboard", "say where"), ("mlflow", "set MLFLOW_TRACKING_URI"), ("wandb", "log in to W&B")):
        with pytest.raises(InputError, match=f"{tool} cannot write to s3://.*: {way}"):
            find_log_folders([tool], folder, None)
    environment.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    assert find_log_folders(["mlflow"], folder, None) == {"mlflow": None}
    environment.delenv("MLFLOW_TRACKING_URI")
    assert find_log_folders(["mlflow"], folder, str(tmp_path)) == {"mlflow": tmp_path / "mine" / "mlflow"}


def test_a_server_that_is_gone_is_said_without_the_password_in_its_address(
    logged: Folder, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:{SECRET}@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    sentence = refuse("log", "mine", "--to", "mlflow", "--storage", str(logged.parent))
    assert "mlflow could not be written: " in sentence and SECRET not in sentence


def test_passwords_are_cut_out_of_addresses() -> None:
    assert hide_secrets("no answer from https://me:word@host:1/a?b") == "no answer from https://***@host:1/a?b"
