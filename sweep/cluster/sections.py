"""What stands under the keys of a cluster file, whose values may be anything until they are checked."""

from collections.abc import Mapping
from typing import TypeAlias

Section: TypeAlias = Mapping[str, object]
"""A cluster file, or what is between braces in it."""


def section(values: Section, key: str) -> Section:
    """Return the keys under a key, none where it holds something else."""
    found = values.get(key)
    return found if isinstance(found, dict) else {}


def sections(values: Section) -> dict[str, Section]:
    """Return the keys under each of the keys that hold some."""
    return {name: found for name, found in values.items() if isinstance(found, dict)}


def texts(values: Section, key: str) -> list[str]:
    """Return the texts of a list, as commands are; none where the key holds something else."""
    found = values.get(key)
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []


def count(values: Section, key: str, otherwise: int = 0) -> int:
    """Return a whole number, `otherwise` where the key holds something else."""
    found = values.get(key)
    return found if isinstance(found, int) else otherwise


def numbers(values: Section, key: str) -> dict[str, float]:
    """Return the numbers under a key by their names."""
    return {name: found for name, found in section(values, key).items() if isinstance(found, int | float)}
