"""A file's kind, its bytes without compression, and its lines of text, whatever wrote it.

Lines end with a line feed only: a lone carriage return, U+2028 and their like are text, as they are in people's tweets.
"""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from xpe_core.errors import InputError

KINDS = {
    **{".tsv": "tsv", ".tab": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json"},
    **{".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".feather": "arrow", ".txt": "txt"},
}
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")
WAYS = dict.fromkeys((".xlsx", ".xls", ".ods", ".numbers"), "save the sheet as CSV UTF-8 and give that")
WAYS |= dict.fromkeys((".docx", ".pdf", ".doc", ".rtf"), "save its texts as a table, one row a text")
WAYS |= dict.fromkeys((".tar", ".tgz", ".7z", ".rar"), "unpack it and give the folder")
WAYS |= dict.fromkeys((".pkl", ".pickle", ".pt"), "write it as Parquet (pandas: to_parquet)")
ALLOWED = ".tsv, .csv, .jsonl, .json, .parquet, .arrow, .txt"
BYTE_ORDER_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
SNIFFED_BYTES = 1 << 16
BEGINNINGS = (
    (b"PAR1\x15", "a Parquet file; give it a name that ends in .parquet"),
    (b"\x1f\x8b", "compressed with gzip; give it a name that ends in .gz"),
    (b"PK\x03\x04", "a .zip file or an Excel sheet; give it its own ending, or save the sheet as CSV UTF-8"),
)
"""How files begin that are no text, whatever they are called."""


def find_kind(path: Path) -> str | None:
    """Return what a file is by its name, without regard to case and compression; None where it is no table."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        if suffixes[-1] == ".zip":
            try:
                suffixes = [*(suffix.lower() for suffix in Path(_find_member(path)).suffixes), ".zip"]
            except (OSError, InputError):
                return None
        del suffixes[-1]
    return KINDS.get(suffixes[-1]) if suffixes else None


def strip_suffixes(name: str) -> str:
    """Return a table file's name without its kind and compression."""
    for endings in (COMPRESSED, tuple(KINDS)):
        ending = next((ending for ending in endings if name.lower().endswith(ending)), "")
        name = name[: len(name) - len(ending)]
    return name


def check_kind(path: Path) -> str:
    """Return a file's kind; InputError, with the way out, where it is not read."""
    if not path.is_file():
        raise InputError(f"{path}: {'it is a folder' if path.is_dir() else 'there is no such file'}")
    if path.suffix.lower() == ".zip":
        _find_member(path)
    if kind := find_kind(path):
        return kind
    suffix = path.suffix.lower()
    way = f"; {WAYS[suffix]}" if suffix in WAYS else ""
    what = f"a {suffix} file is not read" if suffix else "its name does not say what it is"
    raise InputError(f"{path}: {what}{way}; allowed are {ALLOWED}, also with {', '.join(COMPRESSED)}")


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading its bytes, uncompressed; InputError where it cannot be opened or is damaged."""
    suffix = path.suffix.lower()
    openers: dict[str, Callable[[], BinaryIO]] = {
        ".gz": lambda: cast(BinaryIO, gzip.open(path)),
        ".bz2": lambda: cast(BinaryIO, bz2.open(path)),
        ".xz": lambda: cast(BinaryIO, lzma.open(path)),
        ".zst": lambda: _open_zst(path),
        ".zip": lambda: _open_zip(path),
    }
    damaged = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile)
    try:
        with openers.get(suffix, lambda: path.open("rb", buffering=SNIFFED_BYTES))() as file:
            yield file
    except damaged as error:
        raise InputError(f"{path}: is no whole {suffix} file: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def read_lines(path: Path) -> Iterator[str]:
    r"""Yield a text file's lines with their ends, `\n` or `\r\n`; InputError, naming the line, where one is no text."""
    with open_bytes(path) as file:
        start = file.peek(SNIFFED_BYTES)  # type: ignore[attr-defined]  # every one of these files has it
        if what := next((what for beginning, what in BEGINNINGS if start.startswith(beginning)), None):
            raise InputError(f"{path}: is no text but {what}")
        encoding = _find_encoding(start)
        if encoding != "utf-8":
            yield from _read_encoded(path, file, encoding)
            return
        is_old_mac = b"\r" in start and b"\n" not in start
        lines = io.BytesIO(file.read().replace(b"\r", b"\n")) if is_old_mac else file
        number = 0
        try:
            for number, line in enumerate(lines, start=1):
                text = line.decode()
                if number == 1:
                    text = text.removeprefix("\ufeff")
                yield text if not text.endswith("\r\r\n") else text.rstrip("\r\n") + "\r\n"
        except UnicodeDecodeError as error:
            byte = f"0x{error.object[error.start]:02x}"
            raise InputError(
                f"{path}: cannot be read as UTF-8 text: line {number} holds the byte {byte}; "
                "save it as UTF-8 (if it comes from Windows: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW)"
            ) from None


def _find_encoding(start: bytes) -> str:
    for mark, encoding in BYTE_ORDER_MARKS:
        if start.startswith(mark):
            return encoding
    return "utf-16-le" if start[1:4:2] == b"\0\0" and start[:1] != b"\0" else "utf-8"


def _read_encoded(path: Path, file: BinaryIO, encoding: str) -> Iterator[str]:
    try:
        with io.TextIOWrapper(file, encoding, newline="\n") as lines:
            yield from lines
    except UnicodeError as error:
        raise InputError(f"{path}: cannot be read as {encoding.upper()} text: {error}; save it as UTF-8") from None


def _open_zst(path: Path) -> BinaryIO:
    import pyarrow

    try:
        return cast(BinaryIO, io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd")))
    except pyarrow.ArrowException as error:
        raise EOFError(str(error)) from None


def _open_zip(path: Path) -> BinaryIO:
    return cast(BinaryIO, zipfile.ZipFile(path).open(_find_member(path)))


def _find_member(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX/" not in name]
    except zipfile.BadZipFile as error:
        raise InputError(f"{path}: is no whole .zip file: {error}") from None
    if len(names) != 1:
        raise InputError(f"{path}: holds {len(names)} files; a .zip is read if it holds one, so unpack it")
    return names[0]
