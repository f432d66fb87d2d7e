"""A report's tables of languages, families and scripts."""

import polars as pl

from sweep.analysis.per_language import LanguageRow
from sweep.analysis.report_data import ReportData
from sweep.analysis.rows import rows_of
from sweep.report.group_lines import facts_line
from sweep.report.sheet import Sheet, interval, percent, points, sections
from sweep.report.wording import capitalise

ARMS_BY_KIND = 5
"""Arms side by side in 100 columns."""
MAX_KINDS = 12


def extreme_sheets(data: ReportData) -> list[Sheet]:
    """Return which languages gain and lose most."""
    if data.extremes.is_empty():
        return []
    rows: list[tuple[str, ...]] = []
    for source_set, of_source in sections(data.extremes, "source_set"):
        for arm, part in sections(of_source, "arm"):
            rows.append((f"{arm} on {source_set}",))
            rows += map(_language_row, rows_of(LanguageRow, part))
    notes = (
        "The most extreme of many languages are less extreme than they look; their intervals are not corrected for "
        "that.",
        facts_line(data.results.rows.facts),
    )
    hints = ("Every language: --languages, or the files of --format csv, markdown or latex.",)
    title = f"Languages that gain and lose most against {data.baseline}"
    return [Sheet("gains-and-losses", title, _columns(data), tuple(rows), data.extremes, notes, hints, left=3)]


def language_sheet(data: ReportData) -> Sheet:
    """Return every language with every arm."""
    rows: list[tuple[str, ...]] = []
    for source_set, of_source in sections(data.languages, "source_set"):
        for arm, part in sections(of_source, "arm"):
            rows.append((f"{arm} on {source_set}",))
            rows += map(_language_row, rows_of(LanguageRow, part))
    title = f"{capitalise(data.metric)} in %, and difference to {data.baseline}, by language (- : in no target group)"
    notes = (facts_line(data.results.rows.facts),)
    return Sheet("languages", title, _columns(data), tuple(rows), data.languages, notes, left=3)


def kinship_sheets(data: ReportData, arms_a_table: int = ARMS_BY_KIND) -> list[Sheet]:
    """Return score and difference by family and by script, the largest kinds, a few arms at a time."""
    sheets = []
    for by, name, table in (("family", "families", data.families), ("script", "scripts", data.scripts)):
        arms = data.results.arms
        for start in range(0, len(arms), arms_a_table):
            block = arms[start : start + arms_a_table]
            own = table.filter(pl.col("arm").is_in(block))
            part = start // arms_a_table + 1 if len(arms) > arms_a_table else None
            rows = _kinship_rows(own, by, block)
            title = f"By {by}: {data.metric} in % (difference to {data.baseline}); the {MAX_KINDS} largest at most"
            hints = ("Intervals are in the files of --format csv.",)
            if rows:
                sheets.append(Sheet(name, title, (by, "languages", *block), tuple(rows), table, (), hints, part=part))
    return sheets


def _columns(data: ReportData) -> tuple[str, ...]:
    measured = (f"{data.metric} [95 %]", "difference [95 %]")
    return ("language", "family", "class, seen, low", *measured)


def _kinship_rows(table: pl.DataFrame, by: str, arms: list[str]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for source_set, part in sections(table.filter(pl.col("num_seeds") > 0), "source_set"):
        rows.append((f"trained on {source_set}",))
        for kind, of_kind in list(sections(part, by))[:MAX_KINDS]:
            found = {row["arm"]: row for row in of_kind.iter_rows(named=True)}
            cells = []
            for arm in arms:
                row = found.get(arm)
                difference = "" if row is None or row["difference"] is None else f" ({points(row['difference'])})"
                cells.append("" if row is None else percent(row["score"]) + difference)
            rows.append((kind, str(of_kind["num_languages"][0]), *cells))
    return rows


def _language_row(row: LanguageRow) -> tuple[str, ...]:
    seen = {True: "seen", False: "unseen", None: "?"}[row.seen]
    low = ["low"] if row.low_performing else []
    facts = ["–" if row.joshi_class is None else str(row.joshi_class), seen, *low]
    code = f"{row.language} {row.name or ''}" + (" -" if row.excluded else "")
    words = (code, row.family or "", ", ".join(facts))
    difference = interval(row.difference, row.difference_low, row.difference_high, points)
    return (*words, interval(row.score, row.low, row.high), difference)
