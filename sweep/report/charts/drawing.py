"""What the page's charts have in common: colours, scales, lists to choose from, tooltips.

Colours are the page's custom properties, so that one picture serves light, dark and paper.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import altair as alt

from xpe_core.json_types import Json, JsonObject

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ChartRow: TypeAlias = Mapping[str, str | int | float | bool | None]
"""A mark's values."""

ROWS = "rows"
"""The data set of a chart that has one."""
ROW_PIXELS = 17
"""Height of one arm on one source set."""
PALETTE = [f"var(--series-{number})" for number in range(1, 9)]
KINDS = ("low-performing", "unseen", "seen", "in no group", "unknown")
"""Of languages, as far as the language table knows them."""
CONFIG: JsonObject = {
    "background": None,
    "font": 'system-ui, "Noto Sans", sans-serif',  # the page's: what is measured is what is shown
    "view": {"stroke": None},
    "axis": {
        **{"labelColor": "var(--muted)", "titleColor": "var(--muted)", "titleFontWeight": "normal"},
        **{"gridColor": "var(--line)", "domainColor": "var(--line)", "tickColor": "var(--line)"},
        **{"labelFontSize": 12, "titleFontSize": 12, "labelLimit": 130, "labelSeparation": 8},
    },
    "legend": {
        **{"labelColor": "var(--ink)", "titleColor": "var(--muted)", "titleFontWeight": "normal", "orient": "top"},
        **{"labelFontSize": 12, "titleFontSize": 12, "columns": 4, "symbolLimit": 60, "labelLimit": 180},
    },
    "range": {"category": PALETTE},
}


@dataclass(frozen=True)
class Chart:
    """A picture of the page."""

    name: str
    title: str
    """What it shows, also for those who cannot see it."""
    specification: JsonObject
    """Of Vega-Lite."""
    legend: tuple[str, ...] = ()
    """What the numbers 1, 2, ... at its points stand for."""


def chart_of(name: str = ROWS) -> alt.Chart:
    """Return a chart of one of the data sets that `finish` is given; it has no marks yet."""
    return alt.Chart(alt.NamedData(name))


def finish(
    name: str,
    title: str,
    chart: alt.Chart | alt.LayerChart | alt.FacetChart,
    legend: Sequence[str] = (),
    **datasets: Sequence[ChartRow],
) -> Chart:
    """Return a chart as wide as the page lets it be, with its data sets.

    They are put in last: Altair copies what a chart holds at every step, and checks each row.
    """
    specification: dict[str, Json] = chart.properties(width="container").to_dict()
    specification["description"] = f"{title}. The tables say the same in numbers."  # read to who does not see it
    specification["autosize"] = {"type": "fit-x", "contains": "padding"}
    return Chart(name, title, {**specification, "datasets": datasets, "config": CONFIG}, tuple(legend))


def drawn(point: "DataclassInstance") -> ChartRow:
    """Return the values of a mark, without those that it has none of."""
    return {name: value for name, value in vars(point).items() if value is not None}


def label_points(base: alt.Chart) -> alt.LayerChart | alt.Chart:
    """Return the labels of points where `place_labels` has put them: fields label, dx and dy."""
    dx, dy = alt.expr("datum.dx"), alt.expr("datum.dy")
    marks = base.mark_text(align="center", baseline="middle", fontSize=11, fill="var(--ink)", dx=dx, dy=dy)
    return marks.encode(text="label:N")


def x_axis(field: str, title: str) -> alt.X:
    """Return a horizontal axis as long as its data."""
    return alt.X(f"{field}:Q", title=title, scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=8))


def y_axis(field: str, title: str) -> alt.Y:
    """Return a vertical axis as long as its data."""
    return alt.Y(f"{field}:Q", title=title, scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=8))


def color_by(field: str, names: Sequence[str], of: Sequence[str] | None = None) -> alt.Color:
    """Return colours by name, those that they have among all names `of`; beyond the palette they repeat."""
    colors = [PALETTE[(of or names).index(name) % len(PALETTE)] for name in names]
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=list(names), range=colors), title=None)


def choice(field: str, label: str, names: Sequence[str], chosen: str) -> alt.Parameter:
    """Return a list above the chart from which a value of `field` is chosen; `is_chosen` keeps what has it."""
    return alt.param(
        name=f"chosen_{field}", value=chosen, bind=alt.binding_select(options=list(names), name=f"{label} ")
    )


def is_chosen(*fields: str) -> str:
    """Return the filter for what was chosen; only names of ours are code here, values are data."""
    return " && ".join(f"datum.{field} === chosen_{field}" for field in fields)


def shape_by(field: str, names: Sequence[str]) -> alt.Shape:
    """Return shapes by name."""
    shapes = ["circle", "square", "triangle-up", "diamond"]
    chosen = [shapes[index % len(shapes)] for index in range(len(names))]
    return alt.Shape(f"{field}:N", scale=alt.Scale(domain=list(names), range=chosen), title=None)


def tooltips(**titles: str) -> list[alt.Tooltip]:
    """Return what is shown where a mark is pointed at: fields with their titles."""
    return [alt.Tooltip(f"{field}:N", title=title) for field, title in titles.items()]


def bounds(value: float | None, low: float | None, high: float | None, suffix: str = "") -> ChartRow:
    """Return the ends of a value's interval in percent, the value itself where a single seed has none."""
    ends = {"low": value if low is None else low, "high": value if high is None else high}
    return {f"{name}{suffix}": rounded(end) for name, end in ends.items()}


def percents(**values: float | None) -> ChartRow:
    """Return these shares of 1 in percent."""
    return {name: rounded(value) for name, value in values.items()}


def rounded(value: float | None) -> float | None:
    """Return a share of 1 in percent, for where it stands in a chart; what is read is in texts beside it."""
    return None if value is None else to_percent(value)


def to_percent(value: float) -> float:
    """Return a share of 1 in percent, as `rounded`."""
    return round(100 * value, 3)
