"""The best configuration for a purpose, and two compared."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from sweep.analysis import (
    Results,
    compare,
    find_best,
    find_cells,
    find_experiments_of,
    parse_weights,
    rank,
    rank_configurations,
    read_results,
    read_runs,
)
from sweep.experiment.config import make_sweep
from sweep.storage import Folder
from tests.making.experiments import CODES, make_rows, put, write_grid, write_replication, write_search
from tests.sweep.analysis.test_per_language import SEARCH, TRIALS, flat
from tests.sweep.analysis.test_tables import ARMS, SETS, accuracy
from xpe_core.config import RunConfig
from xpe_core.errors import InputError


@pytest.fixture
def results(tmp_path: Path) -> Results:
    write_grid(tmp_path / "made", ARMS, accuracy, **SETS)
    write_grid(tmp_path / "again", {"spt": {"encoder_ratio": 0.0, "batch_size": 16}}, accuracy)
    return read_results([Folder(tmp_path / "made"), Folder(tmp_path / "again")])


def test_a_weighting_is_read_or_refused(results: Results) -> None:
    groups = list(results.groups)
    assert parse_weights("low_performing", groups) == {"low_performing": 1.0}
    assert parse_weights("low_performing=2, unseen=0.5", groups) == {"low_performing": 2.0, "unseen": 0.5}
    for text, message in (
        ("low_preforming", "unknown group 'low_preforming'; did you mean 'low_performing'"),
        ("unseen=much", "the weight of unseen must be a number from 0 on, not 'much'"),
        ("unseen=-1", "the weight of unseen"),
        ("unseen=0", "some weight must be above 0"),
    ):
        with pytest.raises(InputError, match=message):
            parse_weights(text, groups)


def test_the_best_is_by_a_weighted_mean_of_groups(results: Results) -> None:
    ranked = rank(results, {"low_performing": 3.0, "seen_without_joshi5": 1.0})
    first = ranked.row(0, named=True)
    assert (first["arm"], first["num_seeds"]) == ("xpe", 6)
    assert first["score"] == pytest.approx((3 * (0.35 + 0.07) + (0.55 + 0.07)) / 4)
    assert rank(results, {"unseen": 1.0}, "spt")["method"].unique().to_list() == ["spt"]
    assert len(rank(results)) == 7


def test_two_arms_are_compared_on_every_source_set_they_share(results: Results) -> None:
    table = compare(results, "xpe", "made:spt")
    assert len(table) == 2 * 4
    low = table.filter(group="low_performing")
    assert low["difference"].to_list() == pytest.approx([0.135, 0.135])
    assert set(table["p_holm"]) == {8 * 2 / 2**6}


def test_a_single_comparison_on_different_source_sets_names_both(results: Results) -> None:
    digits = results.cells[0].config_id[:10]
    table = compare(results, digits, "again:spt")
    assert table["source_set"].unique().to_list() == ["joshi5 / enarzho"]
    assert table["difference"].abs().max() == pytest.approx(0)


def test_runs_are_compared_without_a_claim(results: Results) -> None:
    def run_id(ratio: float) -> str:
        cell = next(c for c in results.cells if c.config.values["encoder_ratio"] == ratio and c.experiment == "made")
        return cell.config.with_seed(2).run_id[:12]

    row = compare(results, run_id(1.0), run_id(0.0)).filter(group="low_performing").row(0, named=True)
    assert row["difference"] == pytest.approx(0.1 + 0.02)
    assert (row["num_pairs"], row["low"], row["p"]) == (1, None, 1.0)


def test_experiments_are_compared_arm_by_arm(results: Results) -> None:
    table = compare(results, "made", "again")
    assert set(zip(table["arm"], table["baseline"], strict=True)) == {("made:spt", "again:spt")}


def test_of_several_experiments_the_one_with_both_names_is_meant(tmp_path: Path) -> None:
    for name, arms in (("first", ARMS), ("other", {"spt": ARMS["spt"], "xpe": ARMS["xpe"]})):
        write_grid(tmp_path / name, arms, accuracy, base={"batch_size": 8 if name == "first" else 16})
    each = [read_results([Folder(tmp_path / name)]) for name in ("first", "other")]
    both = read_results([Folder(tmp_path / name) for name in ("first", "other")])
    assert find_experiments_of(each, "dual", "spt") == ["first"]
    assert set(compare(both, "dual", "spt")["baseline"]) == {"first:spt"}
    assert find_experiments_of(each, "xpe", "other:spt") == ["other"]
    assert find_experiments_of(each, "first:xpe", "other:xpe") == ["first", "other"]
    assert find_experiments_of(each, "other", "first") == ["other", "first"]
    sentence = "compare spt xpe: spt is in first, other: say which, such as first:spt"
    for ask in (lambda: find_experiments_of(each, "spt", "xpe"), lambda: compare(both, "spt", "xpe")):
        with pytest.raises(InputError, match=sentence):
            ask()
    with pytest.raises(InputError, match="'peft' is no experiment.* there are first, other, spt, xpe, dual"):
        find_experiments_of(each, "peft", "spt")


def test_an_experiments_own_name_comes_before_another_experiments_arm(tmp_path: Path) -> None:
    write_grid(tmp_path / "spt", {"xpe": ARMS["xpe"]}, accuracy)
    write_grid(tmp_path / "first", ARMS, accuracy, base={"batch_size": 8})
    each = [read_results([Folder(tmp_path / name)]) for name in ("spt", "first")]
    assert find_experiments_of(each, "spt", "first") == ["spt", "first"]


def test_a_run_taken_by_itself_has_its_own_numbers_and_flaws_alone(tmp_path: Path) -> None:
    sweep = write_grid(tmp_path / "made", {"xpe": ARMS["xpe"]}, accuracy, seeds=(1, 2, 3))
    (config,) = sweep.corners
    runs, rows = make_rows(config, 0, (2,), accuracy, arm="xpe")
    more = {**rows[0], "language": "deu_Latn"}
    put(tmp_path / "made", runs, [*rows, more])
    runs, rows = make_rows(config, 0, (3,), accuracy, arm="xpe")
    put(
        tmp_path / "made",
        runs,
        [{**row, "num_examples": 250} if row["language"] == "yor_Latn" else row for row in rows],
    )
    results = read_results([Folder(tmp_path / "made")])
    whole = results.cells[0]
    assert (whole.foreign, whole.resized) == ({2: ("deu_Latn",)}, {3: ("yor_Latn",)})
    results = replace(results, cells=(replace(whole, disputed=(1, 3)),))
    for place, seed in enumerate((1, 2, 3)):
        (run,) = find_cells(results, config.with_seed(seed).run_id[:12])
        assert (run.arm, run.seeds) == (f"xpe seed {seed}", (seed,))
        assert run.scores.tolist()[0] == pytest.approx(whole.scores[place].tolist(), nan_ok=True)
        assert len(run.scores) == len(run.selection_scores) == 1
        assert run.foreign == ({2: ("deu_Latn",)} if seed == 2 else {})
        assert run.resized == ({3: ("yor_Latn",)} if seed == 3 else {})
        assert run.disputed == (() if seed == 2 else (seed,))


def test_digits_that_several_runs_begin_with_are_refused(tmp_path: Path) -> None:
    config = make_sweep(kind="grid", arms={"xpe": ARMS["xpe"]}).corners[0]
    by_digits: dict[str, list[int]] = defaultdict(list)
    seed = 0
    while all(len(seeds) < 2 for seeds in by_digits.values()):
        seed += 1
        by_digits[config.with_seed(seed).run_id[:4]].append(seed)
    (digits, alike) = next((digits, seeds) for digits, seeds in by_digits.items() if len(seeds) == 2)
    write_grid(tmp_path / "made", {"xpe": ARMS["xpe"]}, flat, seeds=alike)
    results = read_results([Folder(tmp_path / "made")])
    run_ids = [config.with_seed(seed).run_id for seed in alike]
    with pytest.raises(InputError, match=f"'{digits}' could be {run_ids[0]}, {run_ids[1]}; give more digits"):
        find_cells(results, digits)
    (run,) = find_cells(results, run_ids[1])
    assert run.seeds == (alike[1],)


def test_a_search_and_its_replication_have_no_seed_in_common(tmp_path: Path) -> None:
    write_search(tmp_path / "found", SEARCH, TRIALS, flat)
    write_replication(tmp_path / "fresh", SEARCH.config(TRIALS[-1][0]), flat, range(3, 9), "found")
    results = read_results([Folder(tmp_path / name) for name in ("found", "fresh")], merged=False)
    with pytest.raises(InputError, match="nothing can be compared: dual - best: no seed is complete in both"):
        compare(results, "found", "fresh")


def test_the_same_arm_of_two_experiments_is_paired_where_it_is_not_merged(tmp_path: Path) -> None:
    write_grid(tmp_path / "first", ARMS, accuracy, seeds=range(1, 5))
    write_grid(tmp_path / "more", ARMS, accuracy, seeds=range(3, 7))
    results = read_results([Folder(tmp_path / name) for name in ("first", "more")], merged=False)
    table = compare(results, "first", "more")
    assert set(zip(table["arm"], table["baseline"], strict=True)) == {
        (f"first:{arm}", f"more:{arm}") for arm in ("spt", "xpe", "dual")
    }
    assert set(table["num_pairs"]) == {2}
    write_grid(tmp_path / "odd", {"a": {"encoder_ratio": 0.2}, "b": {"encoder_ratio": 0.4}}, accuracy)
    results = read_results([Folder(tmp_path / name) for name in ("first", "odd")], merged=False)
    with pytest.raises(InputError, match="no arm and source set is in both: odd has a on enarzho, b on enarzho; first"):
        compare(results, "odd", "first")


def test_a_configuration_without_a_validation_accuracy_is_not_ranked(tmp_path: Path) -> None:
    write_search(tmp_path / "found", SEARCH, TRIALS, flat)
    for number in (4, 5):
        config = SEARCH.config(TRIALS[number][0])
        put(tmp_path / "found", *make_rows(config, number, (1, 2), flat, selection_accuracy=None))
    results = read_results([Folder(tmp_path / "found")])
    assert rank(results)["score"].to_list() == [0.6, 0.5]
    assert [best.selection_accuracy for best in rank_configurations(read_runs(tmp_path / "found"))] == [0.6, 0.5]
    problem = "4 runs complete without a selection accuracy: they may not be the best"
    assert results.problems["problem"].to_list() == [problem]


def test_a_failed_seed_lowers_a_configuration_in_the_ranking(tmp_path: Path) -> None:
    write_search(tmp_path / "found", SEARCH, TRIALS, flat)
    runs, _ = make_rows(SEARCH.config(TRIALS[5][0]), 5, (2,), flat, state="failed", selection_accuracy=0.0)
    put(tmp_path / "found", runs, [])
    table = rank(read_results([Folder(tmp_path / "found")]))
    assert table["score"].to_list() == pytest.approx([0.7, 0.6, 0.5, 0.45])  # the last is 0.9 of one seed
    assert table.row(3, named=True)["num_failed"] == 1


def test_a_searchs_name_is_that_of_its_best_configuration_alone(tmp_path: Path) -> None:
    write_search(tmp_path / "found", SEARCH, TRIALS, flat)
    (best,) = find_cells(read_results([Folder(tmp_path / "found")]), "found")
    assert best.config_id == SEARCH.config(TRIALS[5][0]).config_id


def test_pruned_runs_are_in_no_result_whatever_was_kept_of_them(tmp_path: Path) -> None:
    trials = [TRIALS[0], TRIALS[1], TRIALS[3]]
    write_search(tmp_path / "found", SEARCH, trials, flat)
    for number in (1, 2):  # pruned; here with the best accuracy, and tested on a language
        config = SEARCH.config(trials[number][0])
        pruned = {"state": "pruned", "selection_accuracy": 0.99}
        put(tmp_path / "found", *make_rows(config, number, (1, 2), flat, ("kat_Geor",), **pruned))
    results = read_results([Folder(tmp_path / "found")])
    assert results.languages == tuple(sorted(CODES))
    seeds = {cell.config.values["encoder_ratio"]: cell.seeds for cell in results.cells}
    assert seeds == {0.1: (1, 2), 0.2: (), 0.4: ()}
    counts = {
        cell.config.values["encoder_ratio"]: (cell.states["complete"], cell.states["pruned"]) for cell in results.cells
    }
    assert counts == {0.1: (2, 0), 0.2: (0, 2), 0.4: (0, 2)}
    assert rank(results)["score"].to_list() == [0.5]
    best = find_best(read_runs(tmp_path / "found"))
    assert best and best.selection_accuracy == 0.5


def test_a_run_whose_configuration_cannot_be_is_refused(tmp_path: Path) -> None:
    write_search(tmp_path / "found", SEARCH, TRIALS, flat)
    part = tmp_path / "found" / "runs" / "part-0000.parquet"
    pl.read_parquet(part).with_columns(batch_size=pl.lit(None, pl.Int64)).write_parquet(part)
    with pytest.raises(InputError, match="found/runs, config_id [0-9a-f]{16}: batch_size is empty"):
        read_results([Folder(tmp_path / "found")])


def test_an_unknown_or_ambiguous_name_is_said(results: Results) -> None:
    with pytest.raises(InputError, match="'peft' is no experiment, arm"):
        find_cells(results, "peft")
    with pytest.raises(InputError, match="compare dual dual: they are the same configuration of made"):
        compare(results, "dual", "dual")
    digits = next(cell for cell in results.cells if cell.arm == "dual").config_id[:8]
    with pytest.raises(InputError, match="they are the same configuration of made"):
        compare(results, digits, digits)
    assert [cell.arm for cell in find_cells(results, "made")] == ["made:spt"] * 2 + ["xpe"] * 2 + ["dual"] * 2
    assert RunConfig(encoder_ratio=1.0).method == "xpe"
