"""Per language, by kind, the trade-off, the winner's curse, the published table, effort: by hand."""

from pathlib import Path

import polars as pl
import pytest

from sweep.analysis import (
    costs,
    extremes,
    importances,
    kinship_table,
    language_table,
    learning_curves,
    pareto_front,
    published_table,
    read_results,
    rungs,
    winners_curse,
)
from sweep.analysis.effort import trial_hours
from sweep.experiment.search import Search
from sweep.storage import Folder
from tests.making.experiments import make_rows, put, write_grid, write_replication, write_search
from tests.making.runs import ratio_of
from tests.sweep.analysis.test_tables import ARMS, accuracy
from xpe_core.config import RunConfig
from xpe_core.languages import load_languages
from xpe_core.tasks import TASKS

ALL_CODES = tuple(language.code for language in load_languages())


def test_a_language_has_its_accuracy_difference_and_facts(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, accuracy)
    table = language_table(read_results([Folder(tmp_path / "made")]))
    row = table.filter(arm="xpe", language="yor_Latn").row(0, named=True)
    assert row["score"] == pytest.approx(0.3 + 0.1 + 0.07)
    assert row["difference"] == pytest.approx(0.135)
    assert row["difference_low"] < 0.135 < row["difference_high"]
    assert (row["script"], row["family"], row["joshi_class"]) == ("Latn", "Atlantic-Congo", 2)
    assert (row["seen"], row["low_performing"], row["excluded"], row["num_seeds"]) == (False, True, False, 6)
    assert table.filter(language="eng_Latn")["excluded"].all()
    assert len(table) == 3 * 5
    found = extremes(table, 1).filter(arm="xpe")
    assert found["rank"].to_list() == [1]
    assert found["difference"].to_list() == pytest.approx([0.135])


def test_a_seed_that_lacks_a_language_is_not_counted_there_alone(tmp_path: Path) -> None:
    sweep = write_grid(tmp_path / "made", ARMS, accuracy)
    put(tmp_path / "made", *make_rows(sweep.corners[1], 1, [3], accuracy, ("eng_Latn", "yor_Latn"), arm="xpe"))
    table = language_table(read_results([Folder(tmp_path / "made")])).filter(arm="xpe")
    assert dict(zip(table["language"], table["num_seeds"], strict=True)) == {
        "eng_Latn": 6,
        "kat_Geor": 5,
        "nqo_Nkoo": 5,
        "tam_Taml": 5,
        "yor_Latn": 6,
    }


def test_families_and_scripts_leave_the_exclusion_set_out(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, accuracy)
    results = read_results([Folder(tmp_path / "made")])
    scripts = kinship_table(results, "script").filter(arm="spt")
    assert dict(zip(scripts["script"], scripts["num_languages"], strict=True)) == dict.fromkeys(
        ("Geor", "Latn", "Nkoo", "Taml"), 1
    )
    families = kinship_table(results, "family").filter(arm="xpe", family="Kartvelian").row(0, named=True)
    assert families["difference"] == pytest.approx(0.035)


def test_the_front_holds_what_no_other_beats_on_both(tmp_path: Path) -> None:
    points = {0.0: (0.3, 0.8), 0.2: (0.4, 0.7), 0.4: (0.35, 0.7), 0.6: (0.5, 0.5), 0.8: (0.45, 0.45)}

    def made(run: RunConfig, code: str) -> float:
        low, seen = points[ratio_of(run)]
        return low if code in ("yor_Latn", "nqo_Nkoo") else seen

    arms = {f"r{ratio:g}": {"encoder_ratio": ratio} for ratio in points}
    write_grid(tmp_path / "made", arms, made, seeds=(1, 2))
    table = pareto_front(read_results([Folder(tmp_path / "made")]))
    assert table.filter("on_front")["arm"].to_list() == ["r0", "r0.2", "r0.6"]
    assert table["seen"].to_list() == pytest.approx([0.8, 0.7, 0.7, 0.5, 0.45])


SEARCH = Search(
    base={"max_steps": 90},
    space={"encoder_ratio": {"uniform": [0.1, 0.9], "step": 0.1}, "batch_size": {"choice": [8, 16]}},
    num_samples=6,
    seeds=(1, 2),
    scheduler={"grace_period": 10, "reduction_factor": 3},
)
TRIALS = [
    ({"encoder_ratio": 0.1, "batch_size": 8}, "complete", 0.5, 90),
    ({"encoder_ratio": 0.2, "batch_size": 8}, "pruned", 0.3, 10),
    ({"encoder_ratio": 0.3, "batch_size": 16}, "complete", 0.6, 90),
    ({"encoder_ratio": 0.4, "batch_size": 16}, "pruned", 0.4, 30),
    ({"encoder_ratio": 0.5, "batch_size": 8}, "complete", 0.7, 90),
    ({"encoder_ratio": 0.6, "batch_size": 16}, "complete", 0.9, 90),
]


def flat(run: RunConfig, code: str) -> float:
    return 0.5 + 0.1 * ratio_of(run)


