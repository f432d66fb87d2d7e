"""What a data set is made of, whichever source it comes from."""

from typing import NamedTuple

SPLITS = ("train", "validation", "test")


class Example(NamedTuple):
    """One text, or a pair, with its label; `example_id` is the same for the same sentence in every language."""

    text: str
    label: str
    language: str
    split: str
    example_id: str
    text_pair: str | None = None
    """The second text of a pair."""
