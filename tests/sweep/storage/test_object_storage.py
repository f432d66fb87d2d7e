"""Whole experiments in object storage, on a real server that speaks S3, and what goes wrong there in a sentence."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset
import pyarrow.parquet
import pytest
import yaml
from pyarrow import fs
from rich.console import Console

from sweep.analysis import read_runs
from sweep.driver.tuner import run_experiment
from sweep.experiment.arms import Replication
from sweep.experiment.config import make_sweep
from sweep.experiment.files import load_experiment
from sweep.planning.plan import prepare
from sweep.planning.replication import resolve_replication
from sweep.records.ledger import TrialRecord, read_events, read_ledger
from sweep.report.inspection import print_experiments, print_status
from sweep.report.one_run import print_run
from sweep.storage import Folder
from sweep.storage.lock import Lock
from tests.cluster.kill_driver import compare
from tests.conftest import Refuse, Run, make_bucket, make_search_in_order
from tests.making.experiments import load_search
from tests.sweep.test_end_to_end import ROOT, command
from xpe_core.errors import InputError

pytestmark = pytest.mark.usefixtures("preloaded_commands")


@pytest.fixture(scope="module")
def finished(
    dataset: str, backbone: str, s3_server: str, local_ray: None, cache_folder: Path
) -> Iterator[tuple[str, Folder]]:
    """Run the search of `undisturbed` in object storage; return the storage and the experiment's folder."""
    with pytest.MonkeyPatch.context() as patch:
        storage = f"{make_bucket(s3_server, patch)}/results"
        sweep = make_sweep(**make_search_in_order(dataset, backbone))
        yield storage, run_experiment(prepare("mine", sweep), storage)


def files_below(folder: str | Folder) -> dict[str, fs.FileInfo]:
    """Return all that lies below a folder, by path."""
    system = fs.S3FileSystem(endpoint_override=os.environ["AWS_ENDPOINT_URL"])
    infos = system.get_file_info(fs.FileSelector(str(folder).removeprefix("s3://"), recursive=True))
    return {info.path: (info.type, info.size, info.mtime_ns) for info in infos}


def wait_for(folder: Folder, event: str, process: "subprocess.Popen[str]") -> None:
    """Wait until the ledger holds an event of a kind."""
    deadline = time.monotonic() + 240
    while event not in {found["event"] for found in read_events(folder)}:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.1)


def test_a_search_leaves_the_tables_that_it_leaves_on_a_path(finished: tuple[str, Folder], undisturbed: Folder) -> None:
    _, folder = finished
    compare(undisturbed, folder)
    assert read_ledger(folder) == read_ledger(undisturbed)
    files = [path for path, (kind, *_) in files_below(folder).items() if kind == fs.FileType.File]
    complete = read_runs(folder).filter(pl.col("state") == "complete")["run_id"].sort()
    adapters = [f"adapters/{run_id}.safetensors" for run_id in complete]
    others = ["evaluations/part-0000.parquet", "experiment.yaml", "mine-best.yaml", "runs/part-0000.parquet"]
    assert [path for path in files if "/ledger/" not in path] == [
        f"{str(folder)[5:]}/{name}" for name in adapters + others
    ]
    assert len(files_below(folder)) <= 13 + len(adapters)  # with folders, and a few pieces of the ledger


def test_its_tables_are_read_with_a_line_each(finished: tuple[str, Folder], undisturbed: Folder) -> None:
    _, folder = finished
    runs = f"{folder}/runs"
    options = {"endpoint_url": os.environ["AWS_ENDPOINT_URL"], "aws_allow_http": "true", "region": "us-east-1"}
    frames = [
        pd.read_parquet(runs),
        pl.read_parquet(f"{runs}/*.parquet", storage_options=options).to_pandas(),
        pyarrow.parquet.read_table(runs).to_pandas(),
        pyarrow.dataset.dataset(runs).to_table().to_pandas(),
    ]
    table = pyarrow.dataset.dataset(runs)
    frames.append(duckdb.from_arrow(table).df())
    assert {len(frame) for frame in frames} == {len(pd.read_parquet(f"{undisturbed}/runs"))}
    assert all(list(frame["run_id"]) == list(frames[0]["run_id"]) for frame in frames)
    assert len(table.schema.names) == len(frames[0].columns)


def test_nothing_that_is_written_holds_a_key(finished: tuple[str, Folder]) -> None:
    _, folder = finished
    system = fs.S3FileSystem(endpoint_override=os.environ["AWS_ENDPOINT_URL"])
    secret = os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    paths = [path for path, (kind, *_) in files_below(folder).items() if kind == fs.FileType.File]
    assert paths and not any(secret in system.open_input_stream(path).read() for path in paths)


