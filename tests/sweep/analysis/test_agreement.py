"""Views of one experiment that must agree: its tables, its cells, its ledger, and all that is chosen from them."""

import io
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from sweep.analysis import asked_runs, best_experiment, costs, find_best, rank, read_results, read_runs
from sweep.analysis.chosen_adapter import choose_configuration
from sweep.experiment.arms import Replication
from sweep.experiment.search import Search
from sweep.planning.replication import resolve_replication
from sweep.records.ledger import read_ledger
from sweep.records.ranking import rank_trials
from sweep.report.inspection import print_experiments
from sweep.storage import Folder
from tests.making.experiments import make_rows, put, write_search
from tests.sweep.analysis.test_per_language import SEARCH, flat

SHORTER = SEARCH.model_copy(update={"base": {"max_steps": 30}})
"""The search before it was given more steps."""
TRIALS = [
    ({"encoder_ratio": 0.4, "batch_size": 8}, "complete", 0.45, 90),  # one of its two seeds fails
    ({"encoder_ratio": 0.9, "batch_size": 8}, "complete", 0.6, 90),
    ({"encoder_ratio": 0.1, "batch_size": 8}, "complete", 0.6, 90),  # equal, but proposed later
    ({"encoder_ratio": 0.3, "batch_size": 16}, "complete", 0.5, 90),
    ({"encoder_ratio": 0.5, "batch_size": 16}, "pruned", 0.8, 10),
]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Write a search of which the best is not the one with the highest single number."""
    write_search(tmp_path / "found", SHORTER, [(TRIALS[3][0], "complete", 0.95, 30)], flat)
    write_search(tmp_path / "found", SEARCH, TRIALS, flat, first=1)
    fragile = SEARCH.config(TRIALS[0][0])
    put(tmp_path / "found", *make_rows(fragile, 1, (1,), flat, selection_accuracy=0.9))
    runs, _ = make_rows(fragile, 1, (2,), flat, state="failed", selection_accuracy=None)
    put(tmp_path / "found", runs, [])
    return Folder(tmp_path / "found")


def test_every_view_of_a_search_has_the_same_best(folder: Folder) -> None:
    expected = SEARCH.config(TRIALS[1][0]).config_id
    results = read_results([folder])
    best = find_best(asked_runs(read_runs(folder), SEARCH))
    alone = best_experiment(folder, SEARCH)
    replication = resolve_replication(Replication(kind="replicate", of="found", seeds=(3, 4)), folder.parent)
    assert best is not None and alone is not None
    assert best.config_id == expected
    assert rank(results)["config_id"][0] == expected
    assert rank_trials(SEARCH, read_ledger(folder).values())[0].subject == expected
    assert costs(results.experiments)["best"].to_list() == [expected]
    assert Search(**alone).config().config_id == expected
    assert set(choose_configuration(folder)["config_id"]) == {expected}
    assert replication.corners[0].config_id == expected
    listed = io.StringIO()
    print_experiments(Console(file=listed, width=100), str(folder.parent))
    assert " 60.0 " in listed.getvalue() and "95.0" not in listed.getvalue()


def test_every_view_of_a_search_has_the_same_order_and_scores(folder: Folder) -> None:
    ranked = rank(read_results([folder]))
    order = [SEARCH.config(TRIALS[number][0]).config_id for number in (1, 2, 3, 0)]
    assert ranked["config_id"].to_list() == order
    assert ranked["score"].to_list() == pytest.approx([0.6, 0.6, 0.5, 0.45])
    of_trials = rank_trials(SEARCH, read_ledger(folder).values())
    assert [one.subject for one in of_trials] == order
    assert [one.score for one in of_trials] == pytest.approx([0.6, 0.6, 0.5, 0.45])


def test_a_seed_that_failed_is_not_exported_and_still_counts(folder: Folder) -> None:
    fragile = SEARCH.config(TRIALS[0][0]).config_id
    chosen = choose_configuration(folder, fragile)
    assert chosen.select("seed", "state").rows() == [(1, "complete")]
    assert len(read_runs(folder).filter(pl.col("config_id") == fragile)) == 2
