"""What the columns of CSV files are called, whatever the tables call them inside."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from sweep.analysis import read_report_data
from sweep.report.frames import with_ids
from sweep.report.sheet import Sheet
from sweep.storage import Folder
from tests.making.experiments import write_grid
from tests.sweep.analysis.test_tables import ARMS, accuracy


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_a_files_column_of_scores_is_called_by_the_metric_and_those_of_several_measures_are_not(
    metric: str, tmp_path: Path
) -> None:
    write_grid(tmp_path / "made", ARMS, accuracy)
    data = read_report_data([Folder(tmp_path / "made")])
    data = replace(data, results=replace(data.results, metric=metric))
    cell = {"arm": ["spt"], "source_set": ["eng_Latn"], "config_id": ["0"]}
    table = pl.DataFrame({**cell, "score": [0.5], "search_score": [0.6], "replication_score": [0.4]})
    columns = with_ids(Sheet("winners-curse", "", (), (), table), data).frame.columns
    assert columns[3:6] == [metric, "search_accuracy", "replication_accuracy"]
