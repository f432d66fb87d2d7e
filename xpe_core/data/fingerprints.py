"""What a data set is, in 16 hex digits: the same content is the same data set, wherever it lies."""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

from xpe_core.data.dataset import find_dataset
from xpe_core.data.source import DataSource, as_source


def fingerprint_dataset(source: DataSource | str) -> str:
    """Return 16 hex digits of the data set's content (of the code and Babel's version for `cldr`)."""
    return dataset_fingerprints(source)[0]


def dataset_fingerprints(source: DataSource | str) -> tuple[str, ...]:
    """Return the fingerprint, and after it those that older versions gave to the same data."""
    name = as_source(source).name
    sha = hashlib.sha256()
    if name == "cldr":
        try:
            sha.update(version("babel").encode())
        except PackageNotFoundError:
            sha.update(b"no babel")
        sources: list[Path] = [Path(str(files("xpe_core").joinpath(part))) for part in ("cldr.py", "languages.csv")]
    else:
        path = find_dataset(name)
        sources = [path] if path.is_file() else sorted([*path.glob("*/*.tsv"), *path.glob("*/labels.txt")])
    for file in sources:
        sha.update(f"{file.parent.name}/{file.name}".encode())
        sha.update(file.read_bytes())
    return (sha.hexdigest()[:16],)
