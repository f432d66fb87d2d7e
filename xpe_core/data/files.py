"""Which files a data set is made of, and what their names and folders say: language, split, or neither.

eng/train.tsv              language and split, in any folder of the tree (`data/eng/dev.jsonl.gz`)
train/eng.csv, eng_train.csv, train.eng.csv        the same the other way round, and in one name
train.csv, data/train-00000-of-00002.parquet       split; the language is in a column
eng.csv                    language, where no column says it
"""

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xpe_core.data.examples import SPLITS
from xpe_core.data.opening import ALLOWED, check_kind, find_kind, strip_suffixes
from xpe_core.errors import InputError

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
SHARD = re.compile(r"[-_. ]?(part[-_]?)?\d+([-_]of[-_]\d+)?([-_][0-9a-f-]{36})?$", re.IGNORECASE)
"""The end of a part's name: `-00000-of-00002`, `_1`, `-part2`."""
WITH_SCRIPT = re.compile("[a-z]{2,3}[-_][A-Z][a-z]{3}")
"""A language's code that no other word looks like: `zho_Hans`."""
WRAPPERS = frozenset("data dataset datasets annotated raw files default csv tsv json jsonl parquet arrow all".split())
"""Folders that say nothing of what is in them."""
NO_DATA = re.compile(
    r"(dataset_infos?|dataset_dict|state|labels|metadata|package(-lock)?|config|settings|requirements|license|readme)",
    re.IGNORECASE,
)
"""Names of files beside the data."""
MAX_DEPTH = 5
PARTITION = re.compile(r"(lang|language|language_code|lang_code|locale|split)=(?P<value>.+)", re.IGNORECASE)
"""A folder as Spark and Polars name the parts of a table: `language=hau/split=train`."""


ClassNames = tuple[tuple[str, tuple[str, ...]], ...]
"""Names of classes by column."""


@dataclass(frozen=True)
class DataFile:
    """A table file, and what its folder and name say."""

    path: Path
    language: str | None = None
    split: str | None = None
    hint: str | None = None
    """What may be a language in its name, as in `news_hau_train.csv`."""
    sure: bool = False
    """The language is that of a folder or a config: no column is asked."""
    classes: ClassNames = ()
    """The names behind a column's numbers, where the data set's card says them."""


@dataclass(frozen=True)
class Files:
    """All files of a data set, in the order in which they are read."""

    files: tuple[DataFile, ...]
    root: Path | None = None
    """The folder of the languages' folders, where the data set is one of SIB-200's kind."""
    label_lists: tuple[tuple[str, Path], ...] = ()
    """Every labels.txt with its language, "" for all."""
    notes: tuple[str, ...] = ()


def read_split(name: str) -> str | None:
    """Return the split that a name stands for, in any spelling; None where it is none."""
    return SPLIT_NAMES.get(name.strip().lower())


def is_language(name: str) -> bool:
    """Return whether a name is a language's code: ISO 639 or BCP 47, with hyphens or underscores."""
    from xpe_core.language_tags import parse_code  # slow to import

    return parse_code(name) is not None


def find_files(path: Path, name: str) -> Files:
    """Return the files in a folder, below it, or a file alone; InputError where there is none that is read."""
    if path.is_file():
        check_kind(path)
        return arrange([_read_stem(DataFile(path))], name)
    for folder in (path, path / "data", path / "data" / "annotated"):
        if any(_is_table(file) for file in folder.glob("*/*") if read_split(_stem(file))):
            found = _find_by_language(folder, name)
            if found.files:
                return found
    tables = tuple(_find_tables(path))
    if not tables:
        raise InputError(
            f"dataset {name}: no <language>/train.tsv, dev.tsv or test.tsv and no table file in the folder {path}; "
            f"read are {ALLOWED}"
        )
    return arrange([_read_names(file, path) for file in tables], name)


def find_pattern(pattern: str) -> Files:
    """Return the files that a pattern such as `data/*.csv` stands for."""
    found = [Path(path) for path in sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True))]
    tables = [path for path in found if path.is_file() and not path.name.startswith((".", "~$"))]
    if not tables:
        raise InputError(f"dataset {pattern!r}: no file has such a name")
    for path in tables:
        check_kind(path)
    parts = Path(pattern).expanduser().parts
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    return arrange([_read_names(path, Path(*parts[:fixed])) for path in tables], pattern)


def arrange(files: Sequence[DataFile], name: str) -> Files:
    """Return files in the order of reading: those without a split are left out where others have one."""
    notes: tuple[str, ...] = ()
    if any(file.split for file in files):
        left_out = [str(file.path.name) for file in files if not file.split]
        if left_out:
            notes = (f"not read, since the names say no split: {_list(left_out)}",)
        files = [file for file in files if file.split]
    hints = {file.hint or "" for file in files}
    if all(hints) and not any(file.language for file in files):
        # one word may be in the names of all by chance, and a code with a script is not
        if len(hints) > 1 or all(map(WITH_SCRIPT.fullmatch, hints)):
            files = [replace(file, language=file.hint) for file in files]
    _check_twice(files, name)
    ordered = sorted(files, key=lambda file: (file.language or "", SPLITS.index(file.split or "train"), file.path))
    return Files(tuple(ordered), notes=notes)


