"""What a data set is, in 16 hex digits: the same content is the same data set, wherever it lies."""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from xpe_core.data.cldr import REVISION
from xpe_core.data.columns import find_columns
from xpe_core.data.files import DataFile, Files
from xpe_core.data.locating import find_sources
from xpe_core.data.opening import find_kind
from xpe_core.data.rows import open_rows
from xpe_core.data.source import DataSource, as_source
from xpe_core.tasks.texts import TEXT

BLOCK_BYTES = 1 << 20
OLDER_CLDR = {(1, "2.18.0"): "6f93a6eb72669ee1"}
"""What `cldr` was called, by revision and Babel's version, when its code was part of the fingerprint."""


def fingerprint_dataset(source: DataSource | str) -> str:
    """Return 16 hex digits of the data set's content (of its revision and Babel's version for `cldr`)."""
    return dataset_fingerprints(source)[0]


def dataset_fingerprints(source: DataSource | str) -> tuple[str, ...]:
    """Return the fingerprint, and after it those that older versions gave to the same data.

    Names and folders count where they say a language or a split. How the data are read (columns, bad rows) counts, too.
    """
    source = as_source(source)
    if source.name == "cldr":
        return (_hash_cldr(),)
    files = find_sources(source)
    if files.root is not None:
        named = sorted([*files.root.glob("*/*.tsv"), *files.root.glob("*/labels.txt")])
        if {*(file.path for file in files.files), *(path for _, path in files.label_lists)} <= set(named):
            return (_finish(_hash_named(named), source),)
    current = _finish(_hash_files(files, source), source)
    is_default = source == DataSource(source.name)
    if len(files.files) == 1 and is_default and Path(source.name).expanduser().is_file():
        return current, _hash_named([files.files[0].path]).hexdigest()[:16]
    return (current,)


def _finish(sha: "hashlib._Hash", source: DataSource) -> str:
    for name, value in (("columns", source.columns), ("config", source.config)):
        if value is not None:
            sha.update(f"\0{name}={value}".encode())
    if source.on_bad_rows != "refuse":
        sha.update(f"\0on_bad_rows={source.on_bad_rows}".encode())
    if source.texts != (TEXT,):
        sha.update(f"\0texts={','.join(field.name for field in source.texts)}".encode())
    if source.asks != "class":
        sha.update(f"\0asks={source.asks} doc_stride={source.doc_stride}".encode())
    return sha.hexdigest()[:16]


def _hash_cldr() -> str:
    """Return what identifies `cldr`: Babel's version and the revision of what is chosen out of it."""
    try:
        babel = version("babel")
    except PackageNotFoundError:
        babel = "none"
    if (REVISION, babel) in OLDER_CLDR:
        return OLDER_CLDR[REVISION, babel]
    return hashlib.sha256(f"cldr {REVISION} of babel {babel}".encode()).hexdigest()[:16]


def _hash_named(paths: list[Path], sha: "hashlib._Hash | None" = None) -> "hashlib._Hash":
    """Return the hash of files with their names and their folders' names, as it was made from the beginning."""
    sha = sha or hashlib.sha256()
    for path in paths:
        sha.update(f"{path.parent.name}/{path.name}".encode())
        _update(sha, path)
    return sha


def _hash_files(files: Files, source: DataSource) -> "hashlib._Hash":
    sha = hashlib.sha256()
    for file in files.files:
        language = file.language if file.language and _names_language(file, source) else ""
        content = hashlib.sha256()
        _update(content, file.path)
        said = [find_kind(file.path), language, file.split or "", repr(file.classes) if file.classes else ""]
        sha.update(f"{said} {content.hexdigest()}\n".encode())
    for language, path in files.label_lists:
        sha.update(f"labels {language}\n".encode())
        _update(sha, path)
    return sha


def _names_language(file: DataFile, source: DataSource) -> bool:
    """Whether a file's folder or name says its language, and no column does."""
    return file.sure or find_columns(open_rows(file.path), file, source).constants.get("language") == file.language


def _update(sha: "hashlib._Hash", path: Path) -> None:
    with path.open("rb") as content:
        while block := content.read(BLOCK_BYTES):
            sha.update(block)
