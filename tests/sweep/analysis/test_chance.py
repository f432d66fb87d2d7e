"""Whether an accuracy is above the most frequent class, by hand."""

from pathlib import Path

import polars as pl
import pytest

from sweep.analysis import read_results
from sweep.analysis.chance import beside_most_frequent, is_above_most_frequent
from sweep.storage import Folder
from tests.making.experiments import NUM_EXAMPLES, write_grid
from tests.sweep.analysis.test_tables import ARMS


def test_above_means_more_than_two_standard_errors_of_examples_and_seeds() -> None:
    # four languages of 100 examples at 0.5: the mean's standard error is sqrt(0.25 / 100 / 4) = 0.025
    shares, sizes = [0.5] * 4, [100] * 4
    assert is_above_most_frequent([0.551, 0.551], shares, sizes)
    assert not is_above_most_frequent([0.549, 0.549], shares, sizes)
    # seeds 0.2 apart: another 0.1, so 2 x sqrt(0.025² + 0.1²) = 0.206 is asked for
    assert not is_above_most_frequent([0.6, 0.8], shares, sizes)
    assert is_above_most_frequent([0.61, 0.81], shares, sizes)
    assert is_above_most_frequent([0.56], shares, sizes)


def test_cells_stand_beside_the_mean_share_of_their_languages(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, lambda run, code: 0.2 if run.method == "spt" else 0.6)
    part = tmp_path / "made" / "evaluations" / "part-0000.parquet"
    rows = pl.read_parquet(part)
    counts = pl.when(pl.col("language") == "eng_Latn").then(NUM_EXAMPLES // 2).otherwise(NUM_EXAMPLES // 4)
    rows.with_columns(chance_sum=counts.cast(pl.Float64)).write_parquet(part)
    results = read_results([Folder(tmp_path / "made")])
    found = {one.arm: one for one in beside_most_frequent(results)}
    assert found["spt"].most_frequent == pytest.approx((0.5 + 4 * 0.25) / 5)
    assert (found["spt"].is_above, found["xpe"].is_above, found["dual"].is_above) == (False, True, True)
    assert found["xpe"].score == pytest.approx(0.6)


def test_tables_of_before_the_count_say_nothing(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, lambda run, code: 0.2)
    part = tmp_path / "made" / "evaluations" / "part-0000.parquet"
    pl.read_parquet(part).drop("chance_sum").write_parquet(part)
    assert beside_most_frequent(read_results([Folder(tmp_path / "made")])) == []
