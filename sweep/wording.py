"""Numbers, times and lists as a person reads them."""

from collections.abc import Sequence

from xpe_core.errors import InputError


def explain(error: InputError) -> str:
    """Return an error's sentence, with the fields that it names as options of the command line."""
    return error.say(lambda setting: f"--set {setting}")


def count_nouns(number: int, noun: str) -> str:
    """Return a number with its noun, of which one is singular."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def format_number(value: object) -> str:
    """Return a value with three significant digits where it is no whole number."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def format_duration(seconds: float) -> str:
    """Return seconds in the unit that suits them."""
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def shorten(values: Sequence[object], limit: int = 7) -> str:
    """Return the first values, and how many more there are."""
    more = f" and {len(values) - limit} more" if len(values) > limit else ""
    return ", ".join(map(str, values[:limit])) + more
