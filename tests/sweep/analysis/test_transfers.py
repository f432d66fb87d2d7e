"""Supervised transfer in tables, against numbers by hand; and that the tables of its first stage are a grid's."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sweep.analysis import read_report_data, read_results, transfer_table
from sweep.analysis.configurations import asked_runs, read_runs
from sweep.analysis.effort import learning_curves
from sweep.experiment.config import make_sweep
from sweep.experiment.transfer import Transfer
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.further import FurtherCell, list_cells
from sweep.records.ledger import TrialRecord
from sweep.records.runs import RunKey
from sweep.records.states import State
from sweep.report.charts import all_charts
from sweep.report.page import build_page
from sweep.report.transfer_sheets import transfer_sheets
from sweep.storage import Folder
from tests.making.experiments import CODES, NUM_EXAMPLES, write_grid
from xpe_core.config import RunConfig

TARGETS, SEEDS = ("kat_Geor", "yor_Latn"), (1, 2, 3)
Missing = Callable[[str, int, str, int | None], bool]
ARMS: dict[str, dict[str, Any]] = {"spt": {"encoder_ratio": 0.0}, "xpe": {"encoder_ratio": 1.0}}


def make_transfer(seeds: Sequence[int] = SEEDS, source_set: str = "eng", **targets: Any) -> Transfer:
    asked = {"languages": list(TARGETS), "max_train_examples": [14, None], "from_scratch": True, **targets}
    sweep = make_sweep(kind="transfer", arms=ARMS, base={"source_set": source_set}, seeds=seeds, targets=asked)
    assert isinstance(sweep, Transfer)
    return sweep


def zero_shot(config: RunConfig, language: str) -> float:
    """Return 0.30 for SPT and 0.40 for XPE, a point more with each seed, and 0.2 more in Georgian."""
    return 0.29 + 0.01 * config.seed + 0.1 * (config.method == "xpe") + 0.2 * (language == "kat_Geor")


def supervised(config: RunConfig, key: RunKey) -> float:
    """Return what further training adds: 0.1 with 14 examples, 0.3 with all; half of that is there from scratch."""
    more = 0.1 if config.data.max_train_examples == 14 else 0.3
    before = zero_shot(config.with_seed(key.seed), key.adapted_to or "")
    return before + more if key.parent_run_id else before - 0.1 + more / 2


def make_rows(cell: FurtherCell, number: int, key: RunKey, state: str) -> tuple[dict[str, Any], dict[str, Any]]:
    config = cell.config.with_seed(key.seed)
    identity = {"run_id": key.run_id(config), "config_id": config.config_id, "trial_id": f"f{number}"}
    further = {"adapted_to": key.adapted_to, "parent_run_id": key.parent_run_id, "state": state, "arm": cell.arm}
    numbers = {"trial_number": 100 + number, "method": config.method, "selection_accuracy": 0.9}
    score = {"metric": "accuracy", "num_examples": NUM_EXAMPLES, "score_sum": NUM_EXAMPLES * supervised(config, key)}
    row = {"run_id": identity["run_id"], "split": "test", "language": key.adapted_to, **score}
    return {**config.values, **identity, **further, **numbers}, row


def write_transfer(
    folder: Path,
    is_missing: Missing = lambda *run: False,
    failed: Missing = lambda *run: False,
    seeds: Sequence[int] = SEEDS,
    source_set: str = "eng",
) -> None:
    """Write a transfer; runs that are missing have not ended."""
    sweep = make_transfer(seeds, source_set)
    values = sweep.model_dump(exclude_unset=True)
    write_grid(folder, ARMS, zero_shot, seeds, kind="transfer", base=values["base"], targets=values["targets"])
    opened = ExperimentFolder(folder, sweep, {})
    for number, cell in enumerate(list_cells(sweep, TARGETS)):
        keys = [key for key in cell.keys if not is_missing(*name(cell, key))]
        if not keys:
            continue
        record = TrialRecord(f"f{number}", 100 + number, False, {}, cell.config.values, tuple(keys), cell.arm)
        opened.append(record.suggestion())
        opened.append({"event": "report", "trial_id": f"f{number}", "step": 5, "selection_accuracy": 0.9})
        states = ["failed" if failed(*name(cell, key)) else "complete" for key in keys]
        rows = [make_rows(cell, number, key, state) for key, state in zip(keys, states, strict=True)]
        scores = [row for (_, row), state in zip(rows, states, strict=True) if state == "complete"]
        opened.end(record, State.COMPLETE, None, [run for run, _ in rows], scores)
    opened.close()


def name(cell: FurtherCell, key: RunKey) -> tuple[str, int, str, int | None]:
    return (cell.arm if key.parent_run_id else "scratch"), key.seed, key.adapted_to or "", cell.max_train_examples


def rows_of_table(folder: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
    table = transfer_table(read_results([Folder(folder)]))
    keys = ("source_set", "arm", "language", "max_train_examples")
    return {tuple(row[key] for key in keys): row for row in table.iter_rows(named=True)}


def test_scores_before_and_after_are_paired_by_seed(tmp_path: Path) -> None:
    write_transfer(tmp_path / "mine")
    rows = rows_of_table(tmp_path / "mine")
    assert len(rows) == 2 * 3 * 2  # two arms, the mean and two targets, two numbers of examples
    row = rows["eng", "xpe", "kat_Geor", 14]
    assert (row["num_seeds"], row["num_languages"]) == (3, 1)
    assert row["zero_shot"] == pytest.approx(0.61) and row["score"] == pytest.approx(0.71)
    assert [row[name] for name in ("difference", "difference_low", "difference_high")] == pytest.approx([0.1] * 3)
    assert row["low"] < 0.71 < row["high"]  # seeds differ, the pairs do not
    assert row["scratch"] == pytest.approx(0.56) and row["gain"] == pytest.approx(0.15)
    mean = rows["eng", "spt", None, None]
    assert mean["num_languages"] == 2
    assert mean["zero_shot"] == pytest.approx(0.41) and mean["difference"] == pytest.approx(0.3)


def test_a_seed_that_lacks_a_target_is_in_no_mean_and_is_counted(tmp_path: Path) -> None:
    write_transfer(
        tmp_path / "mine",
        is_missing=lambda arm, seed, target, cap: (arm, seed, target, cap) == ("xpe", 3, "yor_Latn", None),
        failed=lambda arm, seed, target, cap: (arm, seed, target, cap) == ("xpe", 2, "kat_Geor", None),
    )
    rows = rows_of_table(tmp_path / "mine")
    mean = rows["eng", "xpe", None, None]
    assert (mean["num_seeds"], mean["num_failed"], mean["num_unfinished"]) == (1, 1, 1)
    assert mean["score"] == pytest.approx(0.8) and mean["low"] is None
    assert mean["zero_shot"] == pytest.approx(0.5)  # of the same seed
    assert rows["eng", "xpe", "yor_Latn", None]["num_seeds"] == rows["eng", "xpe", "kat_Geor", None]["num_seeds"] == 2
    assert rows["eng", "spt", None, None]["num_seeds"] == 3


def test_without_runs_from_scratch_there_is_none_to_compare_with(tmp_path: Path) -> None:
    write_transfer(tmp_path / "mine", is_missing=lambda arm, *run: arm == "scratch")
    row = rows_of_table(tmp_path / "mine")["eng", "xpe", None, 14]
    assert (row["num_scratch_seeds"], row["scratch"], row["gain"]) == (0, None, None)
    assert row["difference"] == pytest.approx(0.1)


def test_differences_are_tested_where_seeds_suffice(tmp_path: Path) -> None:
    write_transfer(tmp_path / "three")
    assert rows_of_table(tmp_path / "three")["eng", "xpe", None, 14]["difference_p_holm"] is None
    notes = transfer_sheets(read_report_data([Folder(tmp_path / "three")]))[0].notes
    assert "With 3 seeds no claim at 5 % is possible: p is at least 0.25; it takes 6 seeds." in notes

    write_transfer(tmp_path / "nine", seeds=range(1, 10))
    rows = rows_of_table(tmp_path / "nine").values()
    smallest, num_tests = 2 / 2**9, 2 * 12  # every sign is the same; 12 rows, two differences each
    for name in ("difference_p_holm", "gain_p_holm"):
        assert [row[name] for row in rows] == pytest.approx([num_tests * smallest] * 12)
    sheet = transfer_sheets(read_report_data([Folder(tmp_path / "nine")]))[0]
    assert "Holm p 0.094" in sheet.rows[1][4] and "Holm p 0.094" in sheet.rows[1][6]
    assert any("corrected for all 24 differences with 6 pairs or more" in note for note in sheet.notes)


def test_several_transfers_are_told_apart_and_each_has_its_curve(tmp_path: Path) -> None:
    write_transfer(tmp_path / "mine")
    write_transfer(tmp_path / "other", is_missing=lambda arm, seed, target, cap: target == "yor_Latn")
    data = read_report_data([Folder(tmp_path / name) for name in ("mine", "other")])
    table, curve = transfer_sheets(data)
    headings = [row[0] for row in table.rows if len(row) == 1]
    assert headings == [f"{name}: {arm}, trained on eng" for name in ("mine", "other") for arm in ("spt", "xpe")]
    assert [row[0] for row in curve.rows if len(row) == 1] == ["mine: trained on eng", "other: trained on eng"]
    assert curve.rows[1][1:3] == ("41.0", "51.0") and curve.rows[6][1:3] == ("51.0", "61.0")  # two targets, and one


def test_a_target_that_the_source_set_trains_on_is_marked(tmp_path: Path) -> None:
    write_transfer(tmp_path / "mine", source_set="eng,kat")
    (sheet, _) = transfer_sheets(read_report_data([Folder(tmp_path / "mine")]))
    before = {row[0]: row[2] for row in sheet.rows if len(row) > 1}
    assert before["kat_Geor"].endswith(" *") and not before["yor_Latn"].endswith(" *")
    assert any(note.startswith("* not zero-shot: the source set trains on it: kat_Geor") for note in sheet.notes)


def test_the_first_stages_tables_are_those_of_a_grid(tmp_path: Path) -> None:
    write_transfer(tmp_path / "mine")
    write_grid(tmp_path / "grid", ARMS, zero_shot, SEEDS, base={"source_set": "eng"})
    both = [read_report_data([Folder(tmp_path / name)]) for name in ("mine", "grid")]
    for table in ("main", "differences", "languages"):
        assert getattr(both[0], table).equals(getattr(both[1], table)), table
    assert both[0].results.languages == tuple(sorted(CODES)) and both[0].problems.is_empty()
    assert both[1].transfers.is_empty() and transfer_sheets(both[1]) == []
    asked = asked_runs(read_runs(tmp_path / "mine"), both[0].results.experiments[0].sweep)
    assert len(asked) == 6 and asked["adapted_to"].null_count() == 6
    assert learning_curves(both[0].results.experiments).is_empty()  # the grid's trials reported nothing here


def test_the_report_has_a_table_a_curve_and_a_chart(tmp_path: Path) -> None:
    write_transfer(tmp_path / "mine")
    data = read_report_data([Folder(tmp_path / "mine")])
    table, curves = transfer_sheets(data)
    assert table.rows[0] == ("spt, trained on eng",)
    first = table.rows[1]
    assert first[:3] == ("mean of 2", "14", "41.0") and first[4].startswith("+10.0") and first[6].startswith("+15.0")
    assert curves.columns == ("arm", "0: zero-shot", "14", "all")
    assert curves.rows[1:3] == (("spt, further", "41.0", "51.0", "71.0"), ("spt, from scratch", "–", "36.0", "46.0"))
    chart = all_charts(data)["transfer"]
    points = chart.specification["datasets"]["rows"]  # type: ignore[index, call-overload]
    means = [point for point in points if point["target"] == "mean of 2" and point["arm"] == "spt"]  # type: ignore
    shown = {(point["start"], point["examples"]): point["score"] for point in means}  # type: ignore
    assert shown["from the source set", "0"] == 41 and shown["from scratch", "all"] == 46
    page = build_page(data)
    assert "What do target examples add?" in page and "mean of 2" in page


def test_what_was_run_of_another_second_stage_is_in_no_row(tmp_path: Path) -> None:
    write_transfer(tmp_path / "mine")
    ids = {run_id for cell in list_cells(make_transfer(), TARGETS) for run_id in cell.run_ids.values()}
    further = read_runs(tmp_path / "mine").filter(pl.col("adapted_to").is_not_null())
    assert ids == set(further["run_id"])
    other = {
        run_id for cell in list_cells(make_transfer(base={"max_steps": 7}), TARGETS) for run_id in cell.run_ids.values()
    }
    assert not ids & other
