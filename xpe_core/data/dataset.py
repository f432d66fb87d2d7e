"""Text classification data in many languages, read into one list of examples.

Four sources, told apart by the name alone: `cldr` (embedded), a folder in SIB-200's layout, one Parquet, CSV or JSON
Lines file, or a data set on the hub. SIB-200's TSV files have no quoting: a reader that honours quotation marks merges
rows without a word, which is why the hub's files are read here and not by a general CSV loader.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from xpe_core.data.source import DataSource, as_source
from xpe_core.errors import InputError
from xpe_core.examples import SPLITS, Example

SPLIT_FILES = {"train": ("train",), "validation": ("dev", "validation"), "test": ("test",)}
"""File names of a split, without `.tsv`: the data's own repository says dev, the hub says validation."""
COLUMNS = ("text", "label", "language", "split")
HUB_TIMEOUT_SECONDS = 10
TABLE_SUFFIXES = (".parquet", ".csv", ".jsonl", ".json")


@dataclass(frozen=True)
class Dataset:
    """All examples of a data set, ordered by language, split and place in the source."""

    name: str
    examples: Sequence[Example]
    label_names: tuple[str, ...]
    """Label names in the order of their ids."""
    notes: tuple[str, ...] = ()
    """How the data were read, where that was not certain: for the plan."""
    num_rows_skipped: int = 0
    """Bad rows that were left out, as `on_bad_rows: skip` says."""


def load_dataset(source: DataSource | str) -> Dataset:
    """Read a data set whole.

    Raises InputError where it cannot be found or reached, lacks a column, or holds an empty text or unknown split.
    """
    name = as_source(source).name
    if name == "cldr":
        from xpe_core import cldr  # babel comes with the extra `offline` only

        return Dataset(name, cldr.build_cldr(), cldr.LABELS)
    path = find_dataset(name)
    dataset = _read_folder(name, path) if path.is_dir() else _read_table(name, path)
    if len(dataset.label_names) < 2:
        found = ", ".join(dataset.label_names) or "none"
        raise InputError(
            f"dataset {name}: {len(dataset.examples)} rows with the labels {found}; needed are two or more"
        )
    return dataset


def find_dataset(name: str) -> Path:
    """Return the folder or file behind a name, fetching it from the hub (or the hub's cache) where it has to."""
    path = Path(name).expanduser()
    if path.is_dir():
        return _find_languages(path, name)
    if path.is_file():
        if path.suffix not in TABLE_SUFFIXES:
            raise InputError(f"dataset {name}: a file must end in one of {', '.join(TABLE_SUFFIXES)}")
        return path
    if path.suffix in TABLE_SUFFIXES or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise InputError(
            f"dataset {name!r} is neither a folder nor a file here; allowed are 'cldr', a hub name such as "
            f"'Davlan/sib200', a folder <language>/train.tsv, or one {', '.join(TABLE_SUFFIXES)} file"
        )
    return _find_languages(_fetch(name), name)


@cache
def _fetch(name: str) -> Path:
    """Return the hub's snapshot of a data set, or the one in the hub's cache where the hub cannot be reached."""
    from huggingface_hub import HfApi, snapshot_download  # slow to import, and needed for hub names only

    patterns = ["*.tsv", "*labels.txt"]
    try:
        HfApi().dataset_info(name, timeout=HUB_TIMEOUT_SECONDS)  # fails within the timeout
        return Path(snapshot_download(name, repo_type="dataset", allow_patterns=patterns))
    except Exception as error:  # the hub's client raises the types of whichever HTTP library it uses
        reason = type(error).__name__
    try:
        return Path(snapshot_download(name, repo_type="dataset", allow_patterns=patterns, local_files_only=True))
    except Exception:
        raise InputError(
            f"dataset {name!r} is not in the hub's cache and the hub cannot give it ({reason}); "
            "offline, use --set dataset=cldr or --set dataset=FOLDER with <language>/train.tsv in it"
        ) from None


