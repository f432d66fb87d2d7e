"""What runs on a cluster's head: an experiment's job, its exit status, and what is laid out for being fetched."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sweep.cluster.job import MARK, Request, _gather, encode, main
from sweep.cluster.launcher import Parcel

WITH_JOBS = """
import os, sys, ray
from sweep.cluster.job import main
ray.init(address="local", num_cpus=1, include_dashboard=True, dashboard_port=0, logging_level="ERROR",
         object_store_memory=100 * 2**20)
os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
for request in sys.argv[1:]:
    main(request)
"""


def bring_code(folder: Path) -> Path:
    """Lay the code out as on a head and return where."""
    parcel = Parcel(folder / "inputs")
    return parcel.folder / Path(parcel.add_project()).name


def test_a_request_survives_the_shell() -> None:
    request = Request(("search", "a b.yaml", "--set", "languages=['x', \"y\"]"), "xpe-sweep-mine", "mine", "~/r", 80)
    program, flag, module, text = shlex.split(encode(request))
    assert (program, flag, module) == ("python", "-m", "sweep.cluster.job")
    assert json.loads(text)["arguments"] == list(request.arguments)


def test_results_are_gathered_without_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "results" / "mine"
    names = ["runs/part-0000.parquet", "evaluations/part-0000.parquet", "ledger.jsonl", "experiment.yaml"]
    names += ["mine-best.yaml", "checkpoints/a.safetensors", ".lock"]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert _gather(folder)
    outbox = tmp_path / "xpe-sweep-outbox" / "mine"
    found = sorted(str(file.relative_to(outbox)) for file in outbox.rglob("*") if file.is_file())
    assert found == sorted(names[:5])
    assert not _gather(tmp_path / "results" / "other")


def test_a_short_command_runs_on_the_head_and_its_status_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(bring_code(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    main(json.dumps({"arguments": ["status", "none", "--storage", "~/xpe-sweep-results"]}))
    output = capfd.readouterr().out
    first, *_, last = [line for line in output.splitlines() if line.startswith(MARK)]
    assert json.loads(first.removeprefix(MARK)) == {"begin": True}
    assert json.loads(last.removeprefix(MARK)) == {"status": 2, "brought": False}
    assert f"storage {tmp_path}/xpe-sweep-results is not there" in output


def test_a_head_with_other_packages_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = bring_code(tmp_path)
    (there / "constraints.txt").unlink()
    (there / "constraints.txt").write_text("ray==1.0.0\n")
    monkeypatch.chdir(there)
    main(json.dumps({"arguments": ["list"]}))
    output = capsys.readouterr().out
    assert "and constraints.txt pins 1.0.0: `ray up` sets the cluster up again" in output
    assert json.loads(output.splitlines()[-1].removeprefix(MARK))["status"] == 2


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root, for a network of its own")
def test_a_job_ends_with_its_experiments_status_and_its_name_is_free_then(tmp_path: Path) -> None:
    bad, good = ["status", "none", "--storage", "~/r"], ["search", "--help"]
    requests = [Request(tuple(words), "xpe-sweep-mine", "mine", "~/r", 90) for words in (bad, good)]
    texts = [shlex.split(encode(request))[-1] for request in requests]
    # another Ray on this machine has taken the one port that jobs are started through
    alone = ["unshare", "-n", "bash", "-c", 'ip link set lo up; exec "$@"', "bash", sys.executable, "-c", WITH_JOBS]
    environment = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "PYTHONPATH")}
    environment |= {"HOME": str(tmp_path), "RAY_TMPDIR": tempfile.mkdtemp(prefix="xr", dir="/tmp")}
    try:
        done = subprocess.run(
            [*alone, *texts], cwd=bring_code(tmp_path), env=environment, capture_output=True, text=True, timeout=300
        )
    finally:
        shutil.rmtree(environment["RAY_TMPDIR"], ignore_errors=True)
    lines = done.stdout.splitlines()
    ends = [json.loads(line.removeprefix(MARK)) for line in lines if line.startswith(MARK)]
    assert [end.get("status") for end in ends] == [None, 2, None, 0], done.stdout + done.stderr
    second = lines[lines.index(f"{MARK}{json.dumps(ends[1])}") :]
    assert any(f"{tmp_path}/r is not there" in line for line in lines)
    assert any("Usage: " in line for line in second) and not any("is not there" in line for line in second)