def _find_by_language(root: Path, name: str) -> Files:
    """Return the files of a folder that holds one folder a language."""
    files: list[DataFile] = []
    label_lists = [("", root / "labels.txt")] if (root / "labels.txt").is_file() else []
    for folder in sorted(child for child in root.iterdir() if child.is_dir() and not child.name.startswith(".")):
        if read_split(_strip_key(folder.name)):
            return Files(())  # a folder by split
        found = [file for file in sorted(folder.iterdir()) if file.is_file() and not file.name.startswith(".")]
        tables = [file for file in found if read_split(_stem(file)) and _is_table(file)]
        language = _strip_key(folder.name)
        files += [DataFile(file, language, read_split(_stem(file)), sure=True) for file in tables]
        label_lists += [(language, file) for file in found if file.name.lower() == "labels.txt" and tables]
    if len({file.language for file in files}) == 1 and files[0].language in WRAPPERS:
        return Files(())
    return replace(arrange(files, name), root=root, label_lists=tuple(label_lists))


def _find_tables(folder: Path, depth: int = 0) -> Iterator[Path]:
    for child in sorted(folder.iterdir()):
        if child.name.startswith((".", "~$", "__MACOSX")):
            continue
        if child.is_dir() and depth < MAX_DEPTH:
            yield from _find_tables(child, depth + 1)
        elif child.is_file() and not NO_DATA.fullmatch(strip_suffixes(child.name)):
            if _is_table(child):
                yield child


def _is_table(path: Path) -> bool:
    """Whether a file can hold texts with labels; lines of plain text hold none."""
    return find_kind(path) not in (None, "txt")


def _read_names(path: Path, root: Path) -> DataFile:
    """Return a file with what the folders below `root` and its name say."""
    file = _read_stem(DataFile(path))
    folders = [_strip_key(part) for part in path.relative_to(root).parent.parts if part.lower() not in WRAPPERS]
    split = next((read_split(part) for part in folders if read_split(part)), None) or file.split
    others = [part for part in folders if not read_split(part)]
    languages = [part for part in others if is_language(part)] or (others if len(others) == 1 and split else [])
    if len(languages) == 1:
        return replace(file, language=languages[0], split=split, sure=True)
    return replace(file, split=split)


def _strip_key(folder: str) -> str:
    """Return what a folder's name says: `hau` of `language=hau`."""
    matched = PARTITION.fullmatch(folder)
    return matched["value"] if matched else folder


def _read_stem(file: DataFile) -> DataFile:
    """Return a file with what its name says: `train`, `eng`, `eng_Latn.train-00000-of-00002`, `dev-sw`."""
    stem = _stem(file.path)
    if split := read_split(stem):
        return replace(file, split=split)
    for pattern in (r"(?P<rest>.+)[-_. ](?P<split>[A-Za-z]+)", r"(?P<split>[A-Za-z]+)[-_. ](?P<rest>.+)"):
        matched = re.fullmatch(pattern, stem)
        if matched and (split := read_split(matched["split"])):
            rest = matched["rest"]
            return replace(file, split=split, language=rest if is_language(rest) else None, hint=_find_hint(rest))
    return replace(file, language=stem if is_language(stem) else None, hint=_find_hint(stem))


def _find_hint(name: str) -> str | None:
    """Return the longest end, else the longest beginning, of a name of several words that is a language's code."""
    cuts = [matched.span() for matched in re.finditer(r"[-_. ]", name)]
    parts = [name[end:] for _, end in cuts] + [name[:start] for start, _ in reversed(cuts)]
    return next((part for part in parts if is_language(part)), None)


def _stem(path: Path) -> str:
    """Return a file's name without what says its kind and which part it is."""
    stem = strip_suffixes(path.name)
    return SHARD.sub("", stem) or stem


def _check_twice(files: Sequence[DataFile], name: str) -> None:
    """Refuse a split that is there twice, as in train.tsv and train.csv; the parts of one are no two."""
    seen: dict[tuple[str | None, str], Path] = {}
    for file in files:
        if file.split is None or (file.language is None and _stem(file.path).lower() not in SPLIT_NAMES):
            continue
        first = seen.setdefault((file.language, file.split), file.path)
        is_part = SHARD.search(strip_suffixes(file.path.name)) and SHARD.search(strip_suffixes(first.name))
        if first != file.path and not (is_part and find_kind(first) == find_kind(file.path)):
            language = f" of {file.language}" if file.language else ""
            raise InputError(
                f"dataset {name}: {first} and {file.path} are both the {file.split} split{language}; keep one of them"
            )


def _list(names: Sequence[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