def test_list_status_and_show_read_it(finished: tuple[str, Folder]) -> None:
    storage, folder = finished
    console = Console(file=io.StringIO(), width=120)
    print_experiments(console, storage)
    print_status(console, storage, "mine")
    run_id = next(iter(read_ledger(folder).values())).run_ids[0]
    print_run(console, storage, run_id[:8])
    text = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "mine search" in text and "No driver is at work on it." in text and f"run {run_id} of mine" in text
    with pytest.raises(InputError, match="holds no experiment 'other'; there are mine"):
        print_status(console, storage, "other")


def test_its_best_configuration_is_run_again_and_replicated_from_there(finished: tuple[str, Folder]) -> None:
    storage, folder = finished
    endpoint = f"?endpoint_override={os.environ['AWS_ENDPOINT_URL']}"
    for query in ("", endpoint):
        name, best = load_search(f"{folder}/mine-best.yaml{query}")
        assert name == "mine-best" and best.num_samples == 1 and not best.varying
        for of in ("mine", f"{folder}{query}", f"{folder}/mine-best.yaml{query}"):
            sweep = Replication(kind="replicate", of=of, seeds=(7, 8))
            assert {"best", "spt", "xpe"} >= set(resolve_replication(sweep, storage + query).arms)
    with pytest.raises(InputError, match="seeds: 1 was used by mine; .* such as 3-12"):
        resolve_replication(Replication(kind="replicate", of="mine", seeds=(1,)), storage)
    with pytest.raises(InputError, match=r"experiment s3://.*other.yaml: there is no such file"):
        load_experiment(f"{folder}/other.yaml")


def test_a_search_that_was_killed_goes_on_at_once_with_the_same_numbers(
    one_at_a_time: dict[str, Any], bucket: str, undisturbed: Folder, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(one_at_a_time))
    arguments = ["search", str(file), "--storage", f"{bucket}/results"]
    folder = Folder(f"{bucket}/results/mine")
    with command(*arguments) as process:
        wait_for(folder, "end", process)
        process.kill()
        process.communicate()
    ended = [record for record in read_ledger(folder).values() if record.state]
    assert 0 < len(ended) < 5
    with command(*arguments) as again:
        output, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert "Traceback" not in output + errors
    assert f"search {folder}/mine-best.yaml" in output and f"{folder}/runs and {folder}/evaluations" in output
    compare(undisturbed, folder)
    assert (folder / "checkpoints").names() == []


def test_a_second_driver_is_refused_and_the_first_one_stops_on_request(
    values: dict[str, Any], bucket: str, tmp_path: Path, refuse: Refuse, run_here: Run
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({**values, "num_samples": 64}))
    storage = ["--storage", f"{bucket}/results"]
    folder = Folder(f"{bucket}/results/mine")
    with command("search", str(file), *storage) as process:
        wait_for(folder, "report", process)
        sentence = refuse("search", str(file), "--num-samples", "64", *storage)
        assert f"{folder} is being written by another driver (process {process.pid} on " in sentence
        assert "A driver is at work on it;" in run_here("status", "mine", *storage)
        assert "mine will end as soon as" in run_here("stop", "mine", *storage)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Stopped on request. Nothing that was finished is lost" in output
    assert "no driver is at work on" in refuse("stop", "mine", *storage)


