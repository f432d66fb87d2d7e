"""Text in lines of a terminal: broken at spaces, a long name behind its joints, a number never.

A width is in cells: a Chinese or Korean character takes two, a combining one none.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from rich.cells import cell_len, chop_cells

CHUNK = re.compile(
    r"\(?\bp \d[\d.]*[),;.]*(?!\S)"
    r"|[\[(][^\])a-zA-Z]*\d[^\])a-zA-Z]*[\])][,;.:]?"
    r"|[+-]?[\d.]+ (?:±|x|%)(?: [\d.]+)?[,;.)]?(?!\S)"
    r"|\S+"
)
"""What stays together where it fits: an interval, `43.4 ± 3.8`, `10 x 46`, `21.5 %`, `p 0.03`, a word."""
JOINT = re.compile(r"(?<=[_/:,;=|+])(?=.)|(?<=[^\W\d]-)(?=[^\W\d])")
"""Where a name may go on in the next line."""
SHORT = 12
"""Of names that are not broken at their joints, where there is a choice."""


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """Return a text as lines of at most `width` cells; all but the first begin with `indent`."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = indent if lines else ""
        is_begun = False
        for piece, begins_word in _pieces(paragraph, width - cell_len(indent)):
            glue = " " if is_begun and begins_word else ""
            if is_begun and cell_len(line) + len(glue) + cell_len(piece) > width:
                lines.append(line)
                line, glue = indent, ""
            line += glue + piece
            is_begun = True
        lines.append(line)
    return lines


@lru_cache(maxsize=1 << 16)
def measure_whole(text: str) -> int:
    """Return the width of the longest line of a text as it is."""
    return max(map(cell_len, text.split("\n")))


@lru_cache(maxsize=1 << 16)
def measure_chunks(text: str) -> int:
    """Return the width in which neither a word nor a number is broken."""
    return max(map(cell_len, CHUNK.findall(text)), default=0)


@lru_cache(maxsize=1 << 16)
def measure_joints(text: str) -> int:
    """Return the width in which a name is broken at its joints only, and a number is not."""
    return max((cell_len(piece) for chunk in CHUNK.findall(text) for piece in _split(chunk)), default=0)


def _pieces(text: str, width: int) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a line that stay together in this width, and whether a space is before each."""
    for chunk in CHUNK.findall(text):
        parts = [chunk] if cell_len(chunk) <= width else chunk.split()
        for part in parts:
            pieces = [part] if cell_len(part) <= width else list(JOINT.split(part))
            letters = [one for piece in pieces for one in _chop(piece, width)]
            yield from ((piece, not index) for index, piece in enumerate(letters))


def _split(chunk: str) -> list[str]:
    """Return a long name in its parts; a short one is a single part, and a number with its brackets, too."""
    is_whole = cell_len(chunk) <= SHORT or (" " in chunk and any(sign in chunk for sign in "[(±"))
    return [chunk] if is_whole else JOINT.split(chunk)


def _chop(piece: str, width: int) -> list[str]:
    return [piece] if cell_len(piece) <= width else chop_cells(piece, max(width, 2))
