"""How seeds are written: a number, a list, or ranges such as 1-10."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from xpe_core.fields import Int
from xpe_core.lists import split_list

MAX_SEEDS = 1000
RANGE = re.compile(r"\d+\s*-\s*\d+")


def parse_seeds(value: object) -> object:
    """Read `1,2`, `1-10`, a number, or a list of these."""
    if isinstance(value, int):
        return [value]
    if isinstance(value, list | tuple):
        listed: list[object] = []
        for one in value:
            listed += _parse_text(one) if isinstance(one, str) and RANGE.fullmatch(one.strip()) else [one]
        return listed
    return _parse_text(value) if isinstance(value, str) else value


def _parse_text(value: str) -> list[int]:
    seeds: list[int] = []
    for part in split_list(value):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"must look like 1,2 or 1-10, not {value!r}")
        low, high = int(first), int(last if dash else first)
        if not low <= high < low + MAX_SEEDS:
            raise ValueError(f"must look like 1,2 or 1-10, ascending and at most {MAX_SEEDS} seeds, not {value!r}")
        seeds += range(low, high + 1)
    if not seeds:
        raise ValueError(f"must look like 1,2 or 1-10, not {value!r}")
    return seeds


Seed = Annotated[Int, Field(ge=0, lt=2**31)]
Seeds = Annotated[tuple[Seed, ...], BeforeValidator(parse_seeds), Field(min_length=1)]