def _find_languages(path: Path, name: str) -> Path:
    """Return the folder that holds the languages' folders: the given one or, in a hub's snapshot, one below it."""
    for folder in (path, path / "data", path / "data" / "annotated"):
        if any(folder.glob("*/*.tsv")):
            return folder
    raise InputError(f"dataset {name}: no <language>/train.tsv, dev.tsv or test.tsv in the folder {path}")


def _read_folder(name: str, root: Path) -> Dataset:
    examples: list[Example] = []
    label_lists: dict[str, list[str]] = {}
    for folder in sorted(child for child in root.iterdir() if child.is_dir()):
        if (folder / "labels.txt").exists():
            label_lists[folder.name] = (folder / "labels.txt").read_text(encoding="utf-8").split("\n")
        for split, names in SPLIT_FILES.items():
            for file in (folder / f"{stem}.tsv" for stem in names):
                if file.exists():
                    try:
                        examples += _read_tsv(file, folder.name, split)
                    except (UnicodeDecodeError, csv.Error) as error:
                        raise InputError(f"{file}: cannot be read as UTF-8 text: {error}") from None
                    break
    found = {example.label for example in examples}
    for language, lines in label_lists.items():
        listed = tuple(line.strip() for line in lines if line.strip())
        if missing := found - set(listed):
            raise InputError(f"dataset {name}: label {min(missing)!r} is not in {root / language / 'labels.txt'}")
        return Dataset(name, examples, listed)
    return Dataset(name, examples, tuple(sorted(found)))


def _read_tsv(file: Path, language: str, split: str) -> Iterator[Example]:
    with file.open(encoding="utf-8", newline="") as lines:
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = next(reader, [])
        if missing := [column for column in ("category", "text") if column not in header]:
            raise InputError(f"{file}: no column {missing[0]!r}; its columns are {', '.join(header) or 'none'}")
        for row in reader:
            where = f"{file}, line {reader.line_num}"
            if len(row) != len(header):
                raise InputError(f"{where}: {len(row)} fields where the header has {len(header)}")
            fields = dict(zip(header, row, strict=True))
            yield _check({**fields, "label": fields["category"], "language": language, "split": split}, where)


def _read_table(name: str, path: Path) -> Dataset:
    """Read one file with the columns text, label, language, split and, where there is one, index_id."""
    import pyarrow
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    as_text = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys((*COLUMNS, "index_id"), pyarrow.string()))
    readers = {
        ".parquet": pyarrow.parquet.read_table,
        ".csv": lambda file: pyarrow.csv.read_csv(file, convert_options=as_text),  # a guess would make 7 of 007
    }
    try:
        table = readers.get(path.suffix, pyarrow.json.read_json)(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read as {path.suffix[1:]}: {str(error).splitlines()[0]}") from None
    if missing := [column for column in COLUMNS if column not in table.column_names]:
        raise InputError(
            f"{path}: no column {missing[0]!r}; needed are {', '.join(COLUMNS)}, it has {', '.join(table.column_names)}"
        )
    table = table.select([column for column in (*COLUMNS, "index_id") if column in table.column_names])
    examples = [_check(row, f"{path}, row {place}") for place, row in enumerate(table.to_pylist(), start=1)]
    examples.sort(key=lambda example: (example.language, SPLITS.index(example.split)))
    return Dataset(name, examples, tuple(sorted({example.label for example in examples})))


def _check(fields: Mapping[str, object], where: str) -> Example:
    """Return the row as an Example, or say what is wrong with it and where it stands."""
    values = {column: "" if fields[column] is None else str(fields[column]).strip() for column in COLUMNS}
    for column, value in values.items():
        if not value:
            raise InputError(f"{where}: empty {column}")
    split = {"dev": "validation", "valid": "validation"}.get(values["split"], values["split"])
    if split not in SPLITS:
        raise InputError(f"{where}: unknown split {split!r}; allowed are {', '.join(SPLITS)}")
    identity = fields.get("index_id")
    example_id = where.rpartition(" ")[2] if identity is None else str(identity)
    return Example(values["text"], values["label"], values["language"], split, example_id)
