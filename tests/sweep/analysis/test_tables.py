"""The main table and the differences by hand, and what is wrong with results named where it matters."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from sweep.analysis import Results, differences, main_table, read_results, target_groups
from sweep.storage import Folder
from tests.making.experiments import CODES, make_rows, put, write_grid
from xpe_core.config import RunConfig
from xpe_core.errors import InputError

ARMS = {"spt": {"encoder_ratio": 0.0}, "xpe": {"encoder_ratio": 1.0}, "dual": {"encoder_ratio": 0.5}}
SETS: dict[str, Any] = {"source_sets": ["joshi5", "enarzho"]}


def accuracy(run: RunConfig, code: str) -> float:
    """Return accuracies that rise with the seed, XPE's 10 points higher on the low-performing languages."""
    level = {"eng_Latn": 0.8, "kat_Geor": 0.6, "tam_Taml": 0.5, "yor_Latn": 0.3, "nqo_Nkoo": 0.2}[code]
    gain = 0.1 if run.method == "xpe" and code in ("yor_Latn", "nqo_Nkoo") else 0.0
    return level + gain + 0.01 * run.seed * (2 if run.method == "xpe" else 1)


def read(*folders: Path, exclude: str = "joshi5") -> Results:
    return read_results([Folder(folder) for folder in folders], exclude)


def cell(table: pl.DataFrame, arm: str, group: str, source_set: str = "joshi5") -> dict:
    where = (pl.col("arm") == arm) & (pl.col("group") == group) & (pl.col("source_set") == source_set)
    return table.filter(where).row(0, named=True)


def test_a_cell_is_the_mean_over_seeds_of_the_mean_over_languages(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, accuracy, **SETS)
    results = read(tmp_path / "made")
    found = cell(main_table(results), "spt", "all_without_joshi5")
    # kat, tam, yor, nqo: 0.4 on average, and 0.01 x the seed's number, 3.5 on average
    assert found["score"] == pytest.approx(0.435)
    assert (found["num_seeds"], found["num_languages"]) == (6, 4)
    assert found["spread"] == pytest.approx(0.01 * 3.5**0.5)  # the variance of 1, ..., 6 is 3.5
    assert found["low"] < 0.435 < found["high"]
    assert cell(main_table(results), "spt", "low_performing")["score"] == pytest.approx(0.285)
    assert len(main_table(results)) == 3 * 2 * 4
    assert results.problems.is_empty()


def test_validation_rows_and_unfinished_runs_are_in_no_mean(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, accuracy, seeds=(1, 2))
    config = next(one.config for one in read(tmp_path / "made").cells if one.arm == "spt")
    runs, rows = make_rows(config, 0, (1,), accuracy, arm="spt")
    validated = [{**row, "split": "validation", "score_sum": 0} for row in rows]
    put(tmp_path / "made", runs, [*rows, *validated])
    pruned, tested = make_rows(config, 0, (2,), lambda run, code: 0.0, arm="spt", state="pruned")
    put(tmp_path / "made", pruned, tested)
    found = cell(main_table(read(tmp_path / "made")), "spt", "all_without_joshi5", "enarzho")
    assert (found["num_seeds"], found["num_pruned"], found["spread"]) == (1, 1, None)
    assert found["score"] == pytest.approx(0.41)


def test_a_difference_is_paired_by_seed(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, accuracy, **SETS)
    results = read(tmp_path / "made")
    table = differences(results)
    found = cell(table, "xpe", "low_performing")
    assert found["difference"] == pytest.approx(0.1 + 0.035)
    assert found["p"] == 2 / 2**6
    assert found["num_pairs"] == 6
    dual = cell(table, "dual", "low_performing")
    assert (dual["difference"], dual["p"], dual["low"], dual["high"]) == pytest.approx((0, 1, 0, 0), abs=1e-12)
    tested = table.filter(pl.col("p") < 0.5)
    assert len(tested) == 8 and len(table) == 16  # XPE is better in every row
    assert (tested["p_holm"] == min(16 * 2 / 2**6, 1.0)).all()


def test_pairs_are_the_seeds_that_are_complete_in_both(tmp_path: Path) -> None:
    sweep = write_grid(tmp_path / "made", ARMS, accuracy)
    config = sweep.corners[1]
    runs, rows = make_rows(config, 1, [6], accuracy, (), arm="xpe", state="failed", error="loss is not finite")
    put(tmp_path / "made", runs, rows)
    found = differences(read(tmp_path / "made")).filter(pl.col("arm") == "xpe").row(0, named=True)
    assert found["num_pairs"] == 5
    assert found["difference"] == pytest.approx(0.1 + 0.03)  # seeds 1 to 5


