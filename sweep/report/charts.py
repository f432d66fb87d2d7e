"""A report's pictures, as Vega-Lite specifications for the page.

Every chart is one view as wide as its container (facets cannot be), so it fits a phone; what would be a facet is chosen
from a list instead. Colours are the page's custom properties, so that one picture serves light, dark and paper.
"""

from collections.abc import Callable, Sequence
from typing import Any

import altair as alt
import polars as pl

from sweep.analysis.answers import Answers
from sweep.report.drawing import (
    KINDS,
    PALETTE,
    ROW_PIXELS,
    Chart,
    chart_of,
    choice,
    color_by,
    finish,
    is_chosen,
    percents,
    rounded,
    shape_by,
    tooltips,
    x_axis,
    y_axis,
)
from sweep.report.sheet import interval, p_value, percent, points, sections
from sweep.report.sheets import SIGNIFICANT
from xpe_core.config import METHODS

MAX_CURVES = 200
"""Trials whose curves are drawn, the best first."""


def accuracy_chart(answers: Answers) -> Chart | None:
    """Return the arms' accuracies with their intervals, by source set; the target group is chosen."""
    rows = [
        {
            **{key: row[key] for key in ("source_set", "group", "arm", "num_seeds", "num_languages")},
            **percents(row, "accuracy", "low", "high"),
            "shown": interval(row["accuracy"], row["low"], row["high"]),
        }
        for row in answers.main.iter_rows(named=True)
        if row["accuracy"] is not None
    ]
    if not rows:
        return None
    group = choice("group", "Tested on", list(answers.results.groups), _overall(answers))
    y, offset = _by_source_set(answers, answers.results.arms)
    tooltip = tooltips(source_set="trained on", group="tested on", arm="arm", shown="accuracy [95 %]")
    tooltip += tooltips(num_seeds="seeds", num_languages="languages")
    colors = color_by("arm", answers.results.arms)
    base = chart_of(rows).transform_filter(is_chosen("group"))
    base = base.encode(y=y, yOffset=offset, color=colors, tooltip=tooltip)
    bars = base.mark_rule(strokeWidth=2).encode(x=x_axis("low", "accuracy in %"), x2="high:Q")
    means = base.mark_point(filled=True, size=70, opacity=1).encode(x=x_axis("accuracy", "accuracy in %"))
    height = _height(answers, len(answers.results.arms))
    chart = (bars + means).add_params(group).properties(height=height)
    return finish("accuracy", "Accuracy of each arm: mean over seeds with its 95 % interval", chart)


def difference_chart(answers: Answers) -> Chart | None:
    """Return the differences to the baseline with both intervals; those that are real at 5 % are filled."""
    rows = [
        {
            **{key: row[key] for key in ("source_set", "group", "arm", "num_pairs", "num_languages")},
            **percents(row, "difference", "low", "high", "low_languages", "high_languages"),
            "real": row["p_holm"] is not None and row["p_holm"] <= SIGNIFICANT,
            "shown": interval(row["difference"], row["low"], row["high"], points),
            "such": interval(row["difference"], row["low_languages"], row["high_languages"], points),
            "holm": p_value(row["p_holm"]),
        }
        for row in answers.differences.iter_rows(named=True)
        if row["difference"] is not None
    ]
    if not rows:
        return None
    arms = [arm for arm in answers.results.arms if any(row["arm"] == arm for row in rows)]
    group = choice("group", "Tested on", list(answers.results.groups), _overall(answers))
    y, offset = _by_source_set(answers, arms)
    tooltip = tooltips(source_set="trained on", group="tested on", arm="arm", shown="difference [these languages]")
    tooltip += tooltips(such="difference [such languages]", holm="Holm p", num_pairs="pairs of seeds")
    title = f"difference to {answers.baseline} in points"
    colors = color_by("arm", arms, answers.results.arms)
    base = chart_of(rows).transform_filter(is_chosen("group"))
    base = base.encode(y=y, yOffset=offset, color=colors, tooltip=tooltip)
    such = base.mark_rule(strokeWidth=1).encode(x=x_axis("low_languages", title), x2="high_languages:Q")
    these = base.mark_rule(strokeWidth=4, opacity=0.55).encode(x=x_axis("low", title), x2="high:Q")
    inside = alt.condition(alt.datum.real, alt.value("var(--ink)"), alt.value("var(--page)"))
    means = base.mark_point(size=70, opacity=1, strokeWidth=2).encode(x=x_axis("difference", title), fill=inside)
    zero = alt.Chart(alt.InlineData(values=[{"zero": 0}])).mark_rule(color="var(--muted)").encode(x="zero:Q")
    height = _height(answers, len(arms))
    chart = zero + such + these + means
    what = f"Difference to {answers.baseline}: thick for these languages, thin for such languages; filled if real"
    return finish("differences", what, chart.add_params(group).properties(height=height))


