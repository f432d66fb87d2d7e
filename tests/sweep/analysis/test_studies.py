"""What is said of a study, on results that are made up."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sweep.analysis.report_data import ReportData, read_report_data
from sweep.analysis.studies import StudyTables, expected_maximum
from sweep.driver.searcher import LedgerSearcher
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.states import State
from sweep.report.charts import all_charts
from sweep.report.page import build_page
from sweep.report.sheets import all_sheets
from sweep.report.study_sheets import study_lines
from sweep.report.wording import name_trial
from sweep.storage import Folder
from tests.making.experiments import CODES, run_study
from tests.sweep.experiment.test_study import METHODS, make_study
from xpe_core.config import RunConfig
from xpe_core.errors import InputError

SEEDS = tuple(range(11, 17))
BEST_RATE = {"head": 1e-3, "lora": 2e-3, "spt": 3e-3}


def select(config: RunConfig) -> float:
    """Return a made validation accuracy that is best at some rate of the method."""
    distance = abs(np.log10(config.training.learning_rate / BEST_RATE[config.method]))
    return float(0.8 - 0.1 * distance - 0.01 * (config.values.get("num_virtual_tokens") == 20))


def score(config: RunConfig, code: str) -> float:
    """Return a made test accuracy: LoRA is 10 points better than the head, and tuning is worth something."""
    noise = np.random.default_rng([config.seed, CODES.index(code)]).normal(0, 0.01)
    return float(0.4 + 0.1 * (config.method == "lora") + 0.5 * (select(config) - 0.5) + noise)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    folder = tmp_path_factory.mktemp("study") / "mine"
    run_study(folder, make_study(budget={"trials": 5}, seeds=[1], replication_seeds=SEEDS), score, select)
    return read_report_data([Folder(folder)])


def tables_of(data: ReportData) -> StudyTables:
    assert data.study is not None
    return data.study


def test_expected_maxima_are_those_of_all_ordered_draws_with_replacement() -> None:
    values = np.array([0.3, 0.9, 0.5, 0.5])
    for count in (1, 2, 3):
        plain = np.mean([max(draw) for draw in product(values, repeat=count)])
        assert expected_maximum(values)[count - 1] == pytest.approx(plain)
    assert expected_maximum(np.empty(0)).shape == (0,)


def test_the_tables_of_scores_are_those_of_fresh_seeds(data: ReportData) -> None:
    assert data.results.arms == ["head", "low", "low default", "soft", "soft default"]
    assert {cell.seeds for cell in data.results.cells} == {SEEDS}
    plain = np.mean([score(data.results.cells[0].config.with_seed(seed), code) for seed in SEEDS for code in CODES[1:]])
    row = data.main.filter((pl.col("arm") == "head") & (pl.col("num_languages") == 4))
    assert row["score"][0] == pytest.approx(plain, abs=1 / 400)  # counts of 200 examples


def test_each_method_says_what_its_search_promised_and_what_was_held(data: ReportData) -> None:
    methods = {row["method"]: row for row in tables_of(data).methods.iter_rows(named=True)}
    assert {name: row["num_trials"] for name, row in methods.items()} == dict.fromkeys(METHODS, 5)
    head = next(cell for cell in data.results.cells if cell.arm == "head")
    assert methods["head"]["promised"] == pytest.approx(select(head.config))
    assert methods["head"]["held"] == pytest.approx(select(head.config))
    assert methods["head"]["device_hours"] == pytest.approx(5 * 36 / 3600)
    assert methods["head"]["num_steps"] == 5 * 40 and methods["head"]["num_seeds"] == 6


def test_gains_are_the_paired_differences_to_the_default_settings(data: ReportData) -> None:
    gains = tables_of(data).gains
    assert set(gains["arm"]) == {"low", "soft"}
    assert set(gains["baseline"]) == {"low default", "soft default"}
    row = gains.filter((pl.col("arm") == "low") & (pl.col("group") == data.results.broadest_group)).row(0, named=True)
    cells = {cell.arm: cell for cell in data.results.cells}
    plain = (cells["low"].scores - cells["low default"].scores)[:, 1:].mean()
    assert row["difference"] == pytest.approx(plain) and row["num_pairs"] == 6


def test_every_winner_is_compared_with_every_other_once_the_higher_one_first(data: ReportData) -> None:
    duels = tables_of(data).duels
    assert list(duels.select("arm", "baseline").iter_rows())[0][0] == "low"
    assert len(duels) == 3 and (duels["difference"] > 0).all()
    assert set(duels["arm"]) | set(duels["baseline"]) == set(METHODS)
    assert duels["p_holm"].to_numpy().min() == pytest.approx(3 / 32)  # 2 / 2^6, of three


def test_default_settings_are_in_no_family_of_differences_to_a_baseline(data: ReportData) -> None:
    assert data.baseline == "head"  # there is no arm spt
    assert set(data.differences["arm"]) == {"low", "soft"}


def test_the_budgets_curve_ends_at_the_best_of_all(data: ReportData) -> None:
    budget = tables_of(data).budget
    for method, part in budget.group_by("method"):
        assert part["num_trials"].to_list() == [1, 2, 3, 4, 5], method
        assert part["best"].is_sorted() and part["expected"].is_sorted()
        assert part["expected"][-1] < part["best"][-1]


def test_no_arm_of_a_front_is_beaten(data: ReportData) -> None:
    prices = tables_of(data).prices
    assert set(prices["arm"]) == set(data.results.arms)
    assert prices["train_seconds"].to_list() == [2.0] * 5  # 12 s of a pack of six
    best = prices.sort("score", descending=True)["arm"][0]
    assert prices.filter("is_cheapest")["arm"].to_list() == [best]  # all train as many parameters


def test_the_answer_names_the_best_and_says_when_seeds_are_too_few(data: ReportData) -> None:
    first, second, third = study_lines(data)
    assert first.startswith("low has the highest accuracy over all_without_joshi5 languages")
    assert "not to be told apart from soft and head" in first or "not to be told apart from head and soft" in first
    assert "paired over 6 seeds" in second
    assert "7 can (replication_seeds)" in third


def test_a_method_of_which_nothing_is_searched_is_named_alone(tmp_path: Path) -> None:
    fixed = make_study(methods={"head": {"base": {"tuning": "none"}}}, budget={"trials": 1}, seeds=[1])
    assert list(map(name_trial, run_study(tmp_path / "mine", fixed, score, select))) == ["head", "head on fresh seeds"]


def test_one_seed_is_no_plural(tmp_path: Path) -> None:
    run_study(tmp_path / "mine", make_study(budget={"trials": 1}, seeds=[1], replication_seeds=[11]), score, select)
    assert study_lines(read_report_data([Folder(tmp_path / "mine")]))[1].endswith("paired over 1 seed.")


def test_every_table_of_a_study_is_in_its_report(data: ReportData) -> None:
    names = {sheet.name for sheet in all_sheets(data)}
    assert {"answer", "main", "differences", "methods", "gains", "searches", "prices", "budget"} <= names
    assert "winners-curse" not in names


def test_the_page_has_a_studys_tables_and_charts(data: ReportData) -> None:
    charts = all_charts(data)
    assert {"budget", "price"} <= charts.keys()
    prices = charts["price"].specification["datasets"]["rows"]  # type: ignore[index, call-overload]
    assert {row["price"] for row in prices} == {  # type: ignore[index, call-overload, union-attr]
        "trained parameters",
        "seconds of training a run",
        "memory in MiB",
    }
    page = build_page(data)
    for question in ("Which method is really better than which?", "What did tuning bring?", "What does a point cost?"):
        assert question in page


def test_before_any_winner_is_run_a_study_has_no_results(tmp_path: Path) -> None:
    run_study(tmp_path / "mine", make_study(budget={"trials": 5}, seeds=[1]), score, select, most=4)
    with pytest.raises(InputError, match="there are no results yet; no method's search is over"):
        read_report_data([Folder(tmp_path / "mine")])


def test_where_every_trial_failed_it_is_said_why(tmp_path: Path) -> None:
    study = make_study(budget={"trials": 1}, seeds=[1], methods={"head": {"base": {"tuning": "none"}}})
    opened = ExperimentFolder(tmp_path / "mine", study, {})
    searcher = LedgerSearcher(study, opened, {})
    while isinstance(searcher.suggest("tune"), dict):
        opened.end(searcher.trials["tune"], State.FAILED, "the loss is no number", [], [])
        searcher.on_trial_complete("tune")
    opened.close()
    with pytest.raises(InputError, match="no method has a winner, since no trial is complete: the loss is no number"):
        read_report_data([Folder(tmp_path / "mine")])


def test_a_winner_that_is_lower_on_the_seeds_of_both_is_not_called_higher(data: ReportData) -> None:
    tables = tables_of(data)
    best = tables.duels["arm"][0]
    turned = tables.duels.with_columns(
        p_holm=pl.lit(0.01), difference=pl.when(pl.col("arm") == best).then(-0.02).otherwise("difference")
    )
    (first, *_) = study_lines(replace(data, study=replace(tables, duels=turned)))
    assert "really higher" not in first and "really lower than" in first and "on the seeds that both have" in first


def test_a_study_is_read_while_it_runs(tmp_path: Path) -> None:
    study = make_study(budget={"trials": 2}, seeds=[1], replication_seeds=SEEDS)
    run_study(tmp_path / "mine", study, score, select, most=7)  # the head's winner has ended
    data = read_report_data([Folder(tmp_path / "mine")])
    assert data.results.arms == ["head"] and tables_of(data).duels.is_empty() and study_lines(data) == []
