"""Reports by another metric than the task's first."""

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from sweep.analysis import main_table, rank, read_report_data, read_results
from sweep.run import app
from sweep.storage import Folder
from tests.making.experiments import NUM_EXAMPLES, write_grid
from tests.sweep.analysis.test_tables import ARMS, accuracy
from xpe_core.errors import InputError


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """Write a grid scored by both metrics: by macro F1 everything is half as good, and DUAL is the best."""
    write_grid(tmp_path / "made", ARMS, accuracy)
    runs = dict(pl.read_parquet(tmp_path / "made" / "runs").select("run_id", "method").iter_rows())
    (part,) = (tmp_path / "made" / "evaluations").iterdir()
    rows = pl.read_parquet(part)
    is_dual = pl.col("run_id").replace_strict(runs) == "dual"
    sums = pl.when(is_dual).then(0.9 * NUM_EXAMPLES).otherwise(pl.col("score_sum") / 2)
    other = rows.with_columns(metric=pl.lit("macro_f1"), score_sum=sums, chance_sum=pl.lit(None, pl.Float64))
    pl.concat([rows, other]).write_parquet(part)
    return tmp_path


def say(*arguments: str) -> str:
    """Return what a command prints in words, or the sentence that it ends with."""
    ran = CliRunner().invoke(app, list(arguments))
    if isinstance(ran.exception, InputError):
        return f"error: {ran.exception}"
    assert ran.exit_code == 0, ran.output
    return " ".join(ran.output.split())


def test_tables_are_of_the_tasks_first_metric_or_of_the_one_asked_for(storage: Path) -> None:
    folders = [Folder(storage / "made")]
    first, other = (main_table(read_results(folders, metric=metric)) for metric in (None, "macro_f1"))
    assert read_results(folders).metric == "accuracy"
    spt = pl.col("arm") == "spt"
    assert other.filter(spt)["score"].to_list() == pytest.approx((first.filter(spt)["score"] / 2).to_list())
    dual = other.filter(pl.col("arm") == "dual")["score"].to_list()
    assert dual == pytest.approx([0.9] * len(dual)) and dual


def test_the_best_for_a_group_is_by_the_metric_asked_for(storage: Path) -> None:
    for metric, arm in ((None, "xpe"), ("macro_f1", "dual")):
        results = read_results([Folder(storage / "made")], metric=metric)
        assert rank(results, {"low_performing": 1.0})["arm"][0] == arm


def test_every_title_and_column_names_the_metric(storage: Path) -> None:
    text = say("report", "made", "--metric", "macro_f1", "--all", "--storage", str(storage))
    assert "Test macro F1 in %" in text and "Difference to spt in points of macro F1" in text
    assert "accuracy [95 %]" not in text and "Test accuracy" not in text
    say("report", "made", "--metric", "macro_f1", "--format", "csv", "--storage", str(storage))
    columns = pl.read_csv(storage / "made" / "report" / "main.csv").columns
    assert "macro_f1" in columns and "accuracy" not in columns
    say("report", "made", "--metric", "macro_f1", "--format", "html", "--storage", str(storage))
    page = (storage / "made" / "report" / "report.html").read_text()
    assert "Test macro F1 in %" in page and '"macro F1 in %"' in page and "Test accuracy" not in page
    text = say("compare", "dual", "spt", "--metric", "macro_f1", "--storage", str(storage))
    assert "dual - spt, in points of macro F1, paired by seed" in text


@pytest.mark.parametrize(
    "command",
    [("report", "made"), ("compare", "dual", "spt"), ("best", "made", "--for", "unseen")],
)
def test_an_unknown_metric_is_one_sentence_with_those_there_are(storage: Path, command: tuple[str, ...]) -> None:
    said = say(*command, "--metric", "f1", "--storage", str(storage))
    assert said == "error: --metric f1: must be one of accuracy, macro_f1"


def test_a_metric_that_an_older_experiment_lacks_is_not_offered(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, accuracy)
    said = say("report", "made", "--metric", "macro_f1", "--storage", str(tmp_path))
    assert said == "error: --metric macro_f1: must be one of accuracy"


def test_a_metric_alone_is_no_purpose_of_the_best(storage: Path) -> None:
    said = say("best", "made", "--metric", "macro_f1", "--storage", str(storage))
    assert said.startswith("error: --metric: is of test scores, so it goes with --for")
    text = say("best", "made", "--for", "unseen", "--metric", "macro_f1", "--storage", str(storage))
    assert "by test macro F1 (unseen)" in text and "best made --for unseen --metric macro_f1" in text


def test_nothing_is_beside_the_published_table_by_another_metric(storage: Path) -> None:
    found = read_report_data([Folder(storage / "made")], metric="macro_f1")
    assert found.published.is_empty() and found.not_comparable == "the metric is macro F1, not accuracy"


def test_the_bar_of_guessing_is_one_of_accuracy(storage: Path) -> None:
    (part,) = (storage / "made" / "evaluations").iterdir()
    rows = pl.read_parquet(part)
    bar = pl.when(pl.col("metric") == "accuracy").then(0.99 * NUM_EXAMPLES)
    rows.with_columns(chance_sum=bar).write_parquet(part)
    assert "most frequent class" in say("report", "made", "--storage", str(storage))
    text = say("report", "made", "--metric", "macro_f1", "--storage", str(storage))
    assert "most frequent class" not in text
