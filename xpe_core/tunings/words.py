"""What a tuning says of a run, for tables, plans, cards and READMEs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """Of one run."""

    title: str
    """What was trained, with its size: `dual soft prompt (DUAL) of 20 virtual tokens`."""
    size: str
    """Its size in few words: `20 tokens`; empty where it has none."""
    sentence: str
    """How it works, in one sentence or a few."""
    tags: tuple[str, ...]
    """On the hub."""
    unread: frozenset[str] = frozenset()
    """Fields that this method does not read."""
    published: str | None = None
    """What tables of published figures call it; None where there are none."""
    why_unpublished: str = ""
    """Why there are none: `encoder_ratio is 0.5`."""
