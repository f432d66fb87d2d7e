"""What stands under the keys of a cluster file, whose values may be anything until they are checked."""

from collections.abc import Mapping
from typing import TypeAlias

Section: TypeAlias = Mapping[str, object]
"""A cluster file, or what is between braces in it."""


def section(values: Section, key: str) -> Section:
    """Return the keys under a key, none where it holds something else."""
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def sections(values: Section) -> dict[str, Section]:
    """Return the keys under each of the keys that hold some."""
    return {name: below for name, below in values.items() if isinstance(below, dict)}


def texts(values: Section, key: str) -> list[str]:
    """Return the texts of a list, as commands are; none where the key holds something else."""
    value = values.get(key)
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def count(values: Section, key: str, otherwise: int = 0) -> int:
    """Return a whole number, `otherwise` where the key holds something else."""
    value = values.get(key)
    return value if isinstance(value, int) else otherwise


def numbers(values: Section, key: str) -> dict[str, float]:
    """Return the numbers under a key by their names."""
    return {name: below for name, below in section(values, key).items() if isinstance(below, int | float)}
