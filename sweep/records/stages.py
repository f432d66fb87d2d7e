"""The stages of an experiment that has several: what a trial is for."""

from enum import StrEnum


class Stage(StrEnum):
    """What a trial is for; of an experiment with one stage it is not said."""

    SEARCH = "search"
    """It chooses a method's configuration, and is not tested."""
    REPLICATION = "replication"
    """It runs a chosen configuration on fresh seeds."""
