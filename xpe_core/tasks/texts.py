"""The texts that an example of a task has, and the columns that they stand in."""

from typing import NamedTuple, TypeAlias

Text: TypeAlias = str | tuple[str, ...]
"""A text or, where a task asks about two, a pair of them."""


class TextField(NamedTuple):
    """One of an example's texts."""

    name: str
    """What people call it: the name of its column, and the key under which `columns` says another one."""
    synonyms: tuple[str, ...] = ()
    """Names of columns that are taken for it, and said, where one of them stands alone."""


TEXT = TextField(
    "text",
    (
        *("sentence", "utt", "utterance", "review_body", "review", "tweet", "content", "document", "headline_text"),
        *("premise", "query", "message", "body"),
    ),
)
"""The text of a task that has one alone."""
