"""Every benchmark runs, at a toy size: its figures mean nothing, that it prints them does."""

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from benchmarks import ray_peer, report
from sweep.experiment.search import Search
from tests.conftest import ONE_THREAD

WITHOUT_RAY = {
    "backbone_dropout": ["dropout_float32", "dropout_bfloat16"],
    "encoders": ["encoder_mlp", "encoder_lstm", "encoder_attention", "encoder_none"],
    "evaluation": ["evaluation_float32", "evaluation_bfloat16"],
    "full": ["full_float32", "full_bfloat16"],
    "head_only": ["head_only_1", "head_only_10"],
    "packs": [f"pack_{kind}_{size}" for kind in ("train", "evaluation") for size in (1, 2, 4, 10)],
    "prediction": ["prediction_float32_default", "prediction_bfloat16_best", "prediction_as_they_come_best"],
    "roofline": ["step_float32_of_float32_product", "step_bfloat16_of_float32_product"],
    "versions": ["this_over_other_float32", "this_over_other_bfloat16"],
}
"""Some of the ratios that each prints."""
WITH_PEFT = ("full", "evaluation", "peers", "prediction", "ray_peer")


def run(patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, *arguments: str) -> dict[str, float]:
    """Run a benchmark's command line in this process and return the ratios that it prints."""
    if name in WITH_PEFT:
        pytest.importorskip("peft", reason="peft is in the extra bench")
    patch.setattr(sys, "argv", [f"{name}.py", *arguments])
    importlib.import_module(f"benchmarks.{name}").main()
    return {key: float(value) for key, value in re.findall(r"^ratio (\S+) ([\d.]+)$", capsys.readouterr().out, re.M)}


@pytest.mark.parametrize("name", sorted(WITHOUT_RAY))
def test_a_benchmark_of_training_and_testing_runs(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ratios = run(monkeypatch, capsys, name, "--toy")
    assert set(WITHOUT_RAY[name]) <= set(ratios)
    assert all(value > 0 for value in ratios.values())


def test_peers_are_compared_in_training_and_in_what_was_learnt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ratios = run(monkeypatch, capsys, "peers", "--toy", "--parts", "training,accuracy")
    assert set(ratios) == {"train_float32", "train_bfloat16"}


def test_baselines_are_compared_with_their_references(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(run(monkeypatch, capsys, "references", "--toy")) == {"head_gap", "lora_gap", "full_gap"}


def test_a_made_studys_false_claims_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks import made_study

    made_study.main(["--studies", "40", "--methods", "3"])
    head, claims, promises = capsys.readouterr().out.splitlines()
    assert head.startswith("40 studies of 3 methods")
    assert all(float(part.split()[-1]) <= 0.2 for part in claims.split(","))
    promised, leaked, held = (float(part.split()[1]) for part in promises.split(", "))
    assert promised > leaked > 0.5 and abs(held) < 0.5  # the search's luck is not in what fresh seeds show


def test_the_coverage_of_intervals_is_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import coverage

    monkeypatch.setattr(sys, "argv", ["coverage.py", "--experiments", "2", "--languages", "4", "--seeds", "6"])
    coverage.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 3 * len(coverage.SETTINGS) + 2
    assert all(0 <= float(line.split()[-1]) <= 1 for line in lines[1:])


def test_a_report_is_timed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["report.py", "--runs", "16", "--seeds", "2"])
    report.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        [f"report_{form}", "16", "runs"] for form in ("terminal", "csv", "html")
    ]


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(
    ("name", "arguments", "ratios"),
    [
        ("overhead", ["--toy"], {"overhead"}),
        ("scaling", ["--toy", "--workers", "2"], {"scaling_1", "scaling_2"}),
        ("stub_search", ["--trials", "4"], {"stub_trials_per_second"}),
    ],
)
def test_a_benchmark_of_searches_runs(
    name: str,
    arguments: list[str],
    ratios: set[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert set(run(monkeypatch, capsys, name, *arguments)) == ratios


@pytest.mark.usefixtures("local_ray")
def test_the_peer_searches_with_ray_tune_alone(dataset: str, backbone: str) -> None:
    pytest.importorskip("peft", reason="peft is in the extra bench")
    values = {"backbone": backbone, "dataset": dataset, "source_set": "eng_Latn", "max_length": 16, "batch_size": 8}
    sweep = Search(
        kind="search",
        base={**values, "encoder_ratio": 1.0, "encoder_hidden_size": 8, "max_steps": 2, "eval_steps": 1},
        space={"learning_rate": {"log_uniform": [5e-4, 5e-3]}},
        num_samples=2,
        seeds=[1],
        scheduler={"grace_period": 1},
        evaluation={"languages": ["eng_Latn"], "max_examples": 2},
        resources=ONE_THREAD,
    )
    assert ray_peer.search(sweep, reuse_actors=True) >= 1


@pytest.mark.usefixtures("local_ray")
def test_the_grid_with_and_without_dropout_in_the_backbone_runs(
    dataset: str, backbone: str, run_here: Callable[..., str], tmp_path: Path
) -> None:
    file = Path(__file__).parents[2] / "benchmarks" / "backbone_dropout.yaml"
    values = {"dataset": dataset, "backbone": backbone, "source_set": "eng_Latn", "max_length": 16, "max_steps": 2}
    values |= {"eval_steps": 2, "evaluation.languages": "[kat_Geor]", "resources.cpus_per_trial": 1}
    changes = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    said = run_here("grid", str(file), *changes, "--seeds", "1", "--storage", str(tmp_path))
    runs = pl.read_parquet(tmp_path / "backbone_dropout" / "runs")
    assert sorted(runs.select("encoder_ratio", "backbone_dropout").rows()) == [(0, 0), (0, 0.1), (1, 0), (1, 0.1)]
    assert runs["state"].to_list() == ["complete"] * 4 and "xpe_dropout" in said


def test_every_benchmark_has_a_toy_run() -> None:
    tests = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_*.py"))
    parts = {"made_up", "setting", "peft_trainer", "rounds"}  # of the others
    for file in Path(__file__).parents[2].joinpath("benchmarks").glob("[!_]*.py"):
        assert file.stem in parts or re.search(rf"\b{file.stem}\b", tests), file.stem