def promise_chart(answers: Answers) -> Chart | None:
    """Return what a search promised and what its replication held."""
    rows = [
        {
            **{key: row[key] for key in ("replication", "measure")},
            **{"arm": f"{row['replication']}: {row['arm']}", "held": interval(row[middle], row["low"], row["high"])},
            **percents(row, "search_accuracy", middle, "low", "high"),
            "promised": percent(row["search_accuracy"]),
        }
        for middle in ("replication_accuracy",)
        for row in answers.curse.iter_rows(named=True)
        if row["search_accuracy"] is not None and row["replication_accuracy"] is not None
    ]
    if not rows:
        return None
    measures = list(dict.fromkeys(row["measure"] for row in rows))
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    tooltip = tooltips(arm="arm", measure="measure", promised="the search promised", held="held [95 %]")
    base = chart_of(rows).encode(
        y=alt.Y("measure:N", sort=measures, title=None),
        yOffset=alt.YOffset("arm:N", sort=arms),
        color=color_by("arm", arms),
        tooltip=tooltip,
    )
    held = base.mark_rule(strokeWidth=2).encode(x=x_axis("low", "accuracy in %"), x2="high:Q")
    mean = base.mark_point(filled=True, size=70, opacity=1).encode(x=x_axis("replication_accuracy", "accuracy in %"))
    promised = base.mark_tick(thickness=3, size=ROW_PIXELS).encode(x=x_axis("search_accuracy", "accuracy in %"))
    height = ROW_PIXELS * len(measures) * (len(arms) + 1)
    what = "What the search promised (tick) and what fresh seeds held (point with 95 % interval)"
    return finish("promise", what, (held + mean + promised).properties(height=height))


def language_chart(answers: Answers) -> Chart | None:
    """Return every language's accuracy with an arm against that with the baseline; the arm is chosen."""
    table = answers.languages.filter(pl.col("difference").is_not_null() & pl.col("accuracy").is_not_null())
    if table.is_empty():
        return None
    extreme = {(row["source_set"], row["arm"], row["language"]) for row in answers.extremes.iter_rows(named=True)}
    rows = []
    for row in table.iter_rows(named=True):
        named = row["name"] or row["language"]
        rows.append(
            {
                **{key: row[key] for key in ("source_set", "language", "family", "script")},
                **{"name": named, "kind": _kind(row), "cell": f"{row['arm']} on {row['source_set']}"},
                "accuracy": rounded(row["accuracy"]),
                "before": rounded(row["accuracy"] - row["difference"]),
                "shown": interval(row["accuracy"], row["low"], row["high"]),
                "change": interval(row["difference"], row["difference_low"], row["difference_high"], points),
                "label": named if (row["source_set"], row["arm"], row["language"]) in extreme else "",
            }
        )
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    cell = choice("cell", "Arm", cells, cells[0])
    tooltip = tooltips(name="language", language="code", family="family", script="script", kind="kind")
    tooltip += tooltips(shown="accuracy [95 %]", change=f"difference to {answers.baseline}")
    kinds = [kind for kind in KINDS if any(row["kind"] == kind for row in rows)]
    colors = alt.Scale(domain=kinds, range=[PALETTE[KINDS.index(kind)] for kind in kinds])
    base = chart_of(rows).transform_filter(is_chosen("cell"))
    base = base.encode(
        x=x_axis("before", f"with {answers.baseline}, in %"),
        y=y_axis("accuracy", "with the arm, in %"),
        tooltip=tooltip,
    )
    color = alt.Color("kind:N", scale=colors, title=None)
    dots = base.mark_point(filled=True, size=45, opacity=0.75).encode(color=color, shape=shape_by("kind", kinds))
    labels = base.mark_text(align="left", dx=7, fontSize=11, fill="var(--ink)").encode(text="label:N")
    ends = [{"before": end, "accuracy": end} for end in _ends(rows, "before", "accuracy")]
    equal = alt.Chart(alt.InlineData(values=ends)).mark_line(color="var(--muted)", strokeWidth=1, strokeDash=[4, 3])
    equal = equal.encode(x="before:Q", y="accuracy:Q")
    chart = equal + dots + labels
    what = f"Each language with an arm (up) and with {answers.baseline} (right): above the line it gains"
    return finish("languages", what, chart.add_params(cell).properties(height=420))


