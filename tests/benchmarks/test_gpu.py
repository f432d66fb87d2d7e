"""The benchmark for one GPU, at its toy size on a CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu

ROOT = Path(__file__).parents[2]
WITHOUT = """
import runpy, sys
sys.modules |= dict.fromkeys(("ray", "sweep", "optuna", "peft"))  # as where they are not installed
sys.argv = ["gpu.py", "--toy"]
runpy.run_module("benchmarks.gpu", run_name="__main__")
"""


def test_packs_and_the_peer_are_measured_and_written_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("peft", reason="peft is in the extra bench")
    monkeypatch.setenv("XPE_CACHE_DIR", str(tmp_path / "before"))  # the benchmark has a cache of its own
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--toy", "--out", str(tmp_path / "found.json")])
    gpu.main()
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    by_name = {contestant["name"]: contestant for contestant in found["contestants"]}
    assert list(by_name) == ["pack of 1", "pack of 10", "peft, Trainer"]
    assert all(contestant["tokens_per_second"] > 0 for contestant in by_name.values())
    for name in ("pack of 1", "pack of 10"):
        assert 0 < by_name[name]["product_share"] < 1
        assert by_name[name]["test_seconds"] > 0
    assert by_name["peft, Trainer"]["product_share"] is None
    assert set(found["ratios"]) == {"gpu_pack_10", "gpu_pack_1_peft", "gpu_pack_10_peft"}
    printed = capsys.readouterr().out
    assert "test of 205 x 1 texts" in printed
    assert f"ratio gpu_pack_10 {found['ratios']['gpu_pack_10']:.3f}" in printed


def test_it_runs_where_there_is_no_ray_no_sweep_and_no_peft() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "peft is not installed: there is no row of peft under Trainer" in done.stdout
    assert "pack of 10" in done.stdout and "ratio gpu_pack_10 " in done.stdout
