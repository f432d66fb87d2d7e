"""A report's pictures, as Vega-Lite specifications for the page.

Every chart is one view as wide as its container (facets cannot be), so it fits a phone; what would be a facet is chosen
from a list instead.
"""

from collections.abc import Callable

from sweep.analysis.report_data import ReportData
from sweep.report.charts.arms import difference_chart, published_chart, score_chart
from sweep.report.charts.drawing import Chart
from sweep.report.charts.languages import language_chart
from sweep.report.charts.searches import curve_chart, importance_chart, promise_chart
from sweep.report.charts.studies import budget_chart, price_chart
from sweep.report.charts.tradeoff import tradeoff_chart
from sweep.report.charts.transfers import transfer_chart

__all__ = ["Chart", "all_charts"]

CHARTS: tuple[Callable[[ReportData], Chart | None], ...] = (
    score_chart,
    difference_chart,
    transfer_chart,
    promise_chart,
    language_chart,
    tradeoff_chart,
    price_chart,
    budget_chart,
    importance_chart,
    curve_chart,
    published_chart,
)


def all_charts(data: ReportData) -> dict[str, Chart]:
    """Return the charts that have something to show, by name."""
    return {chart.name: chart for make in CHARTS if (chart := make(data)) is not None}
