"""A report as one HTML file: charts, tables that sort and filter, light and dark, on a phone and on paper.

Nothing is loaded from outside: Vega's code, the style and the data stand in the file, and a content security policy
lets no other script run and no address be asked. Every name of the user's is text: Jinja escapes it in the tables, and
JSON with no `<` holds it in the charts.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.resources import files

import jinja2
import polars as pl
import vl_convert
from altair import SCHEMA_VERSION
from markupsafe import Markup, escape

from sweep.analysis.per_language import LanguageRow
from sweep.analysis.report_data import ReportData
from sweep.analysis.rows import rows_of
from sweep.report.answer_sheets import answer_sheets
from sweep.report.charts import Chart, all_charts
from sweep.report.difference_sheets import difference_sheets
from sweep.report.formats import name_file
from sweep.report.group_lines import facts_line
from sweep.report.language_sheets import extreme_sheets, kinship_sheets
from sweep.report.main_sheets import main_sheets
from sweep.report.search_sheets import curse_sheets, front_sheets, importance_sheets, rung_sheets
from sweep.report.setup_sheets import setup_line, setup_sheets
from sweep.report.sheet import Sheet, interval, points
from sweep.report.sheets import cost_sheets, problem_lines, published_sheets
from sweep.report.study_sheets import budget_sheets, duel_sheets, gain_sheets, method_sheets, price_sheets
from sweep.report.targets import PAGE
from sweep.report.transfer_sheets import transfer_sheets
from sweep.report.wording import capitalise, name_exclusion
from sweep.storage import Folder
from xpe_core.json_types import Json

__all__ = ["PAGE", "build_page", "write_pages"]

LANGUAGE_COLUMNS = (*("language", "code", "script", "family", "class", "kind", "trained on", "arm"),)
VALUE_AND_BOUNDS = re.compile(r"([+-]?\d[\d.]*) (\[[+-]?\d.*)")
LANGUAGE_FILTERS = ("trained on", "arm", "family", "script")


@dataclass(frozen=True)
class Section:
    """A question with what answers it."""

    name: str
    label: str
    """In the page's navigation."""
    question: str
    chart: Chart | None
    sheets: Sequence[Sheet]
    lead: Sequence[Sheet] = ()
    """Tables that stand before the chart."""
    has_languages: bool = False
    """Whether the table of all languages stands here."""


def write_pages(
    reports: Sequence[ReportData], target: Folder, page: str, status: str = "", refresh_seconds: float | None = None
) -> list[str]:
    """Write a page for each report, linked with one another, and return their names: the first is called `page`."""
    stem, dot, ending = page.rpartition(".")
    labels = [data.panel or data.results.experiments[0].name for data in reports]
    names = [page, *(f"{stem}-{name_file(label)}{dot}{ending}" for label in labels[1:])]
    links = dict(zip(labels, names, strict=True)) if len(names) > 1 else {}
    for name, data in zip(names, reports, strict=True):
        target.write(name, build_page(data, status, refresh_seconds, links).encode())
    return names


def build_page(
    data: ReportData,
    status: str = "",
    refresh_seconds: float | None = None,
    pages: Mapping[str, str] | None = None,
) -> str:
    """Return the page; with `refresh_seconds` an open one loads itself again so often, and says `status`.

    `pages` are those of all backbones and data sets, by what these are called.
    """
    scripts = [_vega(), _read("page.js")]
    names = [one.name for one in data.results.experiments]
    return _template().render(
        title=", ".join(names),
        facts=setup_line(data),
        excluded=name_exclusion(data.results.exclude),
        data=data,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        status=status,
        refresh_seconds=refresh_seconds,
        pages=pages or {},
        problems=problem_lines(data.problems),
        sections=[section for section in _sections(data) if section.sheets or section.chart],
        language_columns=(*LANGUAGE_COLUMNS, f"{data.metric} [95 %]", "difference [95 %]"),
        facts_line=facts_line(data.results.rows.facts),
        language_filters=_filters(data),
        language_rows=_language_rows(data),
        policy=_policy(scripts),
        style=Markup(_read("page.css")),
        scripts=[Markup(script) for script in scripts],
    )


