"""Arms beside each other, beside the baseline, and beside what was published."""

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from sweep.analysis.published import PublishedRow
from sweep.analysis.report_data import ReportData
from sweep.analysis.rows import rows_of
from sweep.analysis.tables import DifferenceRow, MainRow
from sweep.report.answer_sheets import SIGNIFICANT
from sweep.report.charts.drawing import (
    PALETTE,
    ROW_PIXELS,
    Chart,
    ChartRow,
    bounds,
    chart_of,
    choice,
    color_by,
    finish,
    is_chosen,
    percents,
    tooltips,
    x_axis,
)
from sweep.report.sheet import interval, p_value, percent, points
from sweep.report.wording import capitalise


def score_chart(data: ReportData) -> Chart | None:
    """Return the arms' scores with their intervals, by source set; the target group is chosen."""
    rows: list[ChartRow] = [
        {
            **{"source_set": row.source_set, "group": row.group, "arm": row.arm},
            **{"num_seeds": row.num_seeds, "num_languages": row.num_languages},
            **percents(score=row.score),
            **bounds(row.score, row.low, row.high),
            "shown": interval(row.score, row.low, row.high),
        }
        for row in rows_of(MainRow, data.main)
        if row.score is not None
    ]
    if not rows:
        return None
    layout = _lay_out(data, data.results.arms)
    tooltip = tooltips(source_set="trained on", group="tested on", arm="arm", shown=f"{data.metric} [95 %]")
    tooltip += tooltips(num_seeds="seeds", num_languages="languages")
    base = chart_of().transform_filter(is_chosen(*layout.fields)).encode(*layout.encodings).encode(tooltip=tooltip)
    bars = base.mark_rule(strokeWidth=2).encode(x=x_axis("low", f"{data.metric} in %"), x2="high:Q")
    means = base.mark_point(filled=True, size=70, opacity=1).encode(x=x_axis("score", f"{data.metric} in %"))
    chart = (bars + means).add_params(*layout.choices).properties(height=layout.height)
    what = f"{capitalise(data.metric)} of each arm: mean over seeds with its 95 % interval"
    return finish("score", what, chart, rows=rows)


def difference_chart(data: ReportData) -> Chart | None:
    """Return the differences to the baseline with both intervals; those that are real at 5 % are filled."""
    if data.differences.is_empty():
        return None
    compared = [row for row in rows_of(DifferenceRow, data.differences) if row.difference is not None]
    if not compared:
        return None
    layout = _lay_out(data, [arm for arm in data.results.arms if any(row.arm == arm for row in compared)])
    tooltip = tooltips(source_set="trained on", group="tested on", arm="arm", shown="difference [these languages]")
    tooltip += tooltips(such="difference [such languages]", holm="Holm p", num_pairs="pairs of seeds")
    title = f"difference to {data.baseline} in points"
    base = chart_of().transform_filter(is_chosen(*layout.fields)).encode(*layout.encodings).encode(tooltip=tooltip)
    such = base.mark_rule(strokeWidth=1).encode(x=x_axis("low_languages", title), x2="high_languages:Q")
    these = base.mark_rule(strokeWidth=4, opacity=0.55).encode(x=x_axis("low", title), x2="high:Q")
    inside = alt.condition(alt.datum.real, alt.value("var(--ink)"), alt.value("var(--page)"))
    means = base.mark_point(size=70, opacity=1, strokeWidth=2).encode(x=x_axis("difference", title), fill=inside)
    zero = chart_of("zeros").mark_rule(color="var(--muted)").encode(x="zero:Q")
    chart = (zero + such + these + means).add_params(*layout.choices).properties(height=layout.height)
    what = f"Difference to {data.baseline}: thick for these languages, thin for such languages; filled if real"
    return finish("differences", what, chart, rows=list(map(_draw_difference, compared)), zeros=[{"zero": 0}])


