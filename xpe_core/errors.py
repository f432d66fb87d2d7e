"""The one exception that is meant for the user's eyes.

The command line prints its sentence and exits with status 2; every other exception is a defect of ours.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Setting(NamedTuple):
    """A field of a run's configuration with a value that helps."""

    field: str
    value: str

    def __str__(self) -> str:
        """Write it as a keyword; a value that is itself `name=value` stands in quotes."""
        return f"{self.field}='{self.value}'" if "=" in self.value else f"{self.field}={self.value}"


class InputError(Exception):
    """What the user gave cannot be used: what it is and where, what is allowed, and the way on, in one sentence."""

    def __init__(self, what: str, allowed: str = "", way: str = "", settings: Sequence[Setting] = ()) -> None:
        """Take the sentence's parts; where there are `settings`, `way` has `{}` in the place of each."""
        super().__init__(what, allowed, way, settings)
        self.what, self.allowed, self.way, self.settings = what, allowed, way, settings

    def __str__(self) -> str:
        """Return the sentence, with settings as a `RunConfig` takes them."""
        return self.say(str)

    def say(self, show: Callable[[Setting], str]) -> str:
        """Return the sentence, with settings as `show` writes them."""
        way = self.way.format(*map(show, self.settings)) if self.settings else self.way
        return "; ".join(part for part in (self.what, self.allowed, way) if part)
