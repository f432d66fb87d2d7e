"""Arms beside each other, beside the baseline, and beside what was published."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from sweep.analysis.report_data import ReportData
from sweep.report.answer_sheets import SIGNIFICANT
from sweep.report.charts.drawing import (
    PALETTE,
    ROW_PIXELS,
    Chart,
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
    rows = [
        {
            **{key: row[key] for key in ("source_set", "group", "arm", "num_seeds", "num_languages")},
            **percents(row, "score"),
            **bounds(row, "score"),
            "shown": interval(row["score"], row["low"], row["high"]),
        }
        for row in data.main.iter_rows(named=True)
        if row["score"] is not None
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
    rows = [
        {
            **{key: row[key] for key in ("source_set", "group", "arm", "num_pairs", "num_languages")},
            **percents(row, "difference"),
            **bounds(row, "difference"),
            **bounds(row, "difference", "low_languages", "high_languages"),
            "real": row["p_holm"] is not None and row["p_holm"] <= SIGNIFICANT,
            "shown": interval(row["difference"], row["low"], row["high"], points),
            "such": interval(row["difference"], row["low_languages"], row["high_languages"], points),
            "holm": p_value(row["p_holm"]),
        }
        for row in data.differences.iter_rows(named=True)
        if row["difference"] is not None
    ]
    if not rows:
        return None
    arms = [arm for arm in data.results.arms if any(row["arm"] == arm for row in rows)]
    layout = _lay_out(data, arms)
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
    return finish("differences", what, chart, rows=rows, zeros=[{"zero": 0}])


def published_chart(data: ReportData) -> Chart | None:
    """Return the published figures beside ours; the source set is chosen."""
    rows = [
        {
            **{key: row[key] for key in ("source_set", "method", "group")},
            **{"arm": row["arm"], "ours": interval(row["score"], row["low"], row["high"])},
            **percents(row, "published", "score"),
            **bounds(row, "score"),
            "theirs": percent(row["published"]),
        }
        for row in data.published.iter_rows(named=True)
        if row["score"] is not None
    ]
    if not rows:
        return None
    sets, methods, groups = (list(dict.fromkeys(row[key] for row in rows)) for key in ("source_set", "method", "group"))
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
    height = ROW_PIXELS * len(groups) * (len(methods) + 1)
    return finish(
        "published", "Published (tick) and ours (point with 95 % interval)", chart.properties(height=height), rows=rows
    )


@dataclass(frozen=True)
class _Layout:
    """Where arms and source sets stand in a chart of intervals."""

    encodings: tuple[Any, ...]
    choices: list[alt.Parameter]
    fields: tuple[str, ...]
    """What is chosen."""
    height: int


def _lay_out(data: ReportData, arms: Sequence[str]) -> _Layout:
    """Return a row a source set with its arms in colours; with more arms than colours, a row an arm."""
    results = data.results
    choices = [choice("group", "Tested on", list(results.groups), _overall(data))]
    if len(arms) > len(PALETTE):
        choices.append(choice("source_set", "Trained on", results.source_sets, results.source_sets[0]))
        one_color = (alt.Y("arm:N", sort=list(arms), title=None), alt.ColorValue(PALETTE[0]))
        return _Layout(one_color, choices, ("group", "source_set"), ROW_PIXELS * len(arms))
    y = alt.Y("source_set:N", sort=results.source_sets, title=None)
    encodings = (y, alt.YOffset("arm:N", sort=list(arms)), color_by("arm", arms, results.arms))
    return _Layout(encodings, choices, ("group",), ROW_PIXELS * len(results.source_sets) * (len(arms) + 1))


def _overall(data: ReportData) -> str:
    """Return the largest target group."""
    return max(data.results.groups, key=lambda group: len(data.results.groups[group]))
