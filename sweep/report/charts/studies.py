"""A study's pictures: scores beside their price, and how the ranking depends on the budget."""

import altair as alt

from sweep.analysis.report_data import ReportData
from sweep.analysis.rows import rows_of
from sweep.analysis.studies import BudgetRow, PriceRow
from sweep.report.charts.drawing import (
    Chart,
    ChartRow,
    bounds,
    chart_of,
    choice,
    color_by,
    finish,
    percents,
    shape_by,
    tooltips,
    y_axis,
)
from sweep.report.sheet import interval, percent
from sweep.report.wording import capitalise

PRICES = {
    "trained parameters": "num_trained_parameters",
    "seconds of training a run": "train_seconds",
    "memory in MiB": "peak_memory_bytes",
}
UNITS = {"memory in MiB": 2**20}
"""What a price is divided by."""


def budget_chart(data: ReportData) -> Chart | None:
    """Return how the expected best validation accuracy of each method grows with the number of trials."""
    if data.study is None or data.study.budget.is_empty():
        return None
    rows: list[ChartRow] = [
        {
            **{"method": row.method, "trials": row.num_trials},
            **percents(expected=row.expected, best=row.best),
            **{"expected_shown": percent(row.expected), "best_shown": percent(row.best)},
        }
        for row in rows_of(BudgetRow, data.study.budget)
    ]
    methods = data.study.budget["method"].unique(maintain_order=True).to_list()
    tooltip = tooltips(method="method", trials="trials", expected_shown="expected best", best_shown="best so far")
    x = alt.X("trials:Q", title="trials of the search", axis=alt.Axis(tickMinStep=1))
    base = chart_of().encode(
        x=x, y=y_axis("expected", f"validation {data.chosen_by} in %"), color=color_by("method", methods)
    )
    chart = base.mark_line() + base.mark_point(filled=True, size=40, opacity=1).encode(tooltip=tooltip)
    what = f"The best validation {data.chosen_by} that so many trials of each method are expected to find"
    return finish("budget", what, chart.properties(height=300), rows=rows)


def price_chart(data: ReportData) -> Chart | None:
    """Return every arm's score beside what it costs; which cost is chosen."""
    if data.study is None or data.study.prices.is_empty():
        return None
    rows = [point for row in rows_of(PriceRow, data.study.prices) for point in _draw_prices(row)]
    if not rows:
        return None
    arms = data.study.prices["arm"].unique(maintain_order=True).to_list()
    names = [name for name in PRICES if any(row["price"] == name for row in rows)]
    tooltip = tooltips(arm="arm", shown=f"{data.metric} [95 %]", price="price", paid="costs")
    x = alt.X("cost:Q", title="price, on a logarithmic scale", scale=alt.Scale(type="log", nice=True))
    base = chart_of().transform_filter("datum.price === chosen_price").encode(x=x, color=color_by("arm", arms))
    ends = base.mark_rule(strokeWidth=2).encode(y=y_axis("low", f"{data.metric} in %"), y2="high:Q")
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(
        y=y_axis("score", f"{data.metric} in %"), shape=shape_by("arm", arms), tooltip=tooltip
    )
    chart = (ends + dots).add_params(choice("price", "Price", names, names[0])).properties(height=320)
    return finish(
        "price",
        f"{capitalise(data.metric)} of every arm with its 95 % interval, beside what it costs",
        chart,
        rows=rows,
    )


def _draw_prices(row: PriceRow) -> list[ChartRow]:
    """Return an arm's points, one a price that is known and above 0."""
    points: list[ChartRow] = []
    for name, field in PRICES.items():
        cost = getattr(row, field)
        if not cost:
            continue
        paid = cost / UNITS.get(name, 1)
        points.append(
            {
                **{"arm": row.arm, "price": name, "cost": paid, "paid": f"{paid:,.4g}"},
                **percents(score=row.score),
                **bounds(row.score, row.low, row.high),
                "shown": interval(row.score, row.low, row.high),
            }
        )
    return points