def test_the_exclusion_set_is_in_no_group_whatever_the_source_set(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, accuracy, **SETS)
    assert "eng_Latn" in read(tmp_path / "made").languages
    for exclude, size in (("joshi5", 4), ("none", 5), ("kat_Geor", 4), ("Latn", 3)):
        results = read(tmp_path / "made", exclude=exclude)
        sizes = {len(results.groups[name]) for name in results.groups if name.startswith("all")}
        assert sizes == {size}
    with pytest.raises(InputError, match="unknown language 'joshi6'"):
        read(tmp_path / "made", exclude="joshi6")


def test_groups_are_those_of_the_published_table() -> None:
    from xpe_core.languages import load_languages

    groups = target_groups([language.code for language in load_languages()])
    assert {name: len(codes) for name, codes in groups.items()} == {
        "low_performing": 46,
        "unseen": 113,
        "seen_without_joshi5": 85,
        "all_without_joshi5": 198,
    }
    assert target_groups(["own", "kat_Geor"])["all_targets"] == ("own", "kat_Geor")


def test_what_is_wrong_is_named_where_it_matters_and_changes_no_other_cell(tmp_path: Path) -> None:
    sweep = write_grid(tmp_path / "good", ARMS, accuracy, **SETS)
    whole = main_table(read(tmp_path / "good"))
    write_grid(tmp_path / "bad", ARMS, accuracy, unfinished=["dual"], **SETS)
    spt_joshi5, _, xpe_joshi5 = sweep.corners[0], sweep.corners[1], sweep.corners[2]
    lacking = [code for code in CODES if code != "yor_Latn"]
    put(tmp_path / "bad", *make_rows(xpe_joshi5, 2, [3], accuracy, lacking, arm="xpe"))
    failed = make_rows(spt_joshi5, 0, [2], accuracy, (), arm="spt", state="failed", error="loss is not finite")
    put(tmp_path / "bad", *failed)
    for name in ("runs", "evaluations"):
        part = tmp_path / "bad" / name / "part-0000.parquet"
        shutil.copy(part, part.with_name("part-0000 (copy).parquet"))

    results = read(tmp_path / "bad")
    table = main_table(results)
    problems = {(row["arm"], row["source_set"]): row["problem"] for row in results.problems.iter_rows(named=True)}
    assert problems[None, None] == "24 runs stand in more than one file: each is counted once"
    assert problems["spt", "joshi5"] == "1 of 6 runs failed: in no mean"
    assert problems["xpe", "joshi5"] == "not averaged where it matters: yor_Latn missing in seed 3"
    assert problems["dual", "joshi5"] == problems["dual", "enarzho"] == "6 of 6 runs unfinished: in no mean"
    assert len(problems) == 5
    for group in ("low_performing", "unseen", "all_without_joshi5"):
        marked = cell(table, "xpe", group)
        assert (marked["score"], marked["note"]) == (None, "yor_Latn missing in seed 3")
    spt = cell(table, "spt", "low_performing")
    assert (spt["num_seeds"], spt["num_failed"]) == (5, 1)
    assert spt["score"] == pytest.approx(0.25 + 0.01 * (1 + 3 + 4 + 5 + 6) / 5)
    assert cell(table, "dual", "unseen")["num_unfinished"] == 6
    # the language that seed 3 lacks is in no seen group, and no other cell has changed
    key, numbers = ["source_set", "group", "arm"], ["score", "low", "high", "num_seeds"]
    touched = ((pl.col("arm") == "spt") & (pl.col("source_set") == "joshi5")) | (pl.col("arm") == "dual")
    kept = table.filter(~touched & pl.col("note").is_null())
    assert kept.select(key + numbers).equals(whole.join(kept, on=key, how="semi").select(key + numbers))
    assert len(kept) == 1 + 2 * 4  # XPE on joshi5's seen group; SPT and XPE on enarzho


def test_rows_that_contradict_each_other_are_in_no_mean(tmp_path: Path) -> None:
    sweep = write_grid(tmp_path / "made", ARMS, accuracy)
    part = tmp_path / "made" / "evaluations" / "part-0000.parquet"
    old = part.read_bytes()
    put(tmp_path / "made", *make_rows(sweep.corners[0], 0, [1], lambda run, code: 0.1, arm="spt"))
    part.with_name("part-old.parquet").write_bytes(old)
    table = main_table(read(tmp_path / "made"))
    assert set(table.filter(pl.col("arm") == "spt")["note"]) == {"rows of seed 1 stand twice with different numbers"}
    assert table.filter(pl.col("arm") != "spt")["note"].is_null().all()


