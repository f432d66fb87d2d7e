"""Learning curves over a target's examples: further from the source-trained parts, and from new weights."""

from collections.abc import Iterator
from dataclasses import dataclass

import altair as alt

from sweep.analysis.report_data import ReportData
from sweep.analysis.rows import rows_of
from sweep.analysis.transfers import TransferRow
from sweep.report.charts.drawing import (
    Chart,
    chart_of,
    choice,
    color_by,
    drawn,
    finish,
    is_chosen,
    rounded,
    tooltips,
    y_axis,
)
from sweep.report.sheet import interval, percent
from sweep.report.transfer_sheets import name_examples, name_target

NONE = "0"
"""Examples of zero-shot transfer."""
FURTHER, ANEW = "from the source set", "from scratch"


@dataclass(frozen=True)
class _Point:
    """A score in percent with its interval, where it has one."""

    source: str
    target: str
    arm: str
    start: str
    line: str
    examples: str
    score: float
    low: float
    high: float
    shown: str


def transfer_chart(data: ReportData) -> Chart | None:
    """Return scores by the number of a target's examples; source set and target are chosen."""
    several = data.transfers["experiment"].n_unique() > 1 if len(data.transfers) else False
    points = [point for row in rows_of(TransferRow, data.transfers) for point in _find_points(row, several)]
    if not points:
        return None
    sources, targets, arms = (list(dict.fromkeys(names)) for names in zip(*_names(points), strict=True))
    counts = sorted({point.examples for point in points}, key=_order)
    chosen = [choice("source", "Trained on", sources, sources[0]), choice("target", "Target", targets, targets[0])]
    x = alt.X("examples:N", sort=counts, title="examples of the target", axis=alt.Axis(labelAngle=0))
    base = chart_of().transform_filter(is_chosen("source", "target")).encode(x=x, color=color_by("arm", arms))
    y = y_axis("score", f"{data.metric} in %")
    dash = alt.StrokeDash("start:N", scale=alt.Scale(domain=[FURTHER, ANEW], range=[[1, 0], [4, 3]]), title=None)
    lines = base.mark_line(strokeWidth=2).encode(y=y, strokeDash=dash, detail="line:N")
    ends = base.mark_rule(opacity=0.5).encode(y=y_axis("low", f"{data.metric} in %"), y2="high:Q")
    tooltip = tooltips(arm="arm", start="start", target="target", examples="examples", shown="score [95 %]")
    marks = base.mark_point(filled=True, size=60, opacity=1).encode(y=y, tooltip=tooltip)
    chart = (ends + lines + marks).add_params(*chosen).properties(height=320)
    what = "Scores by the number of a target's examples, with 95 % intervals over seeds; dashed is from scratch"
    return finish("transfer", what, chart, rows=list(map(drawn, points)))


def _find_points(row: TransferRow, several: bool) -> Iterator[_Point]:
    """Yield a row's points: before, after, and from new weights; of `several` experiments each by its name."""
    place = (f"{row.experiment}: {row.source_set}" if several else row.source_set, name_target(row), row.arm)
    further, anew = (f"{row.arm} {start}" for start in (FURTHER, ANEW))
    if row.zero_shot is not None:
        value = rounded(row.zero_shot) or 0.0
        yield _Point(*place, FURTHER, further, NONE, value, value, value, percent(row.zero_shot))
    for start, line, score, low, high in (
        (FURTHER, further, row.score, row.low, row.high),
        (ANEW, anew, row.scratch, row.scratch_low, row.scratch_high),
    ):
        if score is not None:
            value, least, most = (rounded(score if end is None else end) or 0.0 for end in (score, low, high))
            shown = interval(score, low, high)
            yield _Point(*place, start, line, name_examples(row), value, least, most, shown)


def _names(points: list[_Point]) -> list[tuple[str, str, str]]:
    return [(point.source, point.target, point.arm) for point in points]


def _order(examples: str) -> float:
    return float("inf") if examples == "all" else float(examples.replace(",", ""))
