"""Machines as people have them: what RAY_ADDRESS may say, whose Ray is joined, Rays that die, odd environments."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from sweep.analysis import read_runs
from sweep.cluster.address import Raylet, _started_here, _user, find_address, find_raylets
from sweep.cluster.command_line import LAUNCHED, how_to_go_on
from sweep.cluster.machine import describe_machine, read_gpus
from sweep.cluster.own_folder import PREFIX, own_folder
from sweep.cluster.start import count_cpus
from sweep.records.ledger import read_events
from tests.cluster.leftovers import MARK, find_left, mark
from tests.conftest import Refuse, Run
from xpe_core.errors import InputError

pytestmark = pytest.mark.usefixtures("preloaded_commands")

ROOT = Path(__file__).parent.parent.parent


def start(file: Path, storage: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a search in a process of its own."""
    command = [sys.executable, "sweep/run.py", "search", str(file), "--storage", str(storage), *arguments]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "RAY_ADDRESS": "local", **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def servers(marked: dict[str, str], *names: str) -> list[psutil.Process]:
    """Return the processes of a marked Ray: `raylet`, `gcs_server`."""
    found = []
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error):
            if process.info["name"] in names and process.environ().get(MARK) == marked[MARK]:
                found.append(process)
    return found


def wait_for_report(folder: Path, process: subprocess.Popen[str]) -> None:
    while process.poll() is None and not any(event["event"] == "report" for event in read_events(folder)):
        time.sleep(0.05)


