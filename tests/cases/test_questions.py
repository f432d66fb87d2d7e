"""Questions about passages: a tiny experiment from SQuAD's JSON to tables, and what is refused in a sentence."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.making.pairs import make_encoder
from tests.making.questions import LANGUAGES, write_questions

Run = Callable[..., str]
GRID = """
kind: grid
base:
  task: qa
  readout: span
  backbone: {backbone}
  dataset: {dataset}
  columns: split=50/17/33
  source_set: eng_Latn
  max_length: 14
  doc_stride: 4
  batch_size: 8
  max_steps: 6
  eval_steps: 3
  learning_rate: 5e-3
  precision: float32
arms:
  head: {{tuning: none}}
  xpe: {{num_virtual_tokens: 4, encoder_ratio: 1.0, encoder_hidden_size: 8}}
  lora: {{tuning: lora, rank: 2}}
seeds: [1, 2]
evaluation: {{languages: all}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a backbone, a data set and an experiment about both."""
    folder = tmp_path_factory.mktemp("questions")
    backbone, dataset = make_encoder("bert", folder / "bert"), write_questions(folder / "data")
    (folder / "questions.yaml").write_text(GRID.format(backbone=backbone, dataset=dataset), encoding="utf-8")
    return folder


@pytest.fixture
def trained(place: Path, run_here: Run, local_ray: None) -> Path:
    """Run the experiment, once, and return its folder."""
    folder = place / "results" / "questions"
    if not folder.exists():
        run_here("grid", str(place / "questions.yaml"), "--storage", str(place / "results"))
    return folder


def test_every_run_has_both_metrics_of_every_language(trained: Path) -> None:
    runs = pl.read_parquet(trained / "runs")
    assert runs["state"].to_list() == ["complete"] * 6 and set(runs["readout"]) == {"span"}
    rows = pl.read_parquet(trained / "evaluations").filter(split="test")
    assert len(rows) == 6 * len(LANGUAGES) * 2 and set(rows["metric"]) == {"f1", "exact_match"}
    assert len(set(rows["num_examples"])) == 1 and 20 <= rows["num_examples"][0] <= 28  # questions, not windows
    wide = rows.pivot("metric", index=["run_id", "language"], values="score_sum")
    assert (wide["f1"] >= wide["exact_match"]).all() and wide["f1"].sum() > 0


def test_the_plan_counts_questions_and_windows(place: Path, run_here: Run, local_ray: None) -> None:
    said = run_here("grid", str(place / "questions.yaml"), "--storage", str(place / "planned"), "--dry-run")
    assert "3 languages, 216 questions in 432 windows" in " ".join(said.split())
    assert "extractive question answering" in said


def test_tables_are_of_the_first_metric(trained: Path, run_here: Run) -> None:
    said = run_here("report", "questions", "--storage", str(trained.parent))
    assert "F1" in said
    assert "exact match" in run_here("report", "questions", "--metric", "exact_match", "--storage", str(trained.parent))


@pytest.mark.parametrize(("method", "form"), [("xpe", "own"), ("xpe", "peft"), ("lora", "peft")])
def test_an_exported_run_is_evaluated_with_the_same_scores(
    trained: Path, run_here: Run, tmp_path: Path, method: str, form: str
) -> None:
    run_id = pl.read_parquet(trained / "runs").filter(method=method, seed=1)["run_id"][0]
    arguments = ("--run", run_id, "--to", str(tmp_path / "adapter"), "--format", form)
    run_here("export", "questions", *arguments, "--storage", str(trained.parent))
    run_here("evaluate", str(tmp_path / "adapter"), "--name", "again", "--storage", str(tmp_path))
    again, before = (
        pl.read_parquet(folder / "evaluations").filter(split="test", metric="f1").sort("language")
        for folder in (tmp_path / "again", trained)
    )
    assert again["score_sum"].to_list() == pytest.approx(before.filter(run_id=run_id)["score_sum"].to_list())


def test_predict_answers_with_spans(
    trained: Path, run_here: Run, run_with_notes: Callable[..., tuple[str, str]], tmp_path: Path
) -> None:
    storage = ("--storage", str(trained.parent))
    said = run_here("predict", "questions", "--text", "g a", "--text", "a b c d", "--format", "jsonl", *storage)
    answer = json.loads(said)
    assert list(answer) == ["answer", "start", "score", "question", "context"]
    assert "a b c d"[answer["start"] :].startswith(answer["answer"]) and answer["answer"]

    table = tmp_path / "asked.csv"
    table.write_text("id,question,context,answer\n1,g a,a b c d,b\n2,g b,c d e,x\n", encoding="utf-8")
    asked = ("--file", str(table), "--to", str(tmp_path / "answers.csv"))
    _, notes = run_with_notes("predict", "questions", *asked, *storage)
    assert "the file has a column 'answer' of its own: the answer's is called 'predicted_answer'" in notes
    rows = pl.read_csv(tmp_path / "answers.csv")
    assert rows.columns == ["predicted_answer", "start", "score", "id", "question", "context", "answer"]
    assert rows["predicted_answer"][0] == answer["answer"]


def test_what_is_not_possible_is_one_sentence(
    trained: Path, place: Path, refuse: Callable[..., str], tmp_path: Path
) -> None:
    storage = ("--storage", str(trained.parent))
    run_id = pl.read_parquet(trained / "runs").filter(method="xpe", seed=1)["run_id"][0]
    export = ("export", "questions", "--run", run_id, "--to", str(tmp_path / "micm"), *storage)
    assert "micm-nlp's format takes classes, and the answers of readout=span are none" in refuse(
        *export, "--format", "micm"
    )
    asked = ("predict", "questions", "--text", "g a", "--text", "a b c")
    assert "--probabilities: this adapter answers with spans" in refuse(*asked, "--probabilities", *storage)
    assert "--text: 3 texts are no pairs; write --text QUESTION and --text CONTEXT" in refuse(
        *asked, "--text", "c", *storage
    )
    started = ("grid", str(place / "questions.yaml"), "--storage", str(tmp_path))
    said = refuse(*started, "--set", "readout=head", "--dry-run")
    assert "asks for another kind of answer than readout=head gives; allowed is readout=span" in said
    said = refuse(*started, "--set", "max_length=8", "--dry-run")
    assert "max_length=8: a question of 2 tokens leaves 3 for its passage" in said


def test_check_data_counts_questions(place: Path, run_here: Run) -> None:
    said = run_here("check-data", str(place / "data"), "--set", "task=qa", "--set", "columns=split=50/17/33")
    assert "216 texts in 3 languages splits" in " ".join(said.split()) and "class" not in said
