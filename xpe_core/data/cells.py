"""What a row's cells say, of examples of any kind."""

from collections.abc import Mapping

from xpe_core.data.examples import SPLITS
from xpe_core.data.files import read_split


def take_cell(values: Mapping[str, str | None], column: str) -> str:
    """Return a cell without blanks around it, an empty text where there is none."""
    value = values.get(column)
    return value.strip() if value else ""


def name_split(split: str) -> tuple[str, str | None]:
    """Return the split that a word stands for, and what is wrong where it stands for none."""
    name = read_split(split)
    return name or split, None if name else f"unknown split {split!r}; allowed are {', '.join(SPLITS)}"