def _draw_difference(row: DifferenceRow) -> ChartRow:
    return {
        **{"source_set": row.source_set, "group": row.group, "arm": row.arm},
        **{"num_pairs": row.num_pairs, "num_languages": row.num_languages},
        **percents(difference=row.difference),
        **bounds(row.difference, row.low, row.high),
        **bounds(row.difference, row.low_languages, row.high_languages, "_languages"),
        "real": row.p_holm is not None and row.p_holm <= SIGNIFICANT,
        "shown": interval(row.difference, row.low, row.high, points),
        "such": interval(row.difference, row.low_languages, row.high_languages, points),
        "holm": p_value(row.p_holm),
    }


def published_chart(data: ReportData) -> Chart | None:
    """Return the published figures beside ours; the source set is chosen."""
    compared = [row for row in rows_of(PublishedRow, data.published) if row.score is not None]
    if not compared:
        return None
    sets = list(dict.fromkeys(row.source_set for row in compared))
    methods = list(dict.fromkeys(row.method for row in compared))
    groups = list(dict.fromkeys(row.group for row in compared))
    source_set = choice("source_set", "Trained on", sets, sets[0])
    base = (
        chart_of()
        .transform_filter(is_chosen("source_set"))
        .encode(
            y=alt.Y("group:N", sort=groups, title=None),
            yOffset=alt.YOffset("method:N", sort=methods),
            color=color_by("method", methods),
            tooltip=tooltips(
                source_set="trained on", group="tested on", arm="arm", theirs="published", ours="ours [95 %]"
            ),
        )
    )
    bars = base.mark_rule(strokeWidth=2).encode(x=x_axis("low", f"{data.metric} in %"), x2="high:Q")
    ours = base.mark_point(filled=True, size=70, opacity=1).encode(x=x_axis("score", f"{data.metric} in %"))
    theirs = base.mark_tick(thickness=3, size=ROW_PIXELS).encode(x=x_axis("published", f"{data.metric} in %"))
    chart = (bars + ours + theirs).add_params(source_set)
    chart = chart.properties(height=ROW_PIXELS * len(groups) * (len(methods) + 1))
    what = "Published (tick) and ours (point with 95 % interval)"
    return finish("published", what, chart, rows=list(map(_draw_figure, compared)))


def _draw_figure(row: PublishedRow) -> ChartRow:
    return {
        **{"source_set": row.source_set, "method": row.method, "group": row.group, "arm": row.arm},
        "ours": interval(row.score, row.low, row.high),
        **percents(published=row.published, score=row.score),
        **bounds(row.score, row.low, row.high),
        "theirs": percent(row.published),
    }


@dataclass(frozen=True)
class _Layout:
    """Where arms and source sets stand in a chart of intervals."""

    encodings: tuple[alt.Y | alt.YOffset | alt.Color | alt.ColorValue, ...]
    choices: list[alt.Parameter]
    fields: tuple[str, ...]
    """What is chosen."""
    height: int


def _lay_out(data: ReportData, arms: Sequence[str]) -> _Layout:
    """Return a row a source set with its arms in colours; with more arms than colours, a row an arm."""
    results = data.results
    choices = [choice("group", "Tested on", list(results.groups), data.results.broadest_group)]
    if len(arms) > len(PALETTE):
        choices.append(choice("source_set", "Trained on", results.source_sets, results.source_sets[0]))
        one_color = (alt.Y("arm:N", sort=list(arms), title=None), alt.ColorValue(PALETTE[0]))
        return _Layout(one_color, choices, ("group", "source_set"), ROW_PIXELS * len(arms))
    y = alt.Y("source_set:N", sort=results.source_sets, title=None)
    encodings = (y, alt.YOffset("arm:N", sort=list(arms)), color_by("arm", arms, results.arms))
    return _Layout(encodings, choices, ("group",), ROW_PIXELS * len(results.source_sets) * (len(arms) + 1))
