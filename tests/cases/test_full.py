"""Full fine-tuning from an experiment's file to a model that transformers loads."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from transformers import AutoModelForSequenceClassification

from sweep.analysis import read_runs
from sweep.storage import Folder
from tests.conftest import ONE_THREAD, Run

SETTINGS = {"source_set": "eng_Latn", "batch_size": 8, "max_steps": 6, "eval_steps": 3, "max_length": 16}


@pytest.fixture
def shared(dataset: str, backbone: str) -> dict[str, Any]:
    """Give what the experiments have in common."""
    base = {**SETTINGS, "backbone": backbone, "dataset": dataset, "precision": "float32", "optimizer": "adamw"}
    return {
        "base": base,
        "seeds": [1, 2],
        "evaluation": {"languages": ["kat_Geor", "eng_Latn"], "max_examples": 6},
        "resources": {**ONE_THREAD, "checkpoint_seconds": 0},
    }


def write(folder: Path, values: dict[str, Any]) -> str:
    (folder / "mine.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return str(folder / "mine.yaml")


@pytest.mark.usefixtures("local_ray", "preloaded_commands")
def test_an_arm_of_full_fine_tuning_is_run_reported_exported_and_evaluated(
    shared: dict[str, Any], run_here: Run, tmp_path: Path
) -> None:
    arms = {"head": {"tuning": "none"}, "full": {"tuning": "full", "gradient_checkpointing": True}}
    file, storage = write(tmp_path, {**shared, "kind": "grid", "arms": arms}), ["--storage", str(tmp_path)]
    assert "3 packs of" in run_here("grid", file, *storage, "--dry-run")
    run_here("grid", file, *storage)
    runs = read_runs(Folder(tmp_path / "mine"))
    assert runs["state"].to_list() == ["complete"] * 4
    of_arm = runs.filter(pl.col("arm") == "full")
    assert of_arm["num_runs_in_pack"].to_list() == [1, 1] and of_arm["gradient_checkpointing"].to_list() == [True, True]
    trained = {row["arm"]: row["num_trained_parameters"] for row in runs.iter_rows(named=True)}
    assert trained["full"] > 10 * trained["head"]
    assert "full" in run_here("report", "mine", *storage)
    model = str(tmp_path / "model")
    assert "AutoModelForSequenceClassification" in run_here("export", "mine", "--arm", "full", "--to", model, *storage)
    assert AutoModelForSequenceClassification.from_pretrained(model).config.num_labels == 3
    texts = ["--text", "spdeu1 spdeu2"]
    kept = sorted(tmp_path.glob("mine/adapters/*.safetensors"))
    run_id = of_arm.sort("validation_accuracy", "seed", descending=[True, False])["run_id"][0]
    own = next(path for path in kept if path.stem == run_id)
    assert run_here("predict", model, *texts) == run_here("predict", str(own), *texts)
    run_here("evaluate", model, "--name", "tested", "--dataset", shared["base"]["dataset"], *storage)
    tested = read_runs(Folder(tmp_path / "tested"))
    assert tested["state"].to_list() == ["complete"] and tested["method"].to_list() == ["full"]


@pytest.mark.usefixtures("local_ray", "preloaded_commands")
def test_a_search_trains_all_seeds_of_a_trial(shared: dict[str, Any], run_here: Run, tmp_path: Path) -> None:
    values = {
        **shared,
        "kind": "search",
        "base": {**shared["base"], "tuning": "full"},
        "space": {"learning_rate": {"choice": [1e-3, 1e-4]}},
        "num_samples": 2,
        "keep": "best",
        "scheduler": {"grace_period": 6},
    }
    run_here("search", write(tmp_path, values), "--storage", str(tmp_path))
    runs = read_runs(Folder(tmp_path / "mine"))
    assert runs["num_runs_in_pack"].to_list() == [2] * 4
    assert len([*tmp_path.glob("mine/adapters/*.safetensors")]) == 2