def tradeoff_chart(answers: Answers) -> Chart | None:
    """Return all finished configurations, low-performing against seen languages, and the front."""
    if answers.front.is_empty():
        return None
    rows = [
        {
            **{key: row[key] for key in ("arm", "source_set", "method", "num_seeds", "on_front")},
            **{"config": row["config_id"][:8], "experiment": row["experiment"]},
            **percents(row, "low_performing", "seen"),
            **{"low_shown": percent(row["low_performing"]), "seen_shown": percent(row["seen"])},
            "label": f"{row['arm']} · {row['source_set']}" if row["on_front"] else "",
        }
        for row in answers.front.iter_rows(named=True)
    ]
    tooltip = tooltips(experiment="experiment", arm="arm", source_set="trained on", config="configuration")
    tooltip += tooltips(num_seeds="seeds", seen_shown="seen", low_shown="low-performing")
    methods = [method for method in METHODS if any(row["method"] == method for row in rows)]
    base = chart_of(rows).encode(
        x=x_axis("seen", "seen languages, in %"), y=y_axis("low_performing", "low-performing languages, in %")
    )
    dots = base.mark_point(filled=True).encode(
        color=color_by("method", methods, METHODS),
        shape=shape_by("method", methods),
        size=alt.condition(alt.datum.on_front, alt.value(110), alt.value(40)),
        opacity=alt.condition(alt.datum.on_front, alt.value(1), alt.value(0.6)),
        tooltip=tooltip,
    )
    front = base.transform_filter(alt.datum.on_front)
    line = front.mark_line(interpolate="step-before", color="var(--muted)", strokeWidth=1, strokeDash=[4, 3])
    labels = front.mark_text(align="right", dx=-9, dy=-9, fontSize=11, fill="var(--ink)").encode(text="label:N")
    what = "Every finished configuration on low-performing and on seen languages; the large ones are the front"
    return finish("trade-off", what, (line + dots + labels).properties(height=380))