def test_a_run_on_more_languages_than_the_others_is_marked(tmp_path: Path) -> None:
    sweep = write_grid(tmp_path / "made", ARMS, accuracy, codes=CODES[:4])
    put(tmp_path / "made", *make_rows(sweep.corners[0], 0, [1], accuracy, CODES, arm="spt"))
    notes = {
        row["group"]: row["note"] for row in main_table(read(tmp_path / "made")).rows(named=True) if row["arm"] == "spt"
    }
    assert notes["low_performing"] == "nqo_Nkoo only in seed 1"
    assert notes["seen_without_joshi5"] is None


def test_experiments_are_read_together_and_a_run_counts_once(tmp_path: Path) -> None:
    write_grid(tmp_path / "first", ARMS, accuracy, seeds=range(1, 4))
    write_grid(tmp_path / "more", ARMS, accuracy, seeds=range(3, 7))
    results = read(tmp_path / "first", tmp_path / "more")
    assert results.arms == ["spt", "xpe", "dual"]
    assert set(main_table(results)["num_seeds"]) == {6}
    assert set(results.problems["problem"]) == {"1 run are also in first: counted once, as there"} or len(
        results.problems
    )
    other = {"spt": {"encoder_ratio": 0.0, "learning_rate": 1e-3}, "xpe": {"encoder_ratio": 1.0, "learning_rate": 1e-3}}
    write_grid(tmp_path / "other", other, accuracy)
    together = read(tmp_path / "first", tmp_path / "other")
    assert together.arms == ["first:spt", "first:xpe", "dual", "other:spt", "other:xpe"]
    table = differences(together)
    assert set(zip(table["arm"], table["baseline"], strict=True)) == {
        ("first:xpe", "first:spt"),
        ("dual", "first:spt"),
        ("other:xpe", "other:spt"),
    }


def test_an_unknown_baseline_is_refused(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, accuracy)
    with pytest.raises(InputError, match="--baseline peft: must be one of the arms spt, xpe, dual"):
        differences(read(tmp_path / "made"), "peft")


def test_an_experiment_without_results_is_said(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, accuracy, unfinished=list(ARMS))
    with pytest.raises(InputError, match="there are no results yet"):
        read(tmp_path / "made")


def test_the_tables_do_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    sweep = write_grid(tmp_path / "made", ARMS, accuracy)
    before = main_table(read(tmp_path / "made"))
    put(tmp_path / "made", *make_rows(sweep.corners[0], 0, [4, 2], accuracy, CODES[::-1], arm="spt"))
    after = main_table(read(tmp_path / "made"))
    assert np.array_equal(before["score"].to_numpy(), after["score"].to_numpy())


def test_a_copied_file_of_evaluations_alone_is_named_and_a_broken_one_refused(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, accuracy)
    before = main_table(read(tmp_path / "made"))
    part = tmp_path / "made" / "evaluations" / "part-0000.parquet"
    shutil.copy(part, part.with_name("copy.parquet"))
    results = read(tmp_path / "made")
    assert results.problems["problem"].to_list() == ["18 runs stand in more than one file: each is counted once"]
    assert main_table(results).equals(before)
    part.with_name("copy.parquet").write_bytes(b"half a file")
    with pytest.raises(InputError, match="copy.parquet cannot be read as a part of the table evaluations"):
        read(tmp_path / "made")


def test_what_many_seeds_have_more_is_said_once(tmp_path: Path) -> None:
    sweep = write_grid(tmp_path / "made", ARMS, accuracy, codes=CODES[:4])
    put(tmp_path / "made", *make_rows(sweep.corners[0], 0, [3, 4, 6], accuracy, CODES, arm="spt"))
    table = main_table(read(tmp_path / "made"))
    assert cell(table, "spt", "low_performing", "enarzho")["note"] == "nqo_Nkoo only in seeds 3, 4, 6"


