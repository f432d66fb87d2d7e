"""Numbers, times and lists as a person reads them in the terminal."""

from sweep.analysis.targets import ALL_TARGETS, NO_EXCLUSION, TRAINED
from sweep.records.ledger import TrialRecord
from sweep.records.stages import Stage
from sweep.report.sheet import percent
from sweep.wording import format_number


def format_percent(value: float | None) -> str:
    """Return a share in percent with one decimal, a dash where there is none."""
    return percent(value)


def name_trial(record: TrialRecord) -> str:
    """Return what people call a trial of a study: its method with what was drawn for it, or what is run again."""
    if record.stage != Stage.SEARCH:
        return f"{record.arm} on fresh seeds"
    drawn = " ".join(f"{key}={format_number(value)}" for key, value in record.params.items())
    return f"{record.arm}: {drawn}" if drawn else str(record.arm)


def capitalise(text: str) -> str:
    """Return a sentence's or title's beginning with a capital, the rest as it is."""
    return text[:1].upper() + text[1:]


def name_group(group: str) -> str:
    """Return what people call a row of a table."""
    return "all tested" if group == ALL_TARGETS else group


def name_exclusion(name: str) -> str:
    """Return what people call the languages that are in no row, nothing where there are none."""
    names = [one.strip() for one in name.split(",") if one.strip() != NO_EXCLUSION]
    return " and ".join("languages trained on" if one == TRAINED else one for one in names)
