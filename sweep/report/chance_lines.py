"""What is said first where nothing was learnt: no arm is clearly better than the most frequent class."""

from sweep.analysis.chance import Chance, beside_most_frequent
from sweep.analysis.report_data import ReportData
from sweep.report.sheet import percent

MAX_NAMES = 6


def chance_lines(data: ReportData) -> list[str]:
    """Return a line for each experiment in which not all that stands in the tables is better than guessing."""
    lines = []
    of_experiment: dict[str, list[Chance]] = {}
    for one in beside_most_frequent(data.results):
        of_experiment.setdefault(one.experiment, []).append(one)
    for experiment, found in of_experiment.items():
        below = [one for one in found if not one.is_above]
        name = f"{experiment}: " if len(of_experiment) > 1 else ""
        if below:
            names = [f"{one.arm} on {one.source_set} ({percent(one.score)} %)" for one in below]
            lines.append(name + say_not_above(names, percent(below[0].most_frequent), len(below) == len(found)))
    return lines


def say_not_above(names: list[str], most_frequent: str, are_all: bool) -> str:
    """Return the sentence: `names` are configurations with their score, all that there are or some."""
    bar = f"always answering a language's most frequent class ({most_frequent} %)"
    if are_all:
        return f"No configuration is clearly better than {bar}: nothing shows that something was learnt."
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"Not clearly better than {bar}: {', '.join(names[:MAX_NAMES])}{more}."
