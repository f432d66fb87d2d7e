"""The page in a real Chromium: charts are drawn, tables sort and filter, nothing is asked of the network."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sweep.analysis.report_data import ReportData, read_report_data
from sweep.report.charts import all_charts
from sweep.report.page import build_page
from sweep.report.sheet import interval
from sweep.storage import Folder
from tests.making.experiments import write_grid
from tests.making.runs import ratio_of
from tests.sweep.analysis.test_per_language import flat
from tests.sweep.analysis.test_tables import ARMS, accuracy
from tests.sweep.report.test_page import NASTY, make_everything
from xpe_core.config import RunConfig

if TYPE_CHECKING:
    from playwright import sync_api
else:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is in the extra dev")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium (Debian: apt-get install chromium)")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    return read_report_data([Folder(folder) for folder in make_everything(tmp_path_factory.mktemp("browser"))])


@pytest.fixture(scope="module")
def file(data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(build_page(data), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def chromium() -> Iterator["sync_api.Browser"]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: "sync_api.Browser", file: Path) -> Iterator["sync_api.Page"]:
    """Open the page; at the end of every test the console has said nothing and nothing was asked of the network."""
    context = chromium.new_context(viewport={"width": 1200, "height": 900}, color_scheme="light")
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    _open(page, file)
    yield page
    assert said == []
    assert [url for url in asked if not url.startswith(("file://", "data:"))] == []
    context.close()


def test_every_chart_is_drawn(page: "sync_api.Page", data: ReportData) -> None:
    assert page.locator("figure.chart svg").count() == page.locator("figure.chart").count() == len(all_charts(data))
    assert page.locator(".drawing.problem").count() == 0
    for name in all_charts(data):
        marks = page.locator(f"#chart-{name} svg .role-mark path, #chart-{name} svg .role-mark line")
        assert marks.count() > 0, name


def test_a_chart_is_described_to_who_does_not_see_it(page: "sync_api.Page", data: ReportData) -> None:
    for name, chart in all_charts(data).items():
        assert chart.title in (page.locator(f"#chart-{name} .drawing").get_attribute("aria-label") or "")


def test_a_name_with_a_script_in_it_is_text(page: "sync_api.Page") -> None:
    assert "xpe-sweep" in page.title()
    assert page.locator("#table-main thead").get_by_text(NASTY).is_visible()
    assert page.locator("#chart-score svg text").filter(has_text="</script>").count() > 0


def test_a_language_table_column_sorts_both_ways(page: "sync_api.Page") -> None:
    head = page.locator("#table-languages thead th").nth(8)
    for direction in ("descending", "ascending"):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == direction
        values = [float(text.split(" ")[0]) for text in _column(page, 8)]
        assert len(values) > 20
        assert values == sorted(values, reverse=direction == "descending")
    page.locator("#table-languages thead th").nth(0).locator("button").click()
    names = _column(page, 0)
    assert names == sorted(names) and names[0] != names[-1]


def test_rows_stay_under_their_heading_when_a_table_is_sorted(page: "sync_api.Page", data: ReportData) -> None:
    page.locator("#table-main thead th").nth(1).locator("button").click()
    for body, source_set in enumerate(data.results.source_sets):
        rows = page.locator("#table-main tbody").nth(body).locator("tr")
        assert rows.first.inner_text() == f"trained on {source_set}"
        values = [float(rows.nth(place).locator("td").first.inner_text().split(" ")[0]) for place in range(1, 5)]
        assert values == sorted(values, reverse=True)


def test_languages_are_filtered_by_arm_family_group_and_text(page: "sync_api.Page", data: ReportData) -> None:
    table = data.languages.filter(data.languages["score"].is_not_null())
    page.select_option(".filters select[name='7']", "xpe")
    page.select_option(".filters select[name='6']", "enarzho")
    page.select_option(".filters select[name='group']", label="low_performing")
    chosen = table.filter(arm="xpe", source_set="enarzho", low_performing=True, excluded=False)
    assert _column(page, 1) == chosen["language"].to_list() == ["nqo_Nkoo", "yor_Latn"]
    shown = [interval(row["score"], row["low"], row["high"]) for row in chosen.iter_rows(named=True)]
    assert [" ".join(text.split()) for text in _column(page, 8)] == shown
    assert page.locator("#table-languages output").inner_text().startswith("2 of 2 rows shown")
    page.select_option(".filters select[name='3']", "Mande")
    assert _column(page, 1) == ["nqo_Nkoo"]
    page.get_by_role("button", name="Clear").click()
    page.fill(".filters input[name='text']", "georgian")
    assert set(_column(page, 1)) == {"kat_Geor"}
    assert len(_column(page, 1)) == len(table.filter(language="kat_Geor"))


def test_words_sort_by_all_of_their_letters(chromium: "sync_api.Browser", tmp_path: Path) -> None:
    arms = {"spt": {"encoder_ratio": 0.0}} | {f"dual_{n}": {"encoder_ratio": n / 100} for n in (70, 30, 50)}
    write_grid(tmp_path / "made", arms, flat)
    file = tmp_path / "report.html"
    file.write_text(build_page(read_report_data([Folder(tmp_path / "made")])), encoding="utf-8")
    page = chromium.new_page()
    _open(page, file)
    page.locator("#table-languages thead th").nth(7).locator("button").click()
    names = _column(page, 7)
    assert names == sorted(names) and len(set(names)) == 4
    page.close()


def test_intervals_and_products_sort_by_their_numbers(page: "sync_api.Page") -> None:
    for column, pattern in ((4, r"\[([+-][\d.]+)"), (2, r"(\d+) x")):
        page.locator("#table-differences thead th").nth(column).locator("button").click()
        texts = page.locator("#table-differences tbody").first.locator(f"td:nth-child({column + 1})").all_inner_texts()
        values = [float(found[1]) for text in texts if (found := re.match(pattern, text))]
        assert values == sorted(values, reverse=True) and values[0] != values[-1]


def test_a_group_without_languages_moves_no_other_groups_filter(chromium: "sync_api.Browser", tmp_path: Path) -> None:
    write_grid(tmp_path / "one", ARMS, accuracy, seeds=[1], codes=["kat_Geor"])
    file = tmp_path / "report.html"
    file.write_text(build_page(read_report_data([Folder(tmp_path / "one")])), encoding="utf-8")
    page = chromium.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    _open(page, file)
    page.select_option(".filters select[name='group']", "seen_without_joshi5")
    assert set(_column(page, 1)) == {"kat_Geor"}
    assert said == []  # one seed has no intervals, and the charts are drawn all the same
    page.close()


def test_a_long_table_shows_its_first_rows_until_all_are_asked_for_or_printed(
    chromium: "sync_api.Browser", tmp_path: Path
) -> None:
    arms = {"spt": {"encoder_ratio": 0.0}} | {f"dual_{n}": {"encoder_ratio": n / 100} for n in range(1, 26)}
    write_grid(tmp_path / "many", arms, flat)
    file = tmp_path / "report.html"
    file.write_text(build_page(read_report_data([Folder(tmp_path / "many")])), encoding="utf-8")
    page = chromium.new_page()
    _open(page, file)
    shown = "rows => rows.filter(row => !row.hidden).length"
    rows = page.locator("#table-differences tbody tr")
    assert (rows.evaluate_all(shown), rows.count()) == (60, 101)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert rows.evaluate_all(shown) == 101
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert rows.evaluate_all(shown) == 60
    page.locator("#table-differences .more").click()
    assert rows.evaluate_all(shown) == 101
    page.close()


def test_what_is_pointed_at_is_said_with_the_tables_numbers(page: "sync_api.Page", data: ReportData) -> None:
    chart = page.locator("#chart-score")
    chart.locator("select").select_option("low_performing")
    row = data.main.filter(group="low_performing", arm="spt", source_set=data.results.source_sets[0])
    cell = row.row(0, named=True)
    chart.locator("svg .mark-symbol.role-mark path").first.hover()
    tooltip = page.locator("#vg-tooltip-element.visible")
    tooltip.wait_for()
    text = tooltip.inner_text()
    assert "low_performing" in text
    assert interval(cell["score"], cell["low"], cell["high"]) in text


def test_a_language_that_is_clicked_is_looked_up_in_the_table(page: "sync_api.Page") -> None:
    page.locator("#chart-languages svg .mark-symbol.role-mark path").first.click()
    found = set(_column(page, 1))
    assert len(found) == 1
    assert page.locator(".filters input[name='text']").input_value() in found


def test_it_is_dark_where_the_system_is_and_where_the_reader_wants_it(page: "sync_api.Page") -> None:
    light = _brightness(page)
    page.locator("#theme").click()
    dark = _brightness(page)
    assert light["page"] > 200 > 100 > dark["page"]
    assert light["labels"] < 120 < dark["labels"]  # charts turn, too
    page.locator("#theme").click()
    assert _brightness(page) == light
    page.emulate_media(color_scheme="dark")
    page.reload()  # what was chosen is kept
    assert _brightness(page)["page"] == light["page"]


def test_on_a_phone_only_tables_are_wider_than_the_screen(page: "sync_api.Page", file: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    _open(page, file)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    widths = page.locator("figure.chart svg").evaluate_all("all => all.map(one => one.getBoundingClientRect().width)")
    assert min(widths) > 250 and max(widths) <= 390


def test_the_language_table_is_whole_on_a_laptop_and_scrolls_under_its_first_column_on_a_phone(
    page: "sync_api.Page", file: Path
) -> None:
    for width, is_whole in ((1920, True), (1280, True), (1024, True), (390, False)):
        page.set_viewport_size({"width": width, "height": 844})
        _open(page, file)
        box = page.locator("#table-languages .scroll")
        assert box.evaluate("box => box.scrollWidth <= box.clientWidth") == is_whole, width
        assert page.evaluate("document.documentElement.scrollWidth") == width
    box.evaluate("box => { box.scrollLeft = 300; }")
    head, cell = (page.locator(f"#table-languages tbody tr:first-child {tag}").first for tag in ("th", "td"))
    left = box.evaluate("box => box.getBoundingClientRect().left")
    assert head.evaluate("head => head.getBoundingClientRect().left") == left
    assert cell.evaluate("cell => cell.getBoundingClientRect().left") < left


def test_labels_of_points_lie_on_no_other_label_at_any_width(chromium: "sync_api.Browser", tmp_path: Path) -> None:
    def on_the_front(run: RunConfig, code: str) -> float:
        low = code in ("yor_Latn", "nqo_Nkoo")
        return 0.5 + 0.02 * ratio_of(run) * (1 if low else -1)

    arms = {f"an arm with a long name {n}": {"encoder_ratio": n / 10} for n in range(10)}
    write_grid(tmp_path / "front", {"spt": {"encoder_ratio": 0.0, "max_steps": 9}, **arms}, on_the_front)
    data = read_report_data([Folder(tmp_path / "front")])
    chart = all_charts(data)["trade-off"]
    assert len(chart.legend) == 11 and "an arm with a long name" in chart.legend[-1]
    file = tmp_path / "report.html"
    file.write_text(build_page(data), encoding="utf-8")
    page = chromium.new_page()
    for width in (390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 844})
        _open(page, file)
        texts = page.locator("#chart-trade-off svg .mark-text.role-mark text")
        assert sorted(texts.all_text_contents(), key=int) == [str(number) for number in range(1, 12)]
        boxes = texts.evaluate_all("all => all.map(one => one.getBoundingClientRect().toJSON())")
        for place, one in enumerate(boxes):
            for other in boxes[place + 1 :]:
                apart = one["right"] <= other["left"] or other["right"] <= one["left"]
                assert apart or one["bottom"] <= other["top"] or other["bottom"] <= one["top"], width
    page.close()


def test_on_paper_it_is_light_and_nothing_is_cut(page: "sync_api.Page") -> None:
    page.locator("#theme").click()  # dark on the screen
    page.emulate_media(media="print")
    assert _brightness(page)["page"] > 200
    assert not page.locator("nav").is_visible()
    hidden = "all => all.filter(one => getComputedStyle(one).overflowX !== 'visible').length"
    assert page.locator(".scroll").evaluate_all(hidden) == 0


def test_a_watched_page_loads_itself_again_and_keeps_what_was_chosen(
    chromium: "sync_api.Browser", data: ReportData, tmp_path: Path
) -> None:
    file = tmp_path / "watched.html"
    file.write_text(build_page(data, "first", 1), encoding="utf-8")
    page = chromium.new_page()
    _open(page, file)
    page.fill(".filters input[name='text']", "georgian")
    page.locator("#chart-score select").select_option("unseen")
    file.write_text(build_page(data, "second"), encoding="utf-8")
    page.locator("#status", has_text="second").wait_for(timeout=20_000)
    page.wait_for_selector("html[data-drawn]", state="attached")
    assert page.locator(".filters input[name='text']").input_value() == "georgian"
    assert set(_column(page, 1)) == {"kat_Geor"}
    assert page.locator("#chart-score select").input_value() == "unseen"
    page.close()


def _open(page: "sync_api.Page", file: Path) -> None:
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-drawn]", state="attached")


def _column(page: "sync_api.Page", place: int) -> list[str]:
    """Return the texts of a column of the language table, of the rows that are shown."""
    script = "(rows, place) => rows.filter(row => !row.hidden).map(row => row.cells[place].textContent)"
    texts: list[str] = page.locator("#table-languages tbody tr").evaluate_all(script, place)
    return texts


def _brightness(page: "sync_api.Page") -> dict[str, float]:
    """Return the mean of red, green and blue, 0 to 255, of the page and of a chart's labels."""
    script = """() => {
      const mean = (color) => color.match(/[\\d.]+/g).slice(0, 3).map(Number).reduce((sum, one) => sum + one) / 3;
      const label = document.querySelector("#chart-score .role-axis-label text");
      const [page, labels] = [getComputedStyle(document.body).backgroundColor, getComputedStyle(label).fill].map(mean);
      return { page, labels };
    }"""
    found: dict[str, float] = page.evaluate(script)
    return found
