"""What a search promised, what mattered in it, and how its trials learnt."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import altair as alt
import polars as pl

from sweep.analysis.effort import CurveRow
from sweep.analysis.report_data import ReportData
from sweep.analysis.rows import rows_of
from sweep.analysis.tradeoff import CurseRow
from sweep.records.states import State
from sweep.report.charts.drawing import (
    ROW_PIXELS,
    Chart,
    ChartRow,
    bounds,
    chart_of,
    choice,
    color_by,
    drawn,
    finish,
    is_chosen,
    percents,
    to_percent,
    tooltips,
    x_axis,
    y_axis,
)
from sweep.report.sheet import interval, percent, sections
from xpe_core.tunings import METHOD_NAMES

MAX_CURVES = 200
"""Trials whose curves are drawn, the best first."""


def promise_chart(data: ReportData) -> Chart | None:
    """Return what a search promised and what its replication held."""
    rows = [row for row in rows_of(CurseRow, data.curse) if None not in (row.search_score, row.replication_score)]
    if not rows:
        return None
    measures = list(dict.fromkeys(row.measure for row in rows))
    arms = list(dict.fromkeys(map(_name_arm, rows)))
    tooltip = tooltips(arm="arm", measure="measure", promised="the search promised", held="held [95 %]")
    base = chart_of().encode(
        y=alt.Y("measure:N", sort=measures, title=None),
        yOffset=alt.YOffset("arm:N", sort=arms),
        color=color_by("arm", arms),
        tooltip=tooltip,
    )
    what = f"{data.metric} in %"
    held = base.mark_rule(strokeWidth=2).encode(x=x_axis("low", what), x2="high:Q")
    mean = base.mark_point(filled=True, size=70, opacity=1).encode(x=x_axis("replication_score", what))
    promised = base.mark_tick(thickness=3, size=ROW_PIXELS).encode(x=x_axis("search_score", what))
    height = ROW_PIXELS * len(measures) * (len(arms) + 1)
    chart = (held + mean + promised).properties(height=height)
    what = "What the search promised (tick) and what fresh seeds held (point with 95 % interval)"
    return finish("promise", what, chart, rows=list(map(_draw_promise, rows)))


def _draw_promise(row: CurseRow) -> ChartRow:
    return {
        **{"replication": row.replication, "measure": row.measure, "arm": _name_arm(row)},
        **percents(search_score=row.search_score, replication_score=row.replication_score),
        **bounds(row.replication_score, row.low, row.high),
        "promised": percent(row.search_score),
        "held": interval(row.replication_score, row.low, row.high),
    }


def _name_arm(row: CurseRow) -> str:
    return f"{row.replication}: {row.arm}"


def importance_chart(data: ReportData) -> Chart | None:
    """Return how much each searched field mattered."""
    if data.importances.is_empty():
        return None
    rows = [
        {**{key: row[key] for key in ("experiment", "field", "importance")}, "shown": f"{row['importance']:.2f}"}
        for row in data.importances.iter_rows(named=True)
    ]
    fields = list(dict.fromkeys(row["field"] for row in rows))
    experiments = list(dict.fromkeys(row["experiment"] for row in rows))
    chart = (
        chart_of()
        .mark_bar()
        .encode(
            x=alt.X("importance:Q", title="importance", axis=alt.Axis(tickCount=5)),
            y=alt.Y("field:N", sort=fields, title=None),
            yOffset=alt.YOffset("experiment:N", sort=experiments),
            color=color_by("experiment", experiments),
            tooltip=tooltips(experiment="experiment", field="field", shown="importance"),
        )
    )
    height = ROW_PIXELS * len(fields) * (len(experiments) + 1)
    return finish("importance", "Importance of the searched fields", chart.properties(height=height), rows=rows)


@dataclass(frozen=True)
class _Report:
    """A trial at one of its reports; the score in percent."""

    experiment: str
    trial: int
    step: int
    score: float
    shown: str
    state: str
    what: str
    stopped: bool


@dataclass(frozen=True)
class _Rung:
    """A step at which an experiment's trials are compared."""

    experiment: str
    step: int
    seen: bool


def curve_chart(data: ReportData) -> Chart | None:
    """Return every trial's learning curve, the rungs, and where trials were stopped; the experiment is chosen."""
    reports = list(_find_reports(data))
    if not reports:
        return None
    searches = set(data.rungs["experiment"])
    # an empty layer would have no place on the axes: where nothing was stopped the marks are there and not seen
    steps = [_Rung(name, step, True) for name, step in data.rungs.select("experiment", "step").iter_rows()]
    steps += [_Rung(one.experiment, one.step, False) for one in reports if one.experiment not in searches]
    names = list(dict.fromkeys(one.experiment for one in reports))
    kinds = sorted({one.what for one in reports}, key=lambda what: (*METHOD_NAMES, what).index(what))
    rungs_are = ": dashed are ASHA's rungs, crosses are trials that were stopped" if searches else " of all trials"
    return finish(
        "curves",
        f"Learning curves{rungs_are}",
        _draw_curves(names, kinds, data.chosen_by),
        rows=list(map(drawn, reports)),
        steps=list(map(drawn, steps)),
    )


def _find_reports(data: ReportData) -> Iterator[_Report]:
    for name, table in sections(data.curves, "experiment"):
        last = table.filter("is_last").sort("step", "score", descending=True)["trial_id"].to_list()[:MAX_CURVES]
        for row in rows_of(CurveRow, table.filter(pl.col("trial_id").is_in(last))):
            yield _Report(
                experiment=name,
                trial=row.trial_number + 1,
                step=row.step,
                score=to_percent(row.score),
                shown=percent(row.score),
                state=row.state or State.RUNNING.value,
                what=row.arm or row.method,
                stopped=row.is_last and row.state == State.PRUNED,
            )


def _draw_curves(names: Sequence[str], kinds: Sequence[str], metric: str) -> alt.LayerChart:
    """Return the picture: rungs, curves, where trials were stopped, and what is pointed at."""
    over = alt.selection_point(name="over", fields=["trial"], on="pointerover", nearest=True, clear="pointerout")
    tooltip = tooltips(trial="trial", what="arm or method", state="state", step="step", shown=metric)
    x = alt.X("step:Q", title="step", axis=alt.Axis(tickCount=8))
    y = y_axis("score", f"validation {metric} in %")
    base = chart_of().transform_filter(is_chosen("experiment")).encode(x=x, y=y, detail="trial:N")
    lines = base.mark_line(strokeWidth=1.5).encode(
        color=color_by("what", kinds), opacity=alt.condition(over, alt.value(0.8), alt.value(0.15), empty=True)
    )
    reports = base.mark_point(size=60, opacity=0).encode(tooltip=tooltip).add_params(over)
    stopped = base.mark_point(shape="cross", filled=True, size=50)
    is_seen = alt.condition(alt.datum.stopped, alt.value(1), alt.value(0))
    ends = stopped.encode(color=color_by("what", kinds), opacity=is_seen)
    rungs = chart_of("steps").transform_filter(is_chosen("experiment"))
    is_rung = alt.condition(alt.datum.seen, alt.value(1), alt.value(0))
    rungs = rungs.mark_rule(color="var(--muted)", strokeDash=[2, 3]).encode(x=x, opacity=is_rung)
    experiment = choice("experiment", "Experiment", names, names[0])
    return (rungs + lines + ends + reports).add_params(experiment).properties(height=320)
