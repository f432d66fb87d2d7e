"""Low-performing against seen languages: all finished configurations, and those that none beats on both."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import altair as alt

from sweep.analysis.report_data import ReportData
from sweep.analysis.rows import rows_of
from sweep.analysis.tradeoff import FrontRow
from sweep.report.charts.drawing import (
    Chart,
    chart_of,
    color_by,
    drawn,
    finish,
    label_points,
    shape_by,
    to_percent,
    tooltips,
    x_axis,
    y_axis,
)
from sweep.report.charts.labels import place_labels
from sweep.report.sheet import percent
from xpe_core.tunings import METHOD_NAMES

HEIGHT = 380
TITLE = (
    "Every finished configuration on low-performing (up) and on seen languages (right); "
    "of the numbered ones none is beaten on both"
)


@dataclass(frozen=True)
class _Point:
    """A configuration; scores in percent."""

    arm: str
    source_set: str
    method: str
    num_seeds: int
    on_front: bool
    config: str
    experiment: str
    low_performing: float
    seen: float
    low_shown: str
    seen_shown: str
    label: str
    """The number of a point of the front, else empty."""
    dx: float | None = None
    dy: float | None = None


def tradeoff_chart(data: ReportData) -> Chart | None:
    """Return all finished configurations, low-performing against seen languages, and the front."""
    if data.front.is_empty():
        return None
    marks = _find_points(data)
    legend = [
        f"{point.arm} trained on {point.source_set} (config {point.config}): {point.seen_shown} seen, "
        f"{point.low_shown} low-performing"
        for point in marks
        if point.on_front
    ]
    methods = [method for method in METHOD_NAMES if any(point.method == method for point in marks)]
    return finish("trade-off", TITLE, _draw(methods), legend, rows=[drawn(point) for point in _place_all(marks)])


def _find_points(data: ReportData) -> list[_Point]:
    marks, num_on_front = [], 0
    for row in rows_of(FrontRow, data.front):
        num_on_front += row.on_front
        marks.append(
            _Point(
                arm=row.arm,
                source_set=row.source_set,
                method=row.method,
                num_seeds=row.num_seeds,
                on_front=row.on_front,
                config=row.config_id[:8],
                experiment=row.experiment,
                low_performing=to_percent(row.low_performing),
                seen=to_percent(row.seen),
                low_shown=percent(row.low_performing),
                seen_shown=percent(row.seen),
                label=str(num_on_front) if row.on_front else "",
            )
        )
    return marks


def _place_all(marks: Sequence[_Point]) -> list[_Point]:
    """Return the points with where the front's labels stand."""
    front = [point for point in marks if point.on_front]
    x_range = min(point.seen for point in marks), max(point.seen for point in marks)
    y_range = (
        min(point.low_performing for point in marks),
        max(point.low_performing for point in marks),
    )
    where = [(point.seen, point.low_performing) for point in front]
    offsets = iter(place_labels(where, [point.label for point in front], x_range, y_range, HEIGHT))
    placed = []
    for point in marks:
        offset = next(offsets) if point.on_front else None
        placed.append(point if offset is None else replace(point, dx=offset.dx, dy=offset.dy))
    return placed


def _draw(methods: Sequence[str]) -> alt.LayerChart:
    tooltip = tooltips(experiment="experiment", arm="arm", source_set="trained on", config="configuration")
    tooltip += tooltips(num_seeds="seeds", seen_shown="seen", low_shown="low-performing")
    base = chart_of().encode(
        x=x_axis("seen", "seen languages, in %"), y=y_axis("low_performing", "low-performing languages, in %")
    )
    dots = base.mark_point(filled=True).encode(
        color=color_by("method", methods, tuple(METHOD_NAMES)),
        shape=shape_by("method", methods),
        size=alt.condition(alt.datum.on_front, alt.value(110), alt.value(40)),
        opacity=alt.condition(alt.datum.on_front, alt.value(1), alt.value(0.6)),
        tooltip=tooltip,
    )
    front = base.transform_filter(alt.datum.on_front)
    line = front.mark_line(interpolate="step-before", color="var(--muted)", strokeWidth=1, strokeDash=[4, 3])
    return (line + dots + label_points(front)).properties(height=HEIGHT)