def test_a_driver_that_was_paused_for_too_long_ends_with_the_write_that_it_was_in(
    values: dict[str, Any], bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({**values, "num_samples": 64}))
    start = "import sweep.storage.heartbeat as h; h.HEARTBEAT_SECONDS = 1.0; from sweep.run import main; main()"
    arguments = [sys.executable, "-c", start, "search", str(file), "--storage", f"{bucket}/results"]
    environment = {**os.environ, "RAY_ADDRESS": "local"}
    monkeypatch.setattr("sweep.storage.heartbeat.HEARTBEAT_SECONDS", 1.0)
    folder = Folder(f"{bucket}/results/mine")
    with subprocess.Popen(
        arguments, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        wait_for(folder, "report", process)
        process.send_signal(signal.SIGSTOP)
        time.sleep(5)
        lock = Lock(folder)
        before, events = files_below(folder), read_events(folder)
        process.send_signal(signal.SIGCONT)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 2, output + errors
    assert errors.startswith(f"error: {folder} was taken over by another driver") and errors.count("\n") == 1, errors
    after = files_below(folder)
    assert read_events(folder)[: len(events)] == events
    # it was paused after its look at the lock: in one write, or in clearing away what that had made superfluous
    gone = {path for path in before.keys() - after.keys() if "/ledger/" not in path and "/checkpoints/" not in path}
    written = {path for path, entry in after.items() if before.get(path) != entry and entry[0] == fs.FileType.File}
    assert not gone and len(written - {f"{str(folder)[5:]}/driver.json"}) <= 1, (gone, written)
    lock.check()
    lock.release()


@pytest.fixture
def guarded(s3_server: str) -> Iterator[Any]:
    """Give a function that switches the server's checks of keys and rights on or off; they are off by default."""

    def switch(on: bool) -> None:
        free = b"0" if on else b"1000000000000"
        headers = {"Content-Type": "text/plain"}
        with urllib.request.urlopen(urllib.request.Request(f"{s3_server}/moto-api/reset-auth", free, headers)):
            pass

    yield switch
    switch(False)


@pytest.mark.usefixtures("local_ray")
def test_keys_that_expire_in_the_middle_are_said_and_with_new_ones_nothing_is_lost(
    one_at_a_time: dict[str, Any], bucket: str, undisturbed: Folder, guarded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.storage.heartbeat.HEARTBEAT_SECONDS", 1.0)
    plan = prepare("mine", make_sweep(**one_at_a_time))

    def expire(record: TrialRecord, report: object) -> None:
        if record.number == 2:
            guarded(True)

    with pytest.raises(InputError, match=f"storage {bucket}/results/mine: .*AWS_ACCESS_KEY_ID"):
        run_experiment(plan, f"{bucket}/results", expire)
    guarded(False)
    time.sleep(5)  # this process lives on, so its mark in the storage, which it could not remove, has to grow old
    compare(undisturbed, run_experiment(plan, f"{bucket}/results"))


DRY_RUN = ["search", "quickstart", "--dry-run", "--tflops", "1", "--storage"]


@pytest.mark.usefixtures("local_ray")
def test_a_dry_run_leaves_nothing_of_the_experiment(
    values: dict[str, Any], bucket: str, tmp_path: Path, run_here: Run
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(values))
    output = run_here("search", str(file), "--dry-run", "--storage", f"{bucket}/results")
    assert f"results {bucket}/results/mine" in " ".join(output.split()) and "16 runs" in output
    kinds = {path: kind for path, (kind, *_) in files_below(bucket).items()}
    assert kinds == {f"{bucket[5:]}/results": fs.FileType.Directory}


def test_a_bucket_that_is_not_there_is_said(bucket: str, refuse: Refuse) -> None:
    for arguments in (DRY_RUN, ["search", "quickstart", "--storage"]):
        assert "storage s3://nobody-made-it: there is no such bucket; make it" in refuse(
            *arguments, "s3://nobody-made-it"
        )
    for arguments in (["list"], ["status", "mine"], ["show", "12"], ["stop", "mine"], ["replicate", "mine"]):
        sentence = refuse(*arguments, "--storage", "s3://nobody-made-it/x")
        assert "there is no bucket 'nobody-made-it'; make it, or say where with --storage" in sentence


def test_keys_in_a_uri_are_refused_and_not_repeated(refuse: Refuse) -> None:
    uri = "s3://key:hidden@bucket/x"
    for arguments in ([*DRY_RUN, uri], ["search", f"{uri}/y.yaml"], ["replicate", uri], ["list", "--storage", uri]):
        sentence = refuse(*arguments)
        assert "leave keys out of it, they are taken from AWS_ACCESS_KEY_ID" in sentence and "hidden" not in sentence


def test_wrong_keys_and_missing_rights_are_said(
    bucket: str, refuse: Refuse, guarded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    people = boto3.client("iam", region_name="us-east-1")
    people.create_user(UserName="reader")
    keys = people.create_access_key(UserName="reader")["AccessKey"]
    rights = {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [rights]})
    people.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=document)
    guarded(True)
    storage = f"{bucket}/results"
    assert "the server does not accept the keys; see AWS_ACCESS_KEY_ID" in refuse(*DRY_RUN, storage)
    assert "must be allowed to list, read, write and delete there" in refuse("status", "mine", "--storage", storage)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys["AccessKeyId"])
    assert "the server does not accept the keys" in refuse(*DRY_RUN, storage)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys["SecretAccessKey"])
    for arguments in (DRY_RUN, ["search", "quickstart", "--storage"]):  # what can be read only
        sentence = refuse(*arguments, storage)
        assert f"storage {bucket}/results: access is denied; the keys (AWS_ACCESS_KEY_ID and" in sentence
    assert "holds no experiment 'mine'" in refuse("status", "mine", "--storage", storage)


def test_a_server_that_does_not_answer_is_said_soon(
    bucket: str, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = time.monotonic()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    sentence = "http://127.0.0.1:1 does not answer; AWS_ENDPOINT_URL names another server than AWS's"
    assert sentence in refuse(*DRY_RUN, f"{bucket}/results")
    assert sentence in refuse("list", "--storage", f"{bucket}/results")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setattr("sweep.storage.object_storage.SILENCE_SECONDS", 1.0)
        threading.Thread(target=_accept, args=(mute,), daemon=True).start()
        address = f"http://127.0.0.1:{mute.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        assert f"{address} does not answer" in refuse(*DRY_RUN, f"{bucket}/results")
    assert time.monotonic() - before < 60


def _accept(server: socket.socket) -> None:
    held = []
    while True:
        try:
            held.append(server.accept())
        except OSError:
            return
