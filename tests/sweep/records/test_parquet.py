"""The tables on disk: a row a metric, and what older versions wrote."""

from pathlib import Path

import polars as pl
import pytest

from sweep.analysis import read_evaluations
from sweep.records.parquet import EVALUATION_SCHEMA, RUN_SCHEMA, read_rows, score_rows, write_rows
from sweep.records.rows import EvaluationRow, RunRow
from sweep.storage import Folder
from xpe_core.config import FIELDS
from xpe_core.errors import InputError
from xpe_core.tasks.scores import LanguageScore

SCORE = LanguageScore("kat_Geor", 4, {"accuracy": 3.0, "macro_f1": 2.5}, 0.7, {"accuracy": 2.0})
OLDER = {"split": "test", "language": "kat_Geor", "num_examples": 4, "num_correct": 3, "macro_f1": 0.625, "loss": 0.7}


def write_older(folder: Path, *run_ids: str, **values: float | None) -> None:
    """Write a table as a version wrote it that had no row a metric."""
    (folder / "evaluations").mkdir(parents=True)
    rows = [{"run_id": run_id, **OLDER, "num_most_frequent": 2, **values} for run_id in run_ids]
    pl.DataFrame(rows).write_parquet(folder / "evaluations" / "part-0000.parquet")


def test_a_score_is_a_row_a_metric(tmp_path: Path) -> None:
    rows = score_rows("a", "test", [SCORE])
    assert [(row["metric"], row["score_sum"], row["chance_sum"]) for row in rows] == [
        ("accuracy", 3.0, 2.0),
        ("macro_f1", 2.5, None),
    ]
    write_rows(Folder(tmp_path), "evaluations", 0, ["a"], rows)
    assert read_evaluations(tmp_path)["score"].to_list() == [0.75]
    assert read_evaluations(tmp_path, "macro_f1")["score"].to_list() == [0.625]
    with pytest.raises(InputError, match="--metric f1: must be one of accuracy, macro_f1"):
        read_evaluations(tmp_path, "f1")


def test_an_older_table_has_the_rows_that_this_version_would_have_written(tmp_path: Path) -> None:
    write_older(tmp_path, "a")
    rows = read_rows(Folder(tmp_path), "evaluations")
    assert rows is not None
    assert rows.to_pylist() == score_rows("a", "test", [SCORE])


def test_what_an_older_table_does_not_know_is_absent_or_null(tmp_path: Path) -> None:
    write_older(tmp_path, "a", macro_f1=None, num_most_frequent=None)
    rows = read_rows(Folder(tmp_path), "evaluations")
    assert rows is not None
    (row,) = rows.to_pylist()
    assert (row["metric"], row["score_sum"], row["chance_sum"]) == ("accuracy", 3.0, None)


def test_rows_are_put_into_an_older_file_beside_those_of_its_other_runs(tmp_path: Path) -> None:
    write_older(tmp_path, "a", "b")
    better = LanguageScore("kat_Geor", 4, {"accuracy": 4.0}, 0.1)
    write_rows(Folder(tmp_path), "evaluations", 0, ["b"], score_rows("b", "test", [better]))
    table = read_evaluations(tmp_path)
    assert table.select("run_id", "score").rows() == [("a", 0.75), ("b", 1.0)]
    assert read_evaluations(tmp_path, "macro_f1")["run_id"].to_list() == ["a"]


def test_a_rows_type_and_its_table_have_the_same_columns() -> None:
    assert {*RunRow.__annotations__, *FIELDS} == {*RUN_SCHEMA.names}
    assert list(EvaluationRow.__annotations__) == EVALUATION_SCHEMA.names