def _sections(data: ReportData) -> list[Section]:
    charts = all_charts(data)
    label = capitalise(data.metric)
    everything = max(len(data.results.arms), 1)
    main = main_sheets(data, everything)
    mattered = [*importance_sheets(data), *rung_sheets(data)]
    kinship = [*extreme_sheets(data), *kinship_sheets(data, everything)]
    return [
        Section("which", label, "Which is better?", charts.get("score"), main, lead=answer_sheets(data)),
        Section("real", "Differences", "Is it really better?", charts.get("differences"), difference_sheets(data)),
        Section("methods", "Methods", "Which method is really better than which?", None, duel_sheets(data)),
        Section("gains", "Tuning", "What did tuning bring?", None, [*gain_sheets(data), *method_sheets(data)]),
        Section("price", "Price", "What does a point cost?", charts.get("price"), price_sheets(data)),
        Section("budget", "Budget", "Would another budget change it?", charts.get("budget"), budget_sheets(data)),
        Section(
            "transfer", "Supervised", "What do target examples add?", charts.get("transfer"), transfer_sheets(data)
        ),
        Section("promise", "Fresh seeds", "Does it hold on fresh seeds?", charts.get("promise"), curse_sheets(data)),
        Section("languages", "Languages", "For which languages?", charts.get("languages"), kinship, has_languages=True),
        Section("trade-off", "Trade-off", "At the cost of which others?", charts.get("trade-off"), front_sheets(data)),
        Section("importance", "Importance", "What mattered?", charts.get("importance"), mattered),
        Section("curves", "Learning curves", "How did it learn?", charts.get("curves"), []),
        Section("setup", "Setup", "What was run?", None, setup_sheets(data)),
        Section("cost", "Cost", "What did it cost?", None, cost_sheets(data)),
        Section(
            "published",
            "Published",
            "Does it agree with the published table?",
            charts.get("published"),
            published_sheets(data),
        ),
    ]


def _language_rows(data: ReportData) -> Iterable[Markup]:
    """Yield a row of every language with every arm, with the target groups that it is in."""
    of_language: dict[str, list[str]] = {code: [] for code in data.results.languages}
    for group, indices in data.results.groups.items():
        for index in indices:
            of_language[data.results.languages[index]].append(group)
    table = data.languages.filter(pl.col("score").is_not_null())
    # first what there is to see: rows of the baseline have no difference
    table = table.sort(pl.col("difference").is_null(), maintain_order=True)
    for row in rows_of(LanguageRow, table):
        pretraining = {True: "seen", False: "unseen", None: "?"}[row.seen]
        pretraining += ", low-performing" if row.low_performing else ""
        words = (row.name or row.language, row.language, row.script or "", row.family or "")
        facts = ("–" if row.joshi_class is None else str(row.joshi_class), pretraining)
        score = interval(row.score, row.low, row.high)
        difference = interval(row.difference, row.difference_low, row.difference_high, points)
        head, *others = (*words, *facts, row.source_set, row.arm, score, difference)
        shown = Markup("").join([_cell(head, "th"), *map(_cell, others)])
        yield Markup('<tr data-groups="{}">{}</tr>').format(" ".join(of_language[row.language]), shown)


def _filters(data: ReportData) -> dict[int, tuple[str, list[str]]]:
    """Return, by the index of its column, what a filter of the language table is called and offers."""
    offers = {
        "trained on": data.results.source_sets,
        "arm": data.results.arms,
        "family": sorted(data.languages["family"].drop_nulls().unique().to_list()),
        "script": sorted(data.languages["script"].drop_nulls().unique().to_list()),
    }
    return {LANGUAGE_COLUMNS.index(name): (name, offers[name]) for name in LANGUAGE_FILTERS}


def _policy(scripts: Iterable[str]) -> str:
    """Return the content security policy under which these scripts run, and nothing else does."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    nothing = "default-src 'none'; base-uri 'none'; form-action 'none'"
    return f"{nothing}; script-src {allowed}; style-src 'unsafe-inline'; img-src data:"


@lru_cache(maxsize=10_000)
def _cell(text: str, tag: str = "td", is_strong: bool = False) -> Markup:
    """Return a table's cell; an interval and a second line may be set apart, and names may break at underscores."""
    first, *others = text.split("\n")
    found = VALUE_AND_BOUNDS.fullmatch(first)
    shown = escape(found[1] if found else first).replace("_", Markup("_<wbr>"))
    if is_strong:
        shown = Markup("<b>{}</b>").format(shown)
    if found:
        shown += Markup(' <span class="bounds">{}</span>').format(found[2])
    if others:
        shown += Markup("<small>{}</small>").format(" ".join(others))
    return Markup("<{0}>{1}</{0}>").format(Markup(tag), shown)


def _safe_json(value: Json) -> Markup:
    """Return JSON in which nothing can end a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


@cache
def _vega() -> str:
    """Return the code of Vega, Vega-Lite and Vega-Embed that Altair's charts are made for."""
    version = ".".join(SCHEMA_VERSION.split(".")[:2])
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=version)
    return bundle.replace("</script", "<\\/script")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.lstrip_blocks = True
    environment.filters |= {"safe_json": _safe_json, "cell": _cell}
    return environment.from_string(_read("page.html"))


def _read(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
