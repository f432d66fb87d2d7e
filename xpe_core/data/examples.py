"""What a data set is made of, whichever source it comes from."""

from typing import NamedTuple

SPLITS = ("train", "validation", "test")


class Answer(NamedTuple):
    """A span of an example's last text."""

    text: str
    start: int
    """The place of its first character."""


class Example(NamedTuple):
    """One text, or a pair, with its label; `example_id` is the same for the same sentence in every language."""

    text: str
    label: str
    language: str
    split: str
    example_id: str
    text_pair: str | None = None
    """The second text of a pair."""
    answers: tuple[Answer, ...] = ()
    """Spans that are right, where a task asks for one; there is no label then."""
    group: str | None = None
    """What stays in one split when splits are drawn, such as an article; None: what has the same text."""
