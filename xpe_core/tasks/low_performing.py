"""Languages that a task is hard in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LowPerforming:
    """The languages below some accuracy, and what was measured."""

    meaning: str
    """What puts a language among them, as a table explains it."""
    languages: frozenset[str]
    """Codes of `languages.csv`; of languages outside the table nothing is known."""
