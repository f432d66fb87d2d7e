"""The option `--classes`: names of an adapter's classes, in the order of its logits, as a list or in a file."""

from collections.abc import Sequence
from pathlib import Path

from xpe_core.adapters import Adapter, read_adapter
from xpe_core.errors import InputError
from xpe_core.lists import split_pieces

OPTION = "--classes"
QUOTING = """; a name with a comma stands in double quotes, '"Politik, Inland",Sport', and @FILE has one name a line"""


def read_classes(value: str) -> tuple[str, ...]:
    """Return the names of `a,b,c`, of the file in `@FILE`, or of a path that is a file: one name a line.

    Raises InputError where there is no such file, no name in it, or a name twice.
    """
    path = Path(value.removeprefix("@")).expanduser()
    in_file = value.startswith("@") or _is_file(path)
    where = f"{OPTION} {value}"
    names = _read_lines(path, where) if in_file else _split(value)
    if not names:
        raise InputError(f"{where}: it names no class; needed is a name for every class, as in sports,travel,health")
    if not all(names):
        raise InputError(f"{where}: there is an empty name between two commas; every class needs one")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{where}: the class {twice[0]!r} stands there twice; classes must be different")
    return tuple(names)


def read_with_classes(source: str, classes: Sequence[str] | None) -> Adapter:
    """Return an adapter as `read_adapter` does, its errors in the words of the command line."""
    try:
        return read_adapter(source, classes)
    except InputError as error:
        said = str(error).replace("label_names", OPTION)
        raise InputError(said + (QUOTING if f"; {OPTION} names" in said else "")) from None


def _split(value: str) -> list[str]:
    try:
        names = split_pieces(value)
    except InputError as error:
        raise InputError(f"{OPTION} {error}") from None
    return names[:-1] if names and not names[-1] else names  # a comma at the end


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a list may be too long for a path's name
        return False


def _read_lines(path: Path, where: str) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {error.strerror}; needed is a file with one name a line") from None
    except ValueError:
        raise InputError(f"{where}: is no UTF-8 text; needed is a file with one name a line") from None
    return [name for line in lines if (name := line.strip())]
