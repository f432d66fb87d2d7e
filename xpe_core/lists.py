"""Lists as people write them in one value: commas between the names, blanks around them, quotes around a comma."""

import csv
import io
import re
from collections.abc import Iterable

from xpe_core.errors import InputError


def split_list(text: str) -> list[str]:
    """Return the names between commas as `split_pieces` does, without empty ones."""
    return [name for name in split_pieces(text) if name]


def join_list(names: Iterable[str]) -> str:
    """Return what `split_list` makes these names of."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(names)
    return buffer.getvalue()


def split_pieces(text: str) -> list[str]:
    """Return what stands between commas (or line ends), without the blanks around it.

    A name that holds a comma stands in double quotes, as in CSV: `"Politik, Inland",Sport`. Raises InputError, which
    does not say where, for a quote that is never closed.
    """
    lines = re.sub(r'"\s+,', '",', text).splitlines(keepends=True)
    try:
        rows = list(csv.reader(lines, strict=True, skipinitialspace=True))
    except csv.Error:
        raise InputError(
            f'{text!r}: a quotation mark must stand before and after a whole name, as in "Politik, Inland",Sport'
        ) from None
    return [part.strip() for row in rows for part in row]
