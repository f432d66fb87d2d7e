"""What is said in the terminal: nothing cut at any width, equal is equal, and the answer where one looks for it."""

import io
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.cells import cell_len
from rich.console import Console

from sweep.analysis import ReportData, find_best, rank, read_report_data, read_results
from sweep.cluster.command_line import forget_no_columns
from sweep.report import commands
from sweep.report.answer_sheets import highest_cells
from sweep.report.difference_sheets import difference_sheets
from sweep.report.language_sheets import language_sheet
from sweep.report.layout import lay_out
from sweep.report.main_sheets import main_sheets
from sweep.report.sheet import Sheet, interval, p_value, percent, points
from sweep.report.sheets import all_sheets
from sweep.report.terminal import ALL_ARMS, print_report
from sweep.report.wrapping import JOINT
from sweep.storage import Folder
from tests.making.experiments import NUM_EXAMPLES, put, write_grid, write_replication, write_search
from tests.making.runs import ratio_of
from tests.sweep.analysis.test_per_language import SEARCH, TRIALS, flat
from tests.sweep.analysis.test_tables import ARMS, SETS, accuracy
from xpe_core.config import RunConfig

NUMBER = re.compile(r"\[[+-]?[\d.]+, [+-]?[\d.]+\]|[+-]?\d+(?:\.\d+)?")
WIDTHS = range(60, 201)
CLUMSY_ARMS = {
    "spt": {"encoder_ratio": 0.0},
    "a_name_that_no_one_should_give_to_an_arm_of_theirs_but_does": {"encoder_ratio": 1.0},
    "提示词编码器_比例零点五": {"encoder_ratio": 0.5},
    "प्रयोग-É́lan": {"encoder_ratio": 0.3},
    "withoutanyjointsinitsnamewhichisquitelongtoo": {"encoder_ratio": 0.7},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """Return a report of a grid, a search and its replication: every kind of table there is."""
    storage = tmp_path_factory.mktemp("storage")
    write_grid(storage / "made", {**ARMS, "dual_70": {"encoder_ratio": 0.7}}, accuracy, unfinished=["dual"], **SETS)
    write_search(storage / "found", SEARCH, TRIALS, flat)
    best = SEARCH.config(TRIALS[-1][0])
    write_replication(
        storage / "fresh", best, lambda run, code: flat(run, code) - 0.01 * run.seed, range(3, 9), "found"
    )
    return read_report_data([Folder(storage / name) for name in ("made", "found", "fresh")])


def show(data: ReportData, width: int, everything: bool = False) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    print_report(console, data, every_language=everything, everything=everything, storage="results")
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def count_numbers(texts: Sequence[str]) -> Counter[str]:
    return Counter(number for text in texts for number in NUMBER.findall(text))


def check_table(sheet: Sheet, width: int, may_split: bool = False) -> None:
    """Check that every number of a table is there whole and as often as it should be, and no word is broken."""
    lines = [line.plain for line in lay_out(sheet, width)]
    assert max(map(cell_len, lines)) <= width, (sheet.name, width)
    cells = [cell for row in sheet.rows if len(row) > 1 for cell in row[sheet.left :]]
    lacking = count_numbers(cells) - count_numbers(lines)
    assert not lacking, (sheet.name, width, lacking)
    texts = [*sheet.columns, *(cell for row in sheet.rows for cell in row)]
    words = {word for text in texts for word in text.replace(":", ": ").split()} | {
        word for text in texts for word in text.split()
    }
    if may_split:
        words |= {piece for word in words for piece in parts(word)}
    for line in lines:
        unknown = set(line.split()) - words - {"─" * len(line)}
        assert not unknown, (sheet.name, width, unknown)


def parts(word: str) -> list[str]:
    """Return what a name may be broken into: runs of what stands between its joints."""
    pieces = JOINT.split(word)
    return ["".join(pieces[i:j]) for i in range(len(pieces)) for j in range(i + 1, len(pieces) + 1)]


def test_no_table_is_cut_at_any_width(data: ReportData) -> None:
    sheets = [*all_sheets(data, ALL_ARMS), language_sheet(data)]
    assert {sheet.name for sheet in sheets} >= {
        *("answer", "main", "differences", "winners-curse", "gains-and-losses", "families", "scripts"),
        *("trade-off", "importance", "rungs", "cost", "published", "setup", "languages"),
    }
    for width in WIDTHS:
        for sheet in sheets:
            check_table(sheet, width)


def test_every_number_of_the_data_frames_is_there_whole_at_every_width(data: ReportData) -> None:
    expected = [interval(row["score"], row["low"], row["high"]) for row in data.main.iter_rows(named=True)]
    for row in data.differences.filter(pl.col("difference").is_not_null()).iter_rows(named=True):
        expected.append(interval(row["difference"], row["low"], row["high"], points))
        expected += [p_value(row["p"]), p_value(row["p_holm"])]
        if row["low_languages"] is not None:
            expected.append(f"[{points(row['low_languages'])}, {points(row['high_languages'])}]")
    for width in WIDTHS:
        tables = [*main_sheets(data, ALL_ARMS), *difference_sheets(data)]
        lines = [line.plain for sheet in tables for line in lay_out(sheet, width)]
        assert not count_numbers(expected) - count_numbers(lines), width


@pytest.mark.parametrize("width", [60, 61, 72, 79, 80, 81, 82, 100, 133, 200])
@pytest.mark.parametrize("everything", [True, False])
def test_no_line_of_a_report_is_longer_than_the_terminal_is_wide(
    data: ReportData, width: int, everything: bool
) -> None:
    lines = show(data, width, everything)
    assert max(map(cell_len, lines)) <= width
    assert not any("…" in line for line in lines)


@pytest.mark.parametrize("width", [8, 20, 33, 40, 50, 60, 72, 79, 80, 100, 140, 200])
def test_names_of_any_length_and_script_fit_into_any_width(tmp_path: Path, width: int) -> None:
    sources = ["eng_Latn,kat_Geor,tam_Taml,yor_Latn,nqo_Nkoo", "joshi5"]
    write_grid(tmp_path / "an_experiment_whose_name_says_all", CLUMSY_ARMS, accuracy, source_sets=sources)
    found = read_report_data([Folder(tmp_path / "an_experiment_whose_name_says_all")])
    for sheet in all_sheets(found, ALL_ARMS):
        lines = [line.plain for line in lay_out(sheet, width)]
        assert max(map(cell_len, lines)) <= max(width, 10)
        if width >= 20:
            cells = [cell for row in sheet.rows if len(row) > 1 for cell in row[sheet.left :]]
            assert not count_numbers(cells) - count_numbers(lines), sheet.name
    together = "".join("".join(show(found, width, everything=True)).split())
    for arm in CLUMSY_ARMS:
        assert "".join(arm.split()) in together or width < 60  # below, other columns stand between its lines


def test_many_arms_come_in_blocks_and_the_short_report_says_which_it_leaves_out(tmp_path: Path) -> None:
    arms = {f"dual_{number}": {"encoder_ratio": number / 100} for number in range(1, 25)}
    write_grid(tmp_path / "wide", {"spt": {"encoder_ratio": 0.0}, **arms}, lambda run, code: 0.3 + ratio_of(run))
    found = read_report_data([Folder(tmp_path / "wide")])
    for width in (60, 80, 100, 133):
        for sheet in main_sheets(found, ALL_ARMS):
            check_table(sheet, width)
        assert len(show(found, width)) < 140
    text = " ".join(" ".join(show(found, 80)).split())
    assert "Left out are 17 of 25 arms, none of them higher: dual_1, dual_2," in text and "--all shows all" in text
    assert len(main_sheets(found, ALL_ARMS, 8)[0].columns) == 9
    assert {"spt", "dual_24"} <= set(main_sheets(found, ALL_ARMS, 8)[0].columns)


def test_a_pipe_is_as_wide_as_columns_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_grid(tmp_path / "made", ARMS, accuracy, **SETS)
    for columns, width in (("", 80), ("61", 61), ("120", 120)):
        monkeypatch.setenv("COLUMNS", columns)
        console = Console(file=io.StringIO())
        commands.report(console, str(tmp_path), ["made"], None, "joshi5", "terminal", None, False, False, True)
        lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
        assert width - 10 < max(map(cell_len, lines)) <= width


def test_a_width_of_zero_is_no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("0", "", "00"):
        monkeypatch.setenv("COLUMNS", value)
        forget_no_columns()
        assert "COLUMNS" not in os.environ
    monkeypatch.setenv("COLUMNS", "61")
    forget_no_columns()
    assert os.environ["COLUMNS"] == "61"


def test_the_short_report_fits_on_a_screen_or_two_and_names_the_rest(data: ReportData, tmp_path: Path) -> None:
    trials: list[Any] = [({"encoder_ratio": 0.0, "batch_size": 8}, "complete", 0.5, 90), *TRIALS]
    write_search(tmp_path / "found", SEARCH, trials, flat)
    lines = show(read_report_data([Folder(tmp_path / "found")]), 80)
    assert len(lines) < 60
    text = "\n".join(lines)
    assert "The answer" in text and "Test accuracy in %" in text and "Cost" not in text
    assert "python sweep/run.py report found --all" in text and "--format html" in text
    assert len(show(data, 80)) < len(show(data, 80, everything=True)) / 2


def test_equal_to_the_digit_shown_is_equal_and_called_so(tmp_path: Path) -> None:
    def made(run: RunConfig, code: str) -> float:
        return {"spt": 0.3, "xpe": 0.4, "dual": 0.4}[run.method]

    write_grid(tmp_path / "made", ARMS, made)
    found = read_report_data([Folder(tmp_path / "made")])
    noisy = found.main.with_columns(
        score=pl.when(pl.col("arm") == "dual").then(pl.col("score") + 6e-17).otherwise("score")
    )
    for one in (found, ReportData(**{**vars(found), "main": noisy})):
        assert set(highest_cells(one)["arm"]) == {"xpe", "dual"}
        (main,) = main_sheets(one)
        assert {main.columns[column] for _, column in main.strong} == {"xpe", "dual"}
        text = " ".join(" ".join(show(one, 100)).split())
        assert re.search(r"low_performing, trained on \w+: xpe and dual are equal to the digit shown\.", text)


def test_rounding_noise_decides_no_ranking(tmp_path: Path) -> None:
    values = (0.26875, 0.26875000000000004)
    assert values[0] < values[1] and percent(values[0]) == percent(values[1])
    assert percent(0.2685) == percent(0.26849999999999996) == percent(0.26850000000000002)
    ratios = [{"encoder_ratio": ratio, "batch_size": 8} for ratio in (0.1, 0.2)]
    trials = [(params, "complete", value, 90) for params, value in zip(ratios, values, strict=True)]
    write_search(tmp_path / "found", SEARCH, trials, flat)
    results = read_results([Folder(tmp_path / "found")])
    first = SEARCH.config(trials[0][0]).config_id
    assert rank(results)["config_id"][0] == first
    runs = pl.read_parquet(tmp_path / "found" / "runs" / "*.parquet")
    best = find_best(runs)
    assert best is not None and best.config_id == first


def test_an_arm_as_high_as_the_baseline_is_not_higher(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", {name: ARMS[name] for name in ("spt", "xpe")}, lambda run, code: 0.5)
    text = " ".join(" ".join(show(read_report_data([Folder(tmp_path / "made")]), 100)).split())
    assert "no, equal to spt" in text and "spt and xpe are equal to the digit shown" in text


def test_two_seeds_have_no_interval_and_the_report_says_why(tmp_path: Path) -> None:
    write_grid(tmp_path / "two", ARMS, accuracy, seeds=(1, 2))
    found = read_report_data([Folder(tmp_path / "two")])
    text = "\n".join(show(found, 100, everything=True))
    assert "[0.0" not in text and ", 100.0]" not in text
    assert "There is no interval below 3 seeds" in text
    assert "cannot be shown with 2 seeds" in text
    assert found.main["low"].null_count() == len(found.main) and found.main["spread"].null_count() == 0
    write_grid(tmp_path / "three", ARMS, accuracy, seeds=(1, 2, 3))
    assert read_report_data([Folder(tmp_path / "three")]).main["low"].null_count() == 0


def test_what_a_search_chose_is_reconciled_with_the_test(tmp_path: Path) -> None:
    trials = [
        ({"encoder_ratio": 0.0, "batch_size": 8}, "complete", 0.6, 90),
        ({"encoder_ratio": 0.5, "batch_size": 8}, "complete", 0.7, 90),
    ]
    write_search(tmp_path / "found", SEARCH, trials, lambda run, code: 0.45 if run.method == "spt" else 0.4)
    text = " ".join(" ".join(show(read_report_data([Folder(tmp_path / "found")]), 80)).split())
    assert "found chose dual by validation accuracy (70.0 %)." in text
    assert "In the test on all_without_joshi5 spt is higher: 45.0 % against 40.0 %." in text
    assert "The test takes no part in the choice; with 2 seeds such a difference can be chance." in text
    write_search(tmp_path / "agrees", SEARCH, trials, lambda run, code: 0.3 if run.method == "spt" else 0.4)
    text = " ".join(" ".join(show(read_report_data([Folder(tmp_path / "agrees")]), 80)).split())
    assert "In the test on all_without_joshi5 it is the highest, too: 40.0 %." in text


def test_names_of_groups_are_explained_where_they_stand(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, accuracy, base={"backbone": "e5-small"}, source_sets=["enarzho"])
    text = " ".join(" ".join(show(read_report_data([Folder(tmp_path / "made")]), 80)).split())
    for part in (
        "low_performing (2 languages): below 60 % when all of XLM-R large is trained.",
        "seen_without_joshi5 (2 languages): in the pretraining of XLM-R, without joshi5.",
        "joshi5: the seven languages with most data in the world (Joshi class 5).",
        "enarzho: English, Arabic and Chinese.",
        "Seen and low-performing are facts about XLM-R; e5-small comes from it",
    ):
        assert part in text
    write_grid(tmp_path / "other", ARMS, accuracy, base={"backbone": "google-bert/bert-base-multilingual-cased"})
    text = " ".join(" ".join(show(read_report_data([Folder(tmp_path / "other")]), 80)).split())
    assert "What bert-base-multilingual-cased has seen in its pretraining is not known here" in text
    write_grid(tmp_path / "xlmr", ARMS, accuracy)
    assert "facts about XLM-R" not in "\n".join(show(read_report_data([Folder(tmp_path / "xlmr")]), 80))


def with_most_frequent(folder: Path, share: float) -> None:
    """Write into an experiment's table how many examples each language's most frequent class has."""
    for part in (folder / "evaluations").glob("*.parquet"):
        rows = pl.read_parquet(part).with_columns(chance_sum=pl.lit(float(round(share * NUM_EXAMPLES))))
        rows.write_parquet(part)


@pytest.mark.parametrize(
    ("values", "is_said"),
    [({"spt": 0.2, "dual": 0.25}, True), ({"spt": 0.2, "dual": 0.26}, True), ({"spt": 0.2, "dual": 0.4}, False)],
)
def test_a_search_that_is_not_above_the_most_frequent_class_says_so_first(
    tmp_path: Path, values: Mapping[str, float], is_said: bool
) -> None:
    trials: list[Any] = [({"encoder_ratio": 0.0, "batch_size": 8}, "complete", 0.5, 90), *TRIALS]
    write_search(tmp_path / "found", SEARCH, trials, lambda run, code: values[run.method])
    with_most_frequent(tmp_path / "found", 0.25)
    lines = show(read_report_data([Folder(tmp_path / "found")]), 200)
    sentence = "No configuration is clearly better than always answering a language's most frequent class (25.0 %)"
    assert lines[1].startswith(sentence) == is_said
    if not is_said:
        assert (
            "Not clearly better than always answering" in lines[1]
            and "spt on" in lines[1]
            and "dual on" not in lines[1]
        )


def test_of_an_older_experiment_nothing_is_said_of_the_most_frequent_class(tmp_path: Path) -> None:
    write_grid(tmp_path / "made", ARMS, lambda run, code: 0.1)
    assert "most frequent class" not in "\n".join(show(read_report_data([Folder(tmp_path / "made")]), 80))


def replicated(tmp_path: Path, gain: float, seeds: range = range(3, 13)) -> list[str]:
    """Return the lines of a replication's report in which the best has this gain over SPT."""

    def made(run: RunConfig, code: str) -> float:
        return 0.4 + (gain if run.method == "dual" else 0.0) + 0.01 * (run.seed % 3)

    write_search(tmp_path / "sought", SEARCH, TRIALS, flat)
    best = SEARCH.config(TRIALS[-1][0])
    sweep = write_replication(tmp_path / "fresh", best, made, seeds, "sought")
    base = {**sweep.base}
    arms = {"best": {"encoder_ratio": 0.6}, "spt": {"encoder_ratio": 0.0}, "xpe": {"encoder_ratio": 1.0}}
    for file in sorted((tmp_path / "fresh").rglob("*")):
        if file.is_file():
            file.unlink()
    write_grid(tmp_path / "fresh", arms, made, seeds, kind="replicate", of="sought", base=base)
    return show(read_report_data([Folder(tmp_path / "fresh")]), 300)


def test_a_replication_opens_with_what_was_promised_what_held_and_whether_it_is_better(tmp_path: Path) -> None:
    lines = replicated(tmp_path, 0.1)
    assert lines[1] == "Promised: sought found 56.0 % in the test on all_without_joshi5, with seeds 1, 2."
    assert re.fullmatch(
        r"Held: 50\.9 % \[\d+\.\d, \d+\.\d\] with the fresh seeds 3 to 12, 5\.1 points less than promised\.", lines[2]
    )
    assert re.fullmatch(
        r"Really better\? Than SPT: yes: \+10\.0 \[.*\] points \(p 0\.00\d+\)\. Than XPE: yes: .*\.", lines[3]
    )


def test_a_replication_that_does_not_hold_says_so(tmp_path: Path) -> None:
    lines = replicated(tmp_path, 0.0)
    assert "Than SPT: not shown: +0.0 [+0.0, +0.0] points could be chance (p 1.00)." in lines[3]
    few = replicated(tmp_path / "few", 0.1, range(3, 6))
    assert "Than SPT: +10.0 [" in few[3] and "with fewer than 6 seeds no difference can be shown" in few[3]


def test_a_search_names_what_its_replication_held(tmp_path: Path) -> None:
    replicated(tmp_path, 0.1)
    lines = show(read_report_data([Folder(tmp_path / "sought")]), 200)
    assert lines[1].startswith("On fresh seeds (3 to 12) the best of sought has 50.9 % [")
    assert lines[1].endswith("where it had 56.0 %. See: report fresh.")
    assert not lines[2].startswith("On fresh seeds")


def test_a_failed_seed_does_not_break_the_replications_lines(tmp_path: Path) -> None:
    replicated(tmp_path, 0.1)
    sweep = read_results([Folder(tmp_path / "fresh")]).experiments[0].sweep
    from tests.making.experiments import make_rows

    rows = make_rows(sweep.corners[0], 0, [3, 4, 5], flat, (), arm="best", state="failed")
    put(tmp_path / "fresh", *rows)
    lines = show(read_report_data([Folder(tmp_path / "fresh")]), 300)
    assert lines[2].startswith("Held: ") and "the fresh seeds 6 to 12" in lines[2]