def test_a_replication_stands_beside_what_the_search_promised(tmp_path: Path) -> None:
    write_search(tmp_path / "found", SEARCH, TRIALS, flat)
    best = SEARCH.config(TRIALS[-1][0])
    write_replication(tmp_path / "fresh", best, lambda run, code: 0.45, range(3, 9), "found")
    halves = [read_results([Folder(tmp_path / name)]) for name in ("found", "fresh")]
    table = winners_curse(halves[0], halves[1])
    chosen = table.filter(measure="selection").row(0, named=True)
    assert (chosen["search_score"], chosen["replication_score"]) == pytest.approx((0.9, 0.5))
    low = table.filter(measure="low_performing").row(0, named=True)
    assert low["difference"] == pytest.approx(0.45 - 0.56)
    assert (low["num_tried"], low["num_search_seeds"], low["num_seeds"]) == (6, 2, 6)


def test_a_search_says_where_trials_were_stopped_and_what_that_saved(tmp_path: Path) -> None:
    write_search(tmp_path / "found", SEARCH, TRIALS, flat)
    results = read_results([Folder(tmp_path / "found")])
    curves = learning_curves(results.experiments)
    assert curves.filter(state="pruned")["step"].to_list() == [10, 30]
    steps = rungs(results.experiments, curves)
    assert steps["step"].to_list() == [10, 30, 90]
    assert steps["num_reached"].to_list() == [6, 5, 4]
    assert steps["num_stopped"].to_list() == [1, 1, 0]
    hours = trial_hours(results.experiments[0])
    cost = costs(results.experiments).row(0, named=True)
    assert cost["device_hours"] == pytest.approx(sum(hours.values()))
    assert cost["saved_device_hours"] == pytest.approx(8 * hours["t1"] + 2 * hours["t3"])
    assert (cost["num_trials"], cost["num_stopped"], cost["best"]) == (6, 2, SEARCH.config(TRIALS[-1][0]).config_id)
    found = importances(results.experiments)
    assert set(found["field"]) == {"encoder_ratio", "batch_size"}
    assert found["importance"].sum() == pytest.approx(1)
    assert set(found["num_trials"]) == {4}
    assert results.arms == ["dual"] and results.shown[0].num_tried == 6


def test_a_search_that_goes_on_says_so(tmp_path: Path) -> None:
    write_search(tmp_path / "found", SEARCH, TRIALS[:4], flat)
    problems = read_results([Folder(tmp_path / "found")]).problems["problem"]
    assert problems.to_list() == ["2 of 6 configurations have not ended: the best may change"]


def test_every_published_figure_stands_beside_ours(tmp_path: Path) -> None:
    arms = {"spt": {"encoder_ratio": 0.0}, "xpe": {"encoder_ratio": 1.0}}
    arms |= {"dual_30": {"encoder_ratio": 0.3}, "dual_70": {"encoder_ratio": 0.7}}

    def made(run: RunConfig, code: str) -> float:
        return 0.36 + (0.005 if run.seed % 2 else -0.005) + (0.1 if run.method == "xpe" else 0)

    write_grid(tmp_path / "made", arms, made, codes=ALL_CODES, source_sets=["enarzho", "joshi5", "xlmr_seen"])
    table = published_table(read_results([Folder(tmp_path / "made")]))
    published = TASKS["topic"].published()
    assert published is not None
    assert len(table) == len(published.figures) == 17
    assert table["note"].is_null().all()
    row = table.filter(source_set="joshi5", method="spt", group="low_performing").row(0, named=True)
    assert (row["published"], row["inside"], row["num_languages"]) == (0.36, True, 46)
    assert row["difference"] == pytest.approx(0, abs=1e-9)
    xpe = table.filter(source_set="joshi5", method="xpe", group="low_performing").row(0, named=True)
    assert not xpe["inside"] and xpe["difference"] == pytest.approx(0.46 - 0.391)


def test_what_is_not_comparable_with_the_published_table_is_not_compared(tmp_path: Path) -> None:
    write_grid(tmp_path / "small", {"spt": {"encoder_ratio": 0.0}}, flat)
    table = published_table(read_results([Folder(tmp_path / "small")]))
    notes = set(table.filter(pl.col("method") == "spt", pl.col("source_set") == "enarzho")["note"])
    assert notes == {"tested on 2 of the group's 46 languages"}
    assert table["score"].is_null().all()
    write_grid(tmp_path / "other", {"spt": {"encoder_ratio": 0.0}}, flat, base={"backbone": "e5-small"})
    assert published_table(read_results([Folder(tmp_path / "other")])).is_empty()


def test_languages_that_the_table_does_not_know_are_of_no_kind(tmp_path: Path) -> None:
    write_grid(
        tmp_path / "made", {"spt": {"encoder_ratio": 0.0}, "xpe": {"encoder_ratio": 1.0}}, flat, codes=("A", "B")
    )
    results = read_results([Folder(tmp_path / "made")])
    assert list(results.groups) == ["all_targets"]
    for by in ("family", "script"):
        assert kinship_table(results, by).is_empty()
    assert set(extremes(language_table(results)).filter(rank=1)["language"]) == {"A"}


def test_a_difference_that_is_only_rounding_is_neither_gain_nor_loss(tmp_path: Path) -> None:
    def made(run: RunConfig, code: str) -> float:
        return 0.2 if run.method == "spt" else {1: 0.3, 2: 0.1}[run.seed]  # 0.3 - 0.2 is a little less than 0.2 - 0.1

    write_grid(tmp_path / "made", {"spt": {"encoder_ratio": 0.0}, "xpe": {"encoder_ratio": 1.0}}, made, seeds=(1, 2))
    table = language_table(read_results([Folder(tmp_path / "made")]))
    assert (table.filter(arm="xpe")["difference"] != 0).any()
    assert extremes(table).is_empty()