@pytest.fixture
def experiment(values: dict[str, Any], tmp_path: Path) -> Path:
    """Write a search whose first trial lasts until it is disturbed, and then a minute at most."""
    values["base"] |= {"max_steps": 400, "eval_steps": 20}
    values |= {"num_samples": 1, "seeds": [1]}
    values["resources"] = {**values["resources"], "checkpoint_seconds": 0}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("http://127.0.0.1:8265", "is the dashboard's address, for `ray job submit`; here it must be HOST:PORT"),
        ("https://head:8265", "is the dashboard's address"),
        ("ray://127.0.0.1:10001", "experiments do not run through Ray's client; it must be HOST:PORT"),
        ("head-node", r"no HOST:PORT \(perhaps head-node:6379\); it must be HOST:PORT"),
        ("6379", r"no HOST:PORT \(perhaps 127.0.0.1:6379\); it must be HOST:PORT"),
        (":6379", r"no HOST:PORT \(perhaps 127.0.0.1:6379\)"),
        ("tcp://10.0.0.1:6379", "no HOST:PORT; it must be HOST:PORT"),
        ("::1:6379", "no HOST:PORT; it must be"),
        ("127.0.0.1:99999", "no HOST:PORT; it must be"),
        ("127.0.0.1:1", "no Ray cluster answers at RAY_ADDRESS=127.0.0.1:1; it must be"),
        ("nowhere.invalid:6379", "there is no host nowhere.invalid; it must be"),
        ("me:word@head:6379", "^RAY_ADDRESS=head:6379: no HOST:PORT"),
    ],
)
def test_an_address_that_is_none_is_said_with_the_form_of_one(
    address: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    began = time.monotonic()
    with pytest.raises(InputError, match=sentence):
        find_address()
    assert time.monotonic() - began < 10


def test_a_server_that_is_no_ray_or_a_cluster_without_this_machine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(InputError, match="this machine is no node of that cluster; `ray start --address=127"):
            find_address()


@pytest.mark.parametrize("address", ["", " ", "local", " local ", "LOCAL"])
def test_without_an_address_or_with_local_the_ray_is_ones_own(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.cluster.address.find_raylets", list)
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert find_address() is None


def test_auto_where_nothing_was_started_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.cluster.address.find_raylets", list)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with pytest.raises(InputError, match="no Ray cluster of yours was started on this machine; start one with"):
        find_address()


def test_a_wrong_address_is_answered_before_backbone_and_data_are_prepared(
    refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    assert "for `ray job submit`" in refuse("search", "quickstart", "--set", "dataset=nowhere")


@pytest.mark.usefixtures("local_ray")
def test_a_ray_that_a_program_started_for_itself_is_private() -> None:
    own = [one for one in find_raylets() if one.parent == os.getpid()]
    assert own and all(one.is_private and Path(one.temp_dir).name.startswith(PREFIX) for one in own)
    assert _started_here(own) == []


def make_raylet(address: str, temp_dir: Path, **values: Any) -> Raylet:
    return Raylet(
        **{"pid": 1, "parent": 1, "user": _user(), "is_private": False, "node_id": "", **values},
        address=address,
        temp_dir=str(temp_dir),
    )


def test_of_several_clusters_the_last_that_was_started_is_joined_and_none_of_somebody_elses(tmp_path: Path) -> None:
    one, other = make_raylet("10.0.0.1:6379", tmp_path), make_raylet("10.0.0.1:6380", tmp_path)
    assert _started_here([one]) == ["10.0.0.1:6379"]
    assert _started_here([make_raylet("10.0.0.1:6379", tmp_path, user="somebody else")]) == []
    assert _started_here([make_raylet("10.0.0.1:6379", tmp_path, is_private=True)]) == []
    with pytest.raises(InputError, match="several Ray clusters run on this machine, 10.0.0.1:6379, 10.0.0.1:6380: say"):
        _started_here([one, other])
    (tmp_path / "ray_current_cluster").write_text("10.0.0.1:6380")
    assert _started_here([one, other]) == ["10.0.0.1:6380"]
    (tmp_path / "ray_current_cluster").write_text("10.0.0.1:9")  # of a cluster that is gone
    assert _started_here([one]) == ["10.0.0.1:6379"]


@pytest.fixture
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Start a cluster with `ray start`, and end its processes, and no others, afterwards."""
    with own_folder() as folder:
        marked = {**mark(), "RAY_TMPDIR": folder}
        options = ["--num-cpus=1", "--include-dashboard=false", "--object-store-memory=100000000", "--port=0"]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--disable-usage-stats", *options]
        environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | marked
        subprocess.run(command, env=environment, check=True, capture_output=True)
        yield marked
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == marked[MARK]:
                    process.kill()


def test_a_cluster_that_was_started_is_joined_and_its_end_is_said(
    own_cluster: dict[str, str], experiment: Path, tmp_path: Path
) -> None:
    (raylet,) = servers(own_cluster, "raylet")
    (node,) = [one for one in find_raylets() if one.pid == raylet.pid]
    assert not node.is_private and _started_here([node]) == [node.address]
    process = start(experiment, tmp_path / "results", RAY_ADDRESS=node.address)
    wait_for_report(tmp_path / "results" / "mine", process)
    for server in servers(own_cluster, "raylet", "gcs_server"):  # as `ray stop` does, which would end other people's
        server.kill()
    output, errors = process.communicate(timeout=60)
    assert f"the Ray cluster at {node.address} is joined" in " ".join(output.split())
    assert process.returncode == 2 and errors.count("\n") == 1, errors
    assert re.match(r"error: the Ray cluster that was joined is gone \(its process \w+ ended\); what was", errors)


def test_a_ray_that_dies_is_one_sentence_and_the_command_that_it_says_goes_on(experiment: Path, tmp_path: Path) -> None:
    marked, folder = mark(), tmp_path / "results" / "mine"
    process = start(experiment, tmp_path / "results", **marked)
    wait_for_report(folder, process)
    for server in servers(marked, "raylet"):
        server.kill()
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 2 and errors.count("\n") == 1 and "Traceback" not in output, errors
    assert "the experiment's Ray is gone (its process raylet ended); what was finished is kept" in errors
    assert find_left(marked, seconds=20) == []
    command = errors.partition("the same command goes on from here: ")[2]
    again = subprocess.run(
        command, shell=True, cwd=ROOT, env={**os.environ, "RAY_ADDRESS": "local"}, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert re.search(r"so far +1 goes on from its checkpoint at step \d+", again.stdout), again.stdout
    assert set(read_runs(folder)["state"]) == {"complete"}


@pytest.mark.parametrize("moment", ["start", "measuring"])
def test_a_ray_that_dies_in_a_dry_run_is_one_sentence(experiment: Path, tmp_path: Path, moment: str) -> None:
    marked = mark()
    process = start(experiment, tmp_path / "results", "--dry-run", **marked)
    while process.poll() is None and not servers(marked, "gcs_server" if moment == "start" else "raylet"):
        time.sleep(0.02)
    for server in servers(marked, "gcs_server"):
        server.kill()
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 2 and errors.count("\n") == 1 and "Traceback" not in output, errors
    assert "the experiment's Ray is gone" in errors and "--dry-run" in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_is_answered_at_once_and_a_second_one_ends_at_once(
    experiment: Path, tmp_path: Path, number: signal.Signals
) -> None:
    marked = mark()
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and a child would ignore it, too
    process = start(experiment, tmp_path / "results", **marked)
    signal.signal(signal.SIGHUP, before)
    wait_for_report(tmp_path / "results" / "mine", process)
    assert process.stdout is not None
    process.send_signal(number)
    began, line = time.monotonic(), ""
    while "waiting for a checkpoint of a trial, up to 30 s. Once more (Ctrl-C) ends at once" not in line:
        line = process.stdout.readline()
        assert line
    assert time.monotonic() - began < 2  # 0.3 s on a machine that does nothing else
    process.send_signal(number)
    process.communicate(timeout=10)
    assert process.returncode == 128 + number
    assert find_left(marked, seconds=20) == []  # agents without a raylet wait for a minute


def test_ctrl_c_before_the_first_trial_is_answered(experiment: Path, tmp_path: Path) -> None:
    marked = mark()
    process = start(experiment, tmp_path / "results", **marked)
    while process.poll() is None and not servers(marked, "gcs_server"):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in output + errors, errors
    assert "Interrupted" in output and find_left(marked) == []


def test_the_folder_of_a_ray_is_short_whatever_tmpdir_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    long = tmp_path / "slurm_jobdir" / "1355700" / "tmp.gpu-node-0016-login"
    long.mkdir(parents=True)
    (tmp_path / "file").touch()
    for tmpdir in (str(long), str(tmp_path / "file"), "/nowhere", "/proc", "/dev/full", "relative"):
        monkeypatch.setenv("TMPDIR", tmpdir)
        with own_folder() as folder:
            assert Path(folder).is_dir() and str(Path(folder).parent) == "/tmp"
        assert not Path(folder).exists()


def test_where_there_is_no_place_for_a_ray_all_that_were_tried_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/nowhere")
    monkeypatch.setattr("sweep.cluster.own_folder.NEEDED_BYTES", 2**80)  # no disk has that
    with pytest.raises(
        InputError, match=r"RAY_TMPDIR=/nowhere \(no such folder\);.* /tmp \(no space left\);.* at most"
    ):
        with own_folder():
            pass


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_folder() as used:
        monkeypatch.setenv("RAY_TMPDIR", str(Path(used).parent))
        abandoned = Path(used).with_name(f"{PREFIX}{os.getpid():0>8}")
        abandoned.mkdir()
        (abandoned / "lock").touch()
        for folder in (abandoned, Path(used)):
            os.utime(folder, (0, 0))
        with own_folder():
            assert Path(used).exists() and not abandoned.exists()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity of processes to CPUs")
def test_a_batch_systems_part_of_the_cpus_is_what_a_ray_gets() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert count_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)


GPUS = "0, GPU-aa, 61000, 81920\n1, GPU-bb, 3, 81920\n2, GPU-cc, [N/A], [N/A]\n"


@pytest.mark.parametrize(
    ("visible", "sentences"),
    [
        (None, ["GPU 0 has 60 of 80 GiB in use by others; CUDA_VISIBLE_DEVICES=1 takes those that are free"]),
        ("0", ["GPU 0 has 60 of 80 GiB in use by others; CUDA_VISIBLE_DEVICES=1 takes those that are free"]),
        ("1", []),
        ("GPU-b", []),
        ("", []),
    ],
)
def test_a_gpu_that_others_use_is_said_with_the_way_out(visible: str | None, sentences: list[str]) -> None:
    assert read_gpus(GPUS, visible) == sentences


def test_a_busy_machine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.cluster.machine.find_raylets", list)
    monkeypatch.setattr("os.getloadavg", lambda: (1000.0, 0.0, 0.0))
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert any(sentence.startswith("busy (load 1000.0 on") for sentence in describe_machine())


@pytest.mark.parametrize(("count", "words"), [(1, "both take longer"), (3, "all take longer")])
def test_other_experiments_are_counted(monkeypatch: pytest.MonkeyPatch, count: int, words: str) -> None:
    other = Raylet(-1, -1, "127.0.0.1:1", "me", True, f"/tmp/{PREFIX}1", "1")
    monkeypatch.setattr("sweep.cluster.machine.find_raylets", lambda: [other] * count)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert any(words in sentence for sentence in describe_machine())


def test_the_command_is_printed_as_a_shell_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/xpe-sweep", "search", "my file.yaml", "--set", "source_set=a,b"])
    assert how_to_go_on() == (
        "the same command goes on from here: xpe-sweep search 'my file.yaml' --set source_set=a,b"
    )
    monkeypatch.setattr(sys, "argv", ["sweep/run.py", "list"])
    monkeypatch.setattr(sys, "orig_argv", [".venv/bin/python", "-X", "dev", "sweep/run.py", "list"])
    assert how_to_go_on().endswith(": .venv/bin/python -X dev sweep/run.py list")
    monkeypatch.setenv(LAUNCHED, "1")
    assert how_to_go_on() == "the same command goes on from here"


def test_a_finished_experiment_says_that_nothing_is_left(
    one_at_a_time: dict[str, Any], tmp_path: Path, undisturbed: Any, run_here: Run
) -> None:
    from tests.conftest import copy_experiment

    copy_experiment(undisturbed, tmp_path)
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(one_at_a_time))
    words = " ".join(run_here("search", str(file), "--storage", str(tmp_path)).split())
    assert "so far 5 trials finished earlier are kept; nothing is left to run" in words
    words = " ".join(
        run_here("search", str(file), "--storage", str(tmp_path), "--dry-run", "--num-samples", "7").split()
    )
    assert "so far 5 trials finished earlier are kept; 2 are new" in words


def test_workers_that_ray_kills_for_memory_are_lost_trials_and_no_end(experiment: Path, tmp_path: Path) -> None:
    """During the first start another program takes all memory: by what Ray is told, there is never enough."""
    short = ("--set", "max_steps=40", "--set", "eval_steps=20")
    low = {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "300"}
    output, errors = (process := start(experiment, tmp_path, *short, **low)).communicate(timeout=120)
    assert process.returncode == 2 and "Traceback" not in output + errors
    why = "its node ran low on memory, so Ray killed it"
    assert f"trial 1 lost its worker ({why}) and goes on from its last checkpoint" in " ".join(
        (output + errors).split()
    )
    assert f"error: no trial of mine was completed: {why}" in " ".join(errors.split())
    process = start(experiment, tmp_path, *short)
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert read_runs(tmp_path / "mine")["state"].to_list() == ["complete"]
