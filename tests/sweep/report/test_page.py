"""The page as a file: it holds the tables' numbers, every name as text, and nothing that asks an address."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sweep.analysis.report_data import ReportData, read_report_data
from sweep.report.charts import all_charts
from sweep.report.page import build_page
from sweep.report.sheet import interval, points
from sweep.report.sheets import all_sheets
from sweep.storage import Folder
from tests.making.experiments import write_grid, write_replication, write_search
from tests.sweep.analysis.test_per_language import ALL_CODES, SEARCH, TRIALS, flat
from tests.sweep.analysis.test_tables import ARMS, SETS, accuracy

NASTY = "</script><script>document.title='x'</script>"


class _Page(HTMLParser):
    """What a browser without JavaScript reads: texts by table, scripts, and attributes that load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.scripts: list[tuple[str, str]] = []
        self.loads: list[str] = []
        self.policy = ""
        self._path: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if "http-equiv" in given:
            self.policy = given["content"] or ""
        self.loads += [given[name] or "" for name in ("src", "href", "action", "data") if name in given]
        if tag in ("br", "wbr", "meta", "link", "input"):
            return
        self._path.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "script":
            self.scripts.append((given["type"] or "", ""))

    def handle_endtag(self, tag: str) -> None:
        while self._path and self._path.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._path[-1:] == ["script"]:
            kind, text = self.scripts[-1]
            self.scripts[-1] = kind, text + data
        elif {"td", "th"} & set(self._path):
            self.tables[-1][-1][-1] += data


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    return read_report_data([Folder(folder) for folder in make_everything(tmp_path_factory.mktemp("everything"))])


def make_everything(storage: Path) -> list[Path]:
    """Write experiments of all kinds whose report has every table and every chart."""
    arms = {**ARMS, NASTY: {"encoder_ratio": 0.7}}
    write_grid(storage / "made", arms, accuracy, unfinished=["dual"], **SETS)
    write_search(storage / "found", SEARCH, TRIALS, flat)
    write_replication(storage / "fresh", SEARCH.config(TRIALS[-1][0]), flat, range(3, 9), "found")
    return [storage / "made", storage / "found", storage / "fresh"]


def test_the_page_has_the_tables_of_the_report_cell_by_cell(everything: ReportData) -> None:
    tables = [_flat(table) for table in _Page(build_page(everything)).tables]
    for sheet in all_sheets(everything):
        if sheet.part is not None:  # the page shows all arms side by side
            continue
        rows = [[re.sub(r"\s+", "", cell) for cell in row] for row in (sheet.columns, *sheet.rows)]
        assert rows in tables, sheet.name


def test_every_language_stands_in_the_page_with_every_arm(everything: ReportData) -> None:
    table = next(table for table in _Page(build_page(everything)).tables if table[0][1].strip() == "code")
    shown = [tuple(_flat([row])[0]) for row in table[1:]]
    expected = []
    # differences first: the baseline has none
    for row in everything.languages.sort(pl.col("difference").is_null(), maintain_order=True).iter_rows(named=True):
        if row["score"] is not None:
            numbers = interval(row["score"], row["low"], row["high"])
            change = interval(row["difference"], row["difference_low"], row["difference_high"], points)
            expected.append((row["language"], row["source_set"], row["arm"], numbers, change))
    kept = [(row[1], row[6], row[7], row[8], row[9]) for row in shown]
    assert kept == [tuple(re.sub(r"\s+", "", cell) for cell in row) for row in expected]
    assert len(kept) > 20


def test_names_are_text_and_data_end_no_script(everything: ReportData) -> None:
    text = build_page(everything)
    page = _Page(text)
    assert NASTY not in text
    assert any(NASTY in cell for table in page.tables for row in table for cell in row)
    charts = [json.loads(content) for kind, content in page.scripts if kind == "application/json"]
    assert len(charts) == len(all_charts(everything)) == 7
    assert any(NASTY in json.dumps(chart) for chart in charts)
    assert [kind for kind, _ in page.scripts if kind != "application/json"] == ["module", "module"]


def test_nothing_but_the_two_scripts_may_run_and_no_address_is_asked(everything: ReportData) -> None:
    page = _Page(build_page(everything))
    digests = set(re.findall(r"'sha256-([^']+)'", page.policy))
    scripts = [content for kind, content in page.scripts if kind == "module"]
    assert digests == {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts}
    assert "default-src 'none'" in page.policy and "http" not in page.policy and "eval" not in page.policy
    assert [target for target in page.loads if not target.startswith("#")] == ["data:,"]


def test_a_page_loads_itself_again_only_while_it_is_watched(everything: ReportData) -> None:
    assert "data-refresh-seconds" not in build_page(everything).split("<head>")[0]
    watched = build_page(everything, "made: 3 of 4", 5)
    assert 'data-refresh-seconds="5"' in watched.split("<head>")[0]
    assert "made: 3 of 4" in watched


def test_a_chart_places_its_marks_where_the_tables_numbers_are(everything: ReportData) -> None:
    rows = _data(_specify(everything, "score"))
    xpe = next(r for r in rows if (r["arm"], r["group"], r["source_set"]) == ("xpe", "low_performing", "enarzho"))
    expected = everything.main.filter(arm="xpe", group="low_performing", source_set="enarzho").row(0, named=True)
    assert xpe["score"] == pytest.approx(100 * expected["score"], abs=5e-4)
    assert xpe["shown"] == interval(expected["score"], expected["low"], expected["high"])


def test_many_arms_stand_in_a_row_each_and_few_in_colours(everything: ReportData, tmp_path: Path) -> None:
    few = _specify(everything, "score")
    assert [parameter["name"] for parameter in few["params"]] == ["chosen_group"]
    arms = {f"dual_{tenth}": {"encoder_ratio": tenth / 10} for tenth in range(1, 10)}
    write_grid(tmp_path / "many", {"spt": {"encoder_ratio": 0.0}, **arms}, flat)
    many = _specify(read_report_data([Folder(tmp_path / "many")]), "score")
    assert [parameter["name"] for parameter in many["params"]] == ["chosen_group", "chosen_source_set"]
    assert [layer["encoding"]["y"]["field"] for layer in (few["layer"][0], many["layer"][0])] == ["source_set", "arm"]


def test_published_figures_have_a_chart_where_there_are_any(tmp_path: Path) -> None:
    base = {"backbone": "FacebookAI/xlm-roberta-large", "dataset": "Davlan/sib200"}
    arms = {"spt": {"encoder_ratio": 0.0}, "xpe": {"encoder_ratio": 1.0}}
    write_grid(tmp_path / "real", arms, lambda run, code: 0.6, codes=ALL_CODES, base=base, source_sets=["joshi5"])
    data = read_report_data([Folder(tmp_path / "real")])
    rows = _data(_specify(data, "published"))
    compared = data.published.filter(data.published["score"].is_not_null())
    assert [row["theirs"] for row in rows] == [f"{100 * value:.1f}" for value in compared["published"]]
    assert len(rows) == 8


def _flat(table: list[list[str]]) -> list[list[str]]:
    """Return a table's texts without the spaces and line breaks that only lay it out."""
    return [[re.sub(r"\s+", "", cell) for cell in row] for row in table]


def _specify(data: ReportData, name: str) -> dict[str, Any]:
    """Return a chart as a browser reads it."""
    return dict(json.loads(json.dumps(all_charts(data)[name].specification)))


def _data(specification: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a chart's largest data set."""
    return max(specification["datasets"].values(), key=len)
