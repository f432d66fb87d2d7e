"""Languages one by one, and low-performing against seen ones."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from sweep.analysis.report_data import ReportData
from sweep.report.charts.drawing import (
    KINDS,
    PALETTE,
    Chart,
    chart_of,
    choice,
    color_by,
    finish,
    is_chosen,
    label_points,
    percents,
    rounded,
    shape_by,
    tooltips,
    x_axis,
    y_axis,
)
from sweep.report.charts.labels import place_labels
from sweep.report.sheet import interval, percent, points
from xpe_core.tunings import METHOD_NAMES


def language_chart(data: ReportData) -> Chart | None:
    """Return every language's score with an arm against that with the baseline; the arm is chosen."""
    table = data.languages.filter(pl.col("difference").is_not_null() & pl.col("score").is_not_null())
    if table.is_empty():
        return None
    extreme = {(row["source_set"], row["arm"], row["language"]) for row in data.extremes.iter_rows(named=True)}
    rows, facts = [], {}
    for row in table.iter_rows(named=True):
        named = row["name"] or row["language"]
        facts[row["language"]] = {
            **{key: row[key] for key in ("language", "family", "script")},
            **{"name": named, "kind": _kind(row)},
        }
        rows.append(
            {
                **{"cell": f"{row['arm']} on {row['source_set']}", "arm": row["arm"], "language": row["language"]},
                **{"score": rounded(row["score"]), "before": rounded(row["score"] - row["difference"])},
                "shown": interval(row["score"], row["low"], row["high"]),
                "change": interval(row["difference"], row["difference_low"], row["difference_high"], points),
                "label": named if (row["source_set"], row["arm"], row["language"]) in extreme else "",
            }
        )
    searched = {cell.arm for cell in data.results.shown if data.results.is_searched(cell)}
    # fresh seeds first: a search's own say more good of what it chose
    cells = list(dict.fromkeys(row["cell"] for row in sorted(rows, key=lambda row: row["arm"] in searched)))
    cell = choice("cell", "Arm", cells, cells[0])
    tooltip = tooltips(name="language", language="code", family="family", script="script", kind="kind")
    tooltip += tooltips(shown=f"{data.metric} [95 %]", change=f"difference to {data.baseline}")
    kinds = [kind for kind in KINDS if any(fact["kind"] == kind for fact in facts.values())]
    colors = alt.Scale(domain=kinds, range=[PALETTE[KINDS.index(kind)] for kind in kinds])
    known = alt.LookupData(alt.NamedData("facts"), "language", ["family", "script", "name", "kind"])
    base = chart_of().transform_filter(is_chosen("cell")).transform_lookup("language", known)
    base = base.encode(
        x=x_axis("before", f"with {data.baseline}, in %"),
        y=y_axis("score", "with the arm, in %"),
        tooltip=tooltip,
    )
    color = alt.Color("kind:N", scale=colors, title=None)
    dots = base.mark_point(filled=True, size=45, opacity=0.75).encode(color=color, shape=shape_by("kind", kinds))
    between = _ends(rows, "before", "score")
    for name in cells:
        _place([row for row in rows if row["cell"] == name and row["label"]], "before", "score", between, between, 420)
    labels = label_points(base.transform_filter("datum.label !== ''"))
    ends = [{"before": end, "score": end} for end in between]
    equal = chart_of("ends").mark_line(color="var(--muted)", strokeWidth=1, strokeDash=[4, 3])
    equal = equal.encode(x="before:Q", y="score:Q")
    chart = equal + dots + labels
    what = f"Each language with an arm (up) and with {data.baseline} (right): above the line it gains"
    return finish(
        "languages",
        what,
        chart.add_params(cell).properties(height=420),
        rows=rows,
        ends=ends,
        facts=list(facts.values()),
    )


def tradeoff_chart(data: ReportData) -> Chart | None:
    """Return all finished configurations, low-performing against seen languages, and the front."""
    if data.front.is_empty():
        return None
    rows = [
        {
            **{key: row[key] for key in ("arm", "source_set", "method", "num_seeds", "on_front")},
            **{"config": row["config_id"][:8], "experiment": row["experiment"]},
            **percents(row, "low_performing", "seen"),
            **{"low_shown": percent(row["low_performing"]), "seen_shown": percent(row["seen"])},
            "label": "",
        }
        for row in data.front.iter_rows(named=True)
    ]
    front_rows = [row for row in rows if row["on_front"]]
    for number, row in enumerate(front_rows, start=1):
        row["label"] = str(number)
    _place(front_rows, "seen", "low_performing", _ends(rows, "seen"), _ends(rows, "low_performing"), 380)
    legend = [
        f"{row['arm']} trained on {row['source_set']} (config {row['config']}): {row['seen_shown']} seen, "
        f"{row['low_shown']} low-performing"
        for row in front_rows
    ]
    tooltip = tooltips(experiment="experiment", arm="arm", source_set="trained on", config="configuration")
    tooltip += tooltips(num_seeds="seeds", seen_shown="seen", low_shown="low-performing")
    methods = [method for method in METHOD_NAMES if any(row["method"] == method for row in rows)]
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
    what = (
        "Every finished configuration on low-performing (up) and on seen languages (right); "
        "of the numbered ones none is beaten on both"
    )
    chart = line + dots + label_points(front)
    return finish("trade-off", what, chart.properties(height=380), legend, rows=rows)


def _place(
    rows: Sequence[dict[str, Any]],
    x: str,
    y: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    height: float,
) -> None:
    """Add to rows with labels where these stand."""
    points = [(row[x], row[y]) for row in rows]
    offsets = place_labels(points, [row["label"] for row in rows], x_range, y_range, height)
    for row, offset in zip(rows, offsets, strict=True):
        row |= {"dx": offset.dx, "dy": offset.dy}


def _kind(row: dict[str, Any]) -> str:
    if row["excluded"]:
        return "in no group"
    if row["seen"] is None:
        return "unknown"
    return "low-performing" if row["low_performing"] else "seen" if row["seen"] else "unseen"


def _ends(rows: Sequence[dict[str, Any]], *names: str) -> tuple[float, float]:
    values = [row[name] for row in rows for name in names]
    return min(values), max(values)
