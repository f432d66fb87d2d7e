"""A file that grows, in object storage, which knows no append: it is kept in pieces, and a piece is never changed.

    ledger/0003000000-0003000011.jsonl    what the third writer's appends 0 to 11 hold
    ledger/0003000012-0004000005.jsonl    its later ones, and 0 to 5 of the fourth's

Writing the whole file at every append would cost the square of its length. Here an append is a new piece, which takes
in the pieces before it that are short, or not much longer than itself: so every piece is more than GROWTH times as long
as the next, a file of n bytes has about log(n / SHORT_BYTES) / log(GROWTH) of them, and a byte is written a few times
in its life (seen: the ledger of 1,000 trials that train nothing has 1.3 MB in 3 pieces, 4.1 MB were written; a ledger
of 9 MB that grows by 2 kB at a time would take 100 MB, and 20 GB whole). Pieces that were taken in are deleted
afterwards, by `tidy`; where a kill came between, their numbers say that they are part of another one.

A writer that was replaced and does not know it yet (it was paused in the middle of a write) has lower numbers than the
next one, so what it still writes takes nothing away from that one. What it took in stays where the next one knows it:
it must find out that it was replaced before it tidies.
"""

import re
from typing import TYPE_CHECKING, NamedTuple

from xpe_core.errors import InputError

if TYPE_CHECKING:
    from sweep.storage import Folder

SHORT_BYTES = 16 * 1024
GROWTH = 3
APPENDS_A_WRITER = 1_000_000
TRIES = 5
"""Of a reader, to see all pieces before a writer takes one in."""


class Piece(NamedTuple):
    """The numbers of the appends that a piece holds."""

    first: int
    last: int

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.first:010}-{self.last:010}"


class Pieces:
    """The pieces of one growing file, for its only writer."""

    def __init__(self, folder: "Folder", suffix: str) -> None:
        """Take the folder that holds nothing but this file's pieces; leftovers in it are removed."""
        self._folder, self._suffix = folder, suffix
        there = _find(folder, suffix)
        whole = _leave_out_parts(there)
        for piece in set(there) - set(whole):
            folder.delete(piece.name + suffix)
        self._pieces = [(piece, folder.size(piece.name + suffix)) for piece in whole]
        self._tail: bytes | None = None
        """What the last piece holds, where that is known."""
        self._taken_in: list[Piece] = []
        last = whole[-1].last if whole else 0
        self._next = (last // APPENDS_A_WRITER + 1) * APPENDS_A_WRITER

    def append(self, content: bytes) -> None:
        """Add to the end; it is there when this returns. InputError where that fails, and then nothing is added."""
        first, kept = self._next, len(self._pieces)
        while kept and self._pieces[kept - 1][1] <= max(SHORT_BYTES, GROWTH * len(content)):
            kept -= 1
            content, first = self._read(kept) + content, self._pieces[kept][0].first
        piece = Piece(first, self._next)
        self._folder.write(piece.name + self._suffix, content)
        self._taken_in += [old for old, _ in self._pieces[kept:]]
        self._pieces[kept:] = [(piece, len(content))]
        self._next += 1
        self._tail = content if len(content) <= SHORT_BYTES else None

    def tidy(self) -> None:
        """Delete the pieces that others have taken in; for the writer that knows that it still is the only one."""
        while self._taken_in:
            self._folder.delete(self._taken_in[-1].name + self._suffix)
            self._taken_in.pop()

    def _read(self, index: int) -> bytes:
        if index == len(self._pieces) - 1 and self._tail is not None:
            return self._tail
        name = self._pieces[index][0].name + self._suffix
        content = self._folder.read(name)
        if content is None:
            raise InputError(f"{self._folder}: the file {name} has been taken away; start the same command again")
        return content


def read_pieces(folder: "Folder", suffix: str) -> bytes:
    """Return the whole file, also while it is being written."""
    for _ in range(TRIES):
        pieces = _leave_out_parts(_find(folder, suffix))
        contents = [folder.read(piece.name + suffix) for piece in pieces]
        kept = [content for content in contents if content is not None]
        if len(kept) == len(contents):
            return b"".join(kept)
    raise InputError(f"{folder} changes faster than it can be read; try again")


def last_piece(folder: "Folder", suffix: str) -> str | None:
    """Return the name of the last piece, None where there is none."""
    pieces = _leave_out_parts(_find(folder, suffix))
    return pieces[-1].name + suffix if pieces else None


def _find(folder: "Folder", suffix: str) -> list[Piece]:
    matches = [re.fullmatch(r"(\d{10})-(\d{10})", name.removesuffix(suffix)) for name in folder.names(suffix)]
    return [Piece(int(match[1]), int(match[2])) for match in matches if match]


def _leave_out_parts(pieces: list[Piece]) -> list[Piece]:
    """Return those that are no part of another one, in order."""
    whole: list[Piece] = []
    for piece in sorted(pieces, key=lambda piece: (piece.first, -piece.last)):
        if not whole or piece.last > whole[-1].last:
            whole.append(piece)
    return whole