def test_experiments_whose_accuracies_do_not_compare_are_refused(tmp_path: Path) -> None:
    prints = {"backbone": "b", "data": "d"}

    def write(name: str, found: dict[str, str] | None = None, **base: Any) -> None:
        write_grid(tmp_path / name, ARMS, accuracy, base=base)
        if found is not None:
            file = tmp_path / name / "experiment.yaml"
            file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"fingerprints": found}))

    write("first")
    write("other", dataset="cldr")
    write("small", backbone="e5-small")
    write("marked", prints)
    write("moved", prints, dataset="cldr")
    write("newer", {**prints, "data": "e"})
    write("short", {**prints, "data": "f"}, max_length=32)  # the data's fingerprint is that of cut texts
    for names, sentence in (
        (("first", "other"), "first and other cannot .*: the dataset of first is Davlan/sib200, that of other cldr"),
        (("small", "first"), "the backbone of small is e5-small, that of first FacebookAI/xlm-roberta-large"),
        (("marked", "newer"), "is Davlan/sib200 of content d, that of newer Davlan/sib200 of content e"),
    ):
        with pytest.raises(InputError, match=sentence):
            read(*[tmp_path / name for name in names])
    for names in (("marked", "moved"), ("marked", "short")):
        assert len(read(*[tmp_path / name for name in names]).experiments) == 2


def test_a_run_with_another_number_of_test_examples_is_marked_and_not_averaged(tmp_path: Path) -> None:
    sweep = write_grid(tmp_path / "made", ARMS, accuracy)
    runs, rows = make_rows(sweep.corners[1], 1, [2, 5], accuracy, arm="xpe")
    fewer = [row | ({"num_examples": 100, "score_sum": 40} if row["language"] == "yor_Latn" else {}) for row in rows]
    put(tmp_path / "made", runs, fewer)
    results = read(tmp_path / "made")
    table, note = main_table(results), "yor_Latn tested on another number of examples than most in seeds 2, 5"
    found = cell(table, "xpe", "low_performing", "enarzho")
    assert (found["score"], found["note"]) == (None, note)
    assert cell(table, "xpe", "seen_without_joshi5", "enarzho")["score"] is not None
    compared = cell(differences(results), "xpe", "low_performing", "enarzho")
    assert (compared["difference"], compared["note"]) == (None, f"xpe: {note}")
    assert results.problems["problem"].to_list() == [f"not averaged where it matters: {note}"]


@pytest.mark.parametrize(("size", "correct"), [(0, 0), (200, 201), (200, -1), (None, 3)])
def test_counts_that_cannot_be_are_refused(tmp_path: Path, size: int | None, correct: int) -> None:
    sweep = write_grid(tmp_path / "made", ARMS, accuracy)
    runs, rows = make_rows(sweep.corners[1], 1, [2], accuracy, arm="xpe")
    put(tmp_path / "made", runs, [{**rows[0], "num_examples": size, "score_sum": correct}, *rows[1:]])
    run_id = sweep.corners[1].with_seed(2).run_id
    with pytest.raises(
        InputError, match=f"made: .* run {run_id} in eng_Latn that the scores of {size} examples add up to {correct}"
    ):
        read(tmp_path / "made")


def test_trials_that_the_ledger_lacks_are_named(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, accuracy)
    ledger = tmp_path / "made" / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    for left, missing in ((lines[:-1], 1), (lines[:-2], 1), ([], 3)):
        ledger.write_bytes(b"".join(left))
        problem = f"the ledger lacks the end of {missing} of the 3 trials that have runs: "
        assert read(tmp_path / "made").problems["problem"].str.starts_with(problem).to_list() == [True]
    ledger.unlink()
    assert len(read(tmp_path / "made").problems) == 1


def test_runs_that_the_specification_does_not_ask_for_are_named(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, accuracy, **SETS)
    file = tmp_path / "made" / "experiment.yaml"
    values = yaml.safe_load(file.read_text())
    del values["arms"]["dual"]
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    results = read(tmp_path / "made")
    assert results.arms == ["spt", "xpe"]
    problem = "12 runs of no configuration that experiment.yaml asks for: in no table"
    assert results.problems["problem"].to_list() == [problem]


def test_without_evaluations_of_complete_runs_there_is_nothing_to_say(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, accuracy)
    write_grid(tmp_path / "whole", ARMS, accuracy, seeds=(7, 8))
    shutil.rmtree(tmp_path / "made" / "evaluations")
    with pytest.raises(InputError, match="made/evaluations: there are no test results of the 18 runs that are complet"):
        read(tmp_path / "made")
    both = read(tmp_path / "made", tmp_path / "whole")
    assert both.problems["problem"].str.contains("eng_Latn, kat_Geor, nqo_Nkoo and 2 more missing in seeds").sum() == 3


def test_an_exclusion_set_of_all_tested_languages_is_refused(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, accuracy)
    with pytest.raises(InputError, match="--exclude all: holds all tested languages"):
        read(tmp_path / "made", exclude="all")