def importance_chart(answers: Answers) -> Chart | None:
    """Return how much each searched field mattered."""
    if answers.importances.is_empty():
        return None
    rows = [
        {**{key: row[key] for key in ("experiment", "field", "importance")}, "shown": f"{row['importance']:.2f}"}
        for row in answers.importances.iter_rows(named=True)
    ]
    fields = list(dict.fromkeys(row["field"] for row in rows))
    experiments = list(dict.fromkeys(row["experiment"] for row in rows))
    chart = (
        chart_of(rows)
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
    return finish("importance", "Importance of the searched fields", chart.properties(height=height))


def curve_chart(answers: Answers) -> Chart | None:
    """Return every trial's learning curve, the rungs, and where trials were stopped; the experiment is chosen."""
    rows, steps = [], []
    for name, table in sections(answers.curves, "experiment"):
        last = table.filter("is_last").sort("step", "accuracy", descending=True)["trial_id"].to_list()[:MAX_CURVES]
        for row in table.filter(pl.col("trial_id").is_in(last)).iter_rows(named=True):
            rows.append(
                {
                    **{"experiment": name, "trial": row["trial_number"] + 1, "step": row["step"]},
                    **{"accuracy": rounded(row["accuracy"]), "shown": percent(row["accuracy"])},
                    **{"state": row["state"] or "running", "what": row["arm"] or row["method"]},
                    "stopped": row["is_last"] and row["state"] == "pruned",
                }
            )
    if not rows:
        return None
    steps = [{"experiment": row["experiment"], "step": row["step"]} for row in answers.rungs.iter_rows(named=True)]
    searches = {row["experiment"] for row in steps}
    # an empty layer would have no place on the axes: where nothing was stopped the marks are there and not seen
    steps = [{**row, "seen": True} for row in steps]
    steps += [{**row, "seen": False} for row in rows if row["experiment"] not in searches]
    names = list(dict.fromkeys(row["experiment"] for row in rows))
    experiment = choice("experiment", "Experiment", names, names[0])
    kinds = sorted(dict.fromkeys(row["what"] for row in rows), key=lambda what: (*METHODS, what).index(what))
    over = alt.selection_point(name="over", fields=["trial"], on="pointerover", nearest=True, clear="pointerout")
    tooltip = tooltips(trial="trial", what="arm or method", state="state", step="step", shown="accuracy")
    x = alt.X("step:Q", title="step", axis=alt.Axis(tickCount=8))
    y = y_axis("accuracy", "validation accuracy in %")
    base = chart_of(rows).transform_filter(is_chosen("experiment")).encode(x=x, y=y, detail="trial:N")
    lines = base.mark_line(strokeWidth=1.5).encode(
        color=color_by("what", kinds), opacity=alt.condition(over, alt.value(0.8), alt.value(0.15), empty=True)
    )
    reports = base.mark_point(size=60, opacity=0).encode(tooltip=tooltip).add_params(over)
    stopped = base.mark_point(shape="cross", filled=True, size=50)
    is_seen = alt.condition(alt.datum.stopped, alt.value(1), alt.value(0))
    ends = stopped.encode(color=color_by("what", kinds), opacity=is_seen)
    rungs = chart_of(steps).transform_filter(is_chosen("experiment"))
    is_rung = alt.condition(alt.datum.seen, alt.value(1), alt.value(0))
    rungs = rungs.mark_rule(color="var(--muted)", strokeDash=[2, 3]).encode(x=x, opacity=is_rung)
    chart = (rungs + lines + ends + reports).add_params(experiment).properties(height=320)
    rungs_are = ": dashed are ASHA's rungs, crosses are trials that were stopped" if searches else " of all trials"
    return finish("curves", f"Learning curves{rungs_are}", chart)


def published_chart(answers: Answers) -> Chart | None:
    """Return the published figures beside ours; the source set is chosen."""
    rows = [
        {
            **{key: row[key] for key in ("source_set", "method", "group")},
            **{"arm": row["arm"], "ours": interval(row["accuracy"], row["low"], row["high"])},
            **percents(row, "published", "accuracy", "low", "high"),
            "theirs": percent(row["published"]),
        }
        for row in answers.published.iter_rows(named=True)
        if row["accuracy"] is not None
    ]
    if not rows:
        return None
    sets, methods, groups = (list(dict.fromkeys(row[key] for row in rows)) for key in ("source_set", "method", "group"))
    source_set = choice("source_set", "Trained on", sets, sets[0])
    base = (
        chart_of(rows)
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
    bars = base.mark_rule(strokeWidth=2).encode(x=x_axis("low", "accuracy in %"), x2="high:Q")
    ours = base.mark_point(filled=True, size=70, opacity=1).encode(x=x_axis("accuracy", "accuracy in %"))
    theirs = base.mark_tick(thickness=3, size=ROW_PIXELS).encode(x=x_axis("published", "accuracy in %"))
    chart = (bars + ours + theirs).add_params(source_set)
    height = ROW_PIXELS * len(groups) * (len(methods) + 1)
    return finish("published", "Published (tick) and ours (point with 95 % interval)", chart.properties(height=height))


CHARTS: tuple[Callable[[Answers], Chart | None], ...] = (
    accuracy_chart,
    difference_chart,
    promise_chart,
    language_chart,
    tradeoff_chart,
    importance_chart,
    curve_chart,
    published_chart,
)


def all_charts(answers: Answers) -> dict[str, Chart]:
    """Return the charts that have something to show, by name."""
    return {chart.name: chart for make in CHARTS if (chart := make(answers)) is not None}


def _by_source_set(answers: Answers, arms: Sequence[str]) -> tuple[alt.Y, alt.YOffset]:
    y = alt.Y("source_set:N", sort=answers.results.source_sets, title=None)
    return y, alt.YOffset("arm:N", sort=list(arms))


def _height(answers: Answers, num_arms: int) -> int:
    return ROW_PIXELS * len(answers.results.source_sets) * (num_arms + 1)


def _overall(answers: Answers) -> str:
    """Return the largest target group."""
    return max(answers.results.groups, key=lambda group: len(answers.results.groups[group]))


def _kind(row: dict[str, Any]) -> str:
    if row["excluded"] or row["xlmr_seen"] is None:
        return "in no group"
    return "low-performing" if row["low_performing"] else "seen" if row["xlmr_seen"] else "unseen"


def _ends(rows: Sequence[dict[str, Any]], *names: str) -> tuple[float, float]:
    values = [row[name] for row in rows for name in names]
    return min(values), max(values)
