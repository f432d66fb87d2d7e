"""Pairs of texts from a data set to published files: a tiny experiment, and everything that is done with it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.making.pairs import LABELS, PAIRS, SIZES, make_encoder, write_pairs

Run = Callable[..., str]
GRID = """
kind: grid
base:
  task: nli
  backbone: {backbone}
  dataset: {dataset}
  source_set: eng_Latn
  max_length: 16
  batch_size: 8
  max_steps: 6
  eval_steps: 3
  learning_rate: 5e-3
  precision: float32
arms:
  head: {{tuning: none}}
  xpe: {{num_virtual_tokens: 4, encoder_ratio: 1.0, encoder_hidden_size: 8}}
seeds: [1, 2]
evaluation: {{languages: all}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a backbone, a data set and an experiment about both."""
    folder = tmp_path_factory.mktemp("pairs")
    backbone, dataset = make_encoder("bert", folder / "bert"), write_pairs(folder / "data")
    (folder / "pairs.yaml").write_text(GRID.format(backbone=backbone, dataset=dataset), encoding="utf-8")
    return folder


@pytest.fixture
def trained(place: Path, run_here: Run, local_ray: None) -> Path:
    """Run the experiment, once, and return its folder."""
    folder = place / "results" / "pairs"
    if not folder.exists():
        run_here("grid", str(place / "pairs.yaml"), "--storage", str(place / "results"))
    return folder


def test_training_in_one_language_is_tested_in_all(trained: Path) -> None:
    rows = pl.read_parquet(trained / "evaluations").filter(split="test", metric="accuracy")
    assert set(rows["language"]) == {"eng_Latn", "bzd_Latn", "deu_Latn"} and len(rows) == 3 * 4
    assert set(rows["num_examples"]) == {SIZES["test"]}
    runs = pl.read_parquet(trained / "runs")
    assert runs["state"].to_list() == ["complete"] * 4 and set(runs["task"]) == {"nli"}
    assert set(runs["method"]) == {"head", "xpe"}


def test_the_plan_says_what_is_trained_and_tested(place: Path, run_here: Run, local_ray: None) -> None:
    said = run_here("grid", str(place / "pairs.yaml"), "--storage", str(place / "planned"), "--dry-run")
    assert "natural language inference" in said and "3 languages" in said
    assert not (place / "planned").exists()


def test_the_report_has_the_chance_of_each_language(trained: Path, run_here: Run) -> None:
    said = run_here("report", "pairs", "--storage", str(trained.parent))
    assert "33.3" in said


def test_pairs_are_answered_from_the_command_line_a_table_and_lines(
    trained: Path,
    run_here: Run,
    run_with_notes: Callable[..., tuple[str, str]],
    tmp_path: Path,
    refuse: Callable[..., str],
) -> None:
    storage = ("--storage", str(trained.parent))
    texts = [word for pair in PAIRS for text in pair for word in ("--text", text)]
    answered = run_here("predict", "pairs", *texts, *storage, "--format", "tsv").splitlines()
    assert [line.split("\t")[2:] for line in answered] == [list(pair) for pair in PAIRS]
    assert {line.split("\t")[0] for line in answered} <= set(LABELS)

    table = tmp_path / "pairs.tsv"
    table.write_text("id\tsentence1\tb\n" + "".join(f"{n}\t{a}\t{b}\n" for n, (a, b) in enumerate(PAIRS)))
    to = tmp_path / "answers.jsonl"
    arguments = ("predict", "pairs", "--file", str(table), "--column", "hypothesis=b", "--to", str(to))
    _, notes = run_with_notes(*arguments, *storage)
    assert "premise is read from the column 'sentence1'" in notes
    rows = [json.loads(line) for line in to.read_text().splitlines()]
    assert [row["label"] for row in rows] == [line.split("\t")[0] for line in answered]
    assert [(row["id"], row["b"]) for row in rows] == [(str(n), b) for n, (_, b) in enumerate(PAIRS)]

    lines = tmp_path / "pairs.txt"
    lines.write_text("".join(f"{a}\t{b}\n" for a, b in PAIRS))
    run_here("predict", "pairs", "--file", str(lines), "--to", str(tmp_path / "answers.tsv"), *storage)
    assert (tmp_path / "answers.tsv").read_text().splitlines() == answered

    lines.write_text("a\tb\nonly one\n")
    assert "line 2: a line must hold premise and hypothesis with a tab between them" in refuse(
        "predict", "pairs", "--file", str(lines), *storage
    )
    assert "no column 'hypothesis'" in refuse("predict", "pairs", "--file", str(table), *storage)
    assert "--text PREMISE and --text HYPOTHESIS" in refuse("predict", "pairs", "--text", "a", *storage)


@pytest.mark.parametrize(("method", "form"), [("head", "own"), ("spt", "peft"), ("xpe", "own")])
def test_an_exported_run_is_evaluated_with_the_same_counts(
    trained: Path, run_here: Run, tmp_path: Path, method: str, form: str
) -> None:
    runs = pl.read_parquet(trained / "runs").filter(method="head" if method == "head" else "xpe", seed=1)
    run_id, storage = runs["run_id"][0], ("--storage", str(trained.parent))
    run_here("export", "pairs", "--run", run_id, "--to", str(tmp_path / "adapter"), "--format", form, *storage)
    run_here("evaluate", str(tmp_path / "adapter"), "--name", "again", "--storage", str(tmp_path))
    again, before = (
        pl.read_parquet(folder / "evaluations").filter(split="test", metric="accuracy").sort("language")
        for folder in (tmp_path / "again", trained)
    )
    assert again["score_sum"].to_list() == before.filter(run_id=run_id)["score_sum"].to_list()
    assert set(pl.read_parquet(tmp_path / "again" / "runs")["task"]) == {"nli"}


def test_a_published_card_shows_how_pairs_are_classified(trained: Path, run_here: Run, tmp_path: Path) -> None:
    hub = ("--to", "hub:me/pairs", "--dry-run", "--folder", str(tmp_path / "hub"))
    run_here("export", "pairs", "--arm", "xpe", *hub, "--storage", str(trained.parent))
    card = next((tmp_path / "hub").rglob("README.md")).read_text(encoding="utf-8")
    assert 'classifier.predict([("A premise.", "A hypothesis.")])' in card
    assert "--text 'A premise.' --text 'A hypothesis.'" in card
    assert "# hypothesis" in card and "tokenizer(texts, pairs, padding=True" in card
    assert "Cross-lingual natural language inference" in card


def test_check_data_says_what_pairs_are_in_it(place: Path, run_here: Run) -> None:
    said = run_here("check-data", str(place / "data"), "--set", "task=nli", "--backbone", str(place / "bert"))
    assert "entailment" in said and "bzd_Latn" in said and "--set task=nli" in said
    assert "Length in tokens" in said
    leak = place / "leak"
    shutil.copytree(place / "data", leak)
    train = (leak / "eng_Latn" / "train.tsv").read_text().splitlines()
    with (leak / "eng_Latn" / "test.tsv").open("a") as test:
        premise, hypothesis, _ = train[1].split("\t")
        test.write(f"{premise}\tz z\tneutral\n{premise}\t{hypothesis}\tneutral\n")
    assert "1 test text stands in the train split" in run_here("check-data", str(leak), "--set", "task=nli")


def test_an_experiment_without_the_task_says_which_column_is_missing(
    place: Path, refuse: Callable[..., Any], local_ray: None, tmp_path: Path
) -> None:
    said = refuse(
        *("grid", str(place / "pairs.yaml"), "--set", "columns=text=premise,hypothesis=hypothesis"),
        *("--storage", str(tmp_path), "--dry-run"),
    )
    assert "text is no text of this task; it has premise and hypothesis" in said


def test_the_shipped_grid_runs_on_a_folder(place: Path, run_here: Run, local_ray: None, tmp_path: Path) -> None:
    few = (
        f"backbone={place / 'bert'}",
        "max_length=16",
        "max_steps=2",
        "eval_steps=2",
        "batch_size=4",
        "max_validation_examples=3",
        "evaluation.max_examples=3",
    )
    overrides = [word for one in (f"dataset={place / 'data'}", *few) for word in ("--set", one)]
    run_here("grid", "nli-e5", *overrides, "--seeds", "1", "--storage", str(tmp_path))
    rows = pl.read_parquet(tmp_path / "nli-e5" / "evaluations").filter(split="test", metric="accuracy")
    assert set(rows["language"]) == {"eng_Latn", "bzd_Latn", "deu_Latn"}
    assert set(pl.read_parquet(tmp_path / "nli-e5" / "runs")["state"]) == {"complete"}
