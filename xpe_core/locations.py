"""Where data sets and backbones lie now, by the names under which an experiment knows them.

A name is part of what a run is called, and stays what it was when a file was moved or an experiment goes on on another
machine. Whoever opens files asks here for the location.
"""

from collections.abc import Mapping

_locations: dict[str, str] = {}


def use_locations(locations: Mapping[str, str]) -> None:
    """Take each name's location from now on, and forget those that were taken before."""
    _locations.clear()
    _locations.update(locations)


def find_location(name: str) -> str:
    """Return where a data set or backbone of this name lies: its name, where nothing else is known."""
    return _locations.get(name, name)
