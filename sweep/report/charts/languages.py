"""Every language with an arm against itself with the baseline."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import altair as alt

from sweep.analysis.per_language import LanguageRow
from sweep.analysis.report_data import ReportData
from sweep.analysis.rows import rows_of
from sweep.report.charts.drawing import (
    KINDS,
    PALETTE,
    Chart,
    ChartRow,
    chart_of,
    choice,
    drawn,
    finish,
    is_chosen,
    label_points,
    shape_by,
    to_percent,
    tooltips,
    x_axis,
    y_axis,
)
from sweep.report.charts.labels import place_labels
from sweep.report.sheet import interval, points

HEIGHT = 420


@dataclass(frozen=True)
class _Point:
    """A language with an arm on a source set; scores in percent."""

    cell: str
    arm: str
    language: str
    score: float
    before: float
    """With the baseline."""
    shown: str
    change: str
    label: str
    """Empty of all but the languages that gain and lose most."""
    dx: float | None = None
    dy: float | None = None


def language_chart(data: ReportData) -> Chart | None:
    """Return every language's score with an arm against that with the baseline; the arm is chosen."""
    marks = list(_find_points(data))
    if not marks:
        return None
    searched = {cell.arm for cell in data.results.shown if data.results.is_searched(cell)}
    # fresh seeds first: a search's own say more good of what it chose
    cells = list(dict.fromkeys(point.cell for point in sorted(marks, key=lambda point: point.arm in searched)))
    values = [value for point in marks for value in (point.before, point.score)]
    ends = min(values), max(values)
    facts = _describe_languages(data, {point.language for point in marks})
    chart = _draw(data, cells, [kind for kind in KINDS if any(fact["kind"] == kind for fact in facts)])
    what = f"Each language with an arm (up) and with {data.baseline} (right): above the line it gains"
    return finish(
        "languages",
        what,
        chart,
        rows=[drawn(point) for point in _place_all(marks, cells, ends)],
        ends=[{"before": end, "score": end} for end in ends],
        facts=facts,
    )


def _find_points(data: ReportData) -> Iterator[_Point]:
    extreme = set(data.extremes.select("source_set", "arm", "language").iter_rows())
    for row in rows_of(LanguageRow, data.languages):
        if row.score is None or row.difference is None:
            continue
        yield _Point(
            cell=f"{row.arm} on {row.source_set}",
            arm=row.arm,
            language=row.language,
            score=to_percent(row.score),
            before=to_percent(row.score - row.difference),
            shown=interval(row.score, row.low, row.high),
            change=interval(row.difference, row.difference_low, row.difference_high, points),
            label=row.name or row.language if (row.source_set, row.arm, row.language) in extreme else "",
        )


def _describe_languages(data: ReportData, languages: set[str]) -> list[ChartRow]:
    facts: dict[str, ChartRow] = {
        row.language: {
            "language": row.language,
            "family": row.family,
            "script": row.script,
            "name": row.name or row.language,
            "kind": _kind(row),
        }
        for row in rows_of(LanguageRow, data.languages)
        if row.language in languages
    }
    return list(facts.values())


def _kind(row: LanguageRow) -> str:
    if row.excluded:
        return "in no group"
    if row.seen is None:
        return "unknown"
    return "low-performing" if row.low_performing else "seen" if row.seen else "unseen"


def _place_all(marks: Sequence[_Point], cells: Sequence[str], ends: tuple[float, float]) -> list[_Point]:
    """Return the points with where their labels stand: one cell is seen at a time."""
    placed = list(marks)
    for name in cells:
        indices = [index for index, point in enumerate(marks) if point.cell == name and point.label]
        where = [(marks[index].before, marks[index].score) for index in indices]
        offsets = place_labels(where, [marks[index].label for index in indices], ends, ends, HEIGHT)
        for index, offset in zip(indices, offsets, strict=True):
            placed[index] = replace(placed[index], dx=offset.dx, dy=offset.dy)
    return placed


def _draw(data: ReportData, cells: Sequence[str], kinds: Sequence[str]) -> alt.LayerChart:
    """Return the picture: the line of equals, the languages, and the labels of some."""
    tooltip = tooltips(name="language", language="code", family="family", script="script", kind="kind")
    tooltip += tooltips(shown=f"{data.metric} [95 %]", change=f"difference to {data.baseline}")
    known = alt.LookupData(alt.NamedData("facts"), "language", ["family", "script", "name", "kind"])
    base = chart_of().transform_filter(is_chosen("cell")).transform_lookup("language", known)
    x, y = x_axis("before", f"with {data.baseline}, in %"), y_axis("score", "with the arm, in %")
    base = base.encode(x=x, y=y, tooltip=tooltip)
    colors = alt.Scale(domain=list(kinds), range=[PALETTE[KINDS.index(kind)] for kind in kinds])
    color = alt.Color("kind:N", scale=colors, title=None)
    dots = base.mark_point(filled=True, size=45, opacity=0.75).encode(color=color, shape=shape_by("kind", kinds))
    labels = label_points(base.transform_filter("datum.label !== ''"))
    equal = chart_of("ends").mark_line(color="var(--muted)", strokeWidth=1, strokeDash=[4, 3])
    chart = equal.encode(x="before:Q", y="score:Q") + dots + labels
    return chart.add_params(choice("cell", "Arm", cells, cells[0])).properties(height=HEIGHT)
