"""What is known of languages in topic classification."""

import csv
from functools import cache
from importlib.resources import files

from xpe_core.tasks.low_performing import LowPerforming

MEANING = "below 60 % when all of XLM-R large is trained"


@cache
def low_performing() -> LowPerforming:
    """Return the languages below 60 % accuracy where all of XLM-R large is trained on SIB-200 (arXiv:2508.10352)."""
    table = files("xpe_core.tasks.topic").joinpath("facts.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(table.splitlines())
    return LowPerforming(MEANING, frozenset(row["language"] for row in rows if row["fact"] == "low_performing"))
