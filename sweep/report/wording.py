"""Numbers, times and lists as a person reads them in the terminal."""

from typing import Any

from sweep.analysis.targets import ALL_TARGETS, NO_EXCLUSION, TRAINED
from sweep.report.sheet import percent

METHOD_NAMES = {"spt": "SPT", "xpe": "XPE", "dual": "DUAL"}


def count_nouns(number: int, noun: str) -> str:
    """Return a number with its noun, of which one is singular."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def format_number(value: Any) -> str:
    """Return a value with three significant digits where it is no whole number."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def format_percent(value: float | None) -> str:
    """Return a share in percent with one decimal, a dash where there is none."""
    return percent(value)


def format_duration(seconds: float) -> str:
    """Return seconds in the unit that suits them."""
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def shorten(values: Any, limit: int = 7) -> str:
    """Return the first values, and how many more there are."""
    more = f" and {len(values) - limit} more" if len(values) > limit else ""
    return ", ".join(map(str, values[:limit])) + more


def name_group(group: str) -> str:
    """Return what people call a row of a table."""
    return "all tested" if group == ALL_TARGETS else group


def name_exclusion(name: str) -> str:
    """Return what people call the languages that are in no row, nothing where there are none."""
    names = [one.strip() for one in name.split(",") if one.strip() != NO_EXCLUSION]
    return " and ".join("languages trained on" if one == TRAINED else one for one in names)
