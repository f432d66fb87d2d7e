"""Data sets of the hub, and folders in the hub's shape: their card says which files a config has.

`datasets` reads the card and resolves its patterns. The files themselves are read by this package: a general CSV reader
merges rows of SIB-200's, and no script of a data set's is run.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from xpe_core.data.files import DataFile, Files, arrange, find_files, is_language, read_split
from xpe_core.data.opening import COMPRESSED, KINDS, find_kind
from xpe_core.data.source import DataSource
from xpe_core.errors import InputError

TIMEOUT_SECONDS = 10
CARDS = ("README.md", ".huggingface.yaml")
TABLES = [f"*{kind}{packed}" for kind in KINDS if kind != ".txt" for packed in ("", *COMPRESSED)]
SPEAKS_OF_ALL = ("all", "all_languages", "all_1.1", "multilingual", "combined")
"""Configs that hold the others together."""


def find_on_hub(source: DataSource) -> Files:
    """Return the files of a hub data set, fetched or out of a cache: the hub's, or that of `datasets`."""
    from xpe_core.data.places import choose

    folder, reason = _fetch(source.name)
    if folder is None:
        if cached := _find_built(source):
            return cached
        raise InputError(
            f"dataset {source.name!r} is not in the hub's cache and the hub cannot give it ({reason}); "
            "offline, use --set dataset=cldr or --set dataset=FOLDER with <language>/train.tsv in it"
        )
    if not any(find_kind(path) for path in folder.rglob("*") if path.is_file()):
        if scripts := sorted(folder.glob("*.py")):
            raise InputError(
                f"dataset {source.name!r} is made by a script ({scripts[0].name}), which is not run; fetch its data "
                "and give the folder, or name a copy on the hub that holds tables"
            )
    return find_configs(folder, source) or choose(find_files(folder, source.name), source)


def find_configs(folder: Path, source: DataSource) -> Files | None:
    """Return the files that a folder's card lists for the configs asked for; None where no card lists any.

    A folder by language of SIB-200's kind is read as such, whatever its card says.
    """
    if not any((folder / card).is_file() for card in CARDS):
        return None
    try:
        if find_files(folder, source.name).root is not None:
            return None
    except InputError:
        pass  # its card may know better
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCard

    try:
        card = DatasetCard.load(folder / CARDS[0]).data if (folder / CARDS[0]).is_file() else None
        configs = MetadataConfigs.from_dataset_card_data(card) if card is not None else {}
    except ValueError as error:
        raise InputError(f"{folder / CARDS[0]}: its head is no card of a data set: {error}") from None
    if not configs or not any("data_files" in config for config in configs.values()):
        return None
    names, notes = _choose_configs(list(configs), configs.get_default_config_name(), source)
    files = [file for name in names for file in _files_of(folder, name, source, len(names) > 1)]
    return replace(arrange(files, source.name), notes=notes)


def _choose_configs(names: Sequence[str], default: str | None, source: DataSource) -> tuple[list[str], tuple[str, ...]]:
    """Return the configs asked for: those named, the default one, or all that are languages."""
    if source.config is not None:
        wanted = [name.strip() for name in source.config.split(",") if name.strip()]
        if missing := [name for name in wanted if name not in names]:
            raise InputError(f"dataset {source.name} has no config {missing[0]!r}; it has {_list(names)}")
        return wanted, ()
    if default is not None or len(names) == 1:
        return [default or names[0]], ()
    languages = [name for name in names if is_language(name) and name not in SPEAKS_OF_ALL]
    others = [name for name in names if name not in languages and name not in SPEAKS_OF_ALL]
    if not languages or others:
        raise InputError(
            f"dataset {source.name} has the configs {_list(names)}, and not all are languages; say which: "
            f"--set dataset_config={names[0]}"
        )
    return languages, (f"its {len(languages)} configs are read as languages",)


def _files_of(folder: Path, config: str, source: DataSource, is_one_of_many: bool) -> list[DataFile]:
    """Return the files of a config as `datasets` resolves them."""
    import datasets

    try:
        builder = datasets.load_dataset_builder(str(folder), config)
    except Exception as error:  # the library raises many types
        raise InputError(f"dataset {source.name}, config {config}: {str(error).splitlines()[0]}") from None
    language = config if is_one_of_many or is_language(config) else None
    classes = _class_names(builder.info.features)
    files = []
    for split, paths in (builder.config.data_files or {}).items():
        known = read_split(str(split))
        if known is None:
            continue
        files += [DataFile(Path(path), language, known, is_one_of_many, classes) for path in map(str, paths)]
    if not files:
        raise InputError(f"dataset {source.name}, config {config}: it has no split train, validation or test")
    return files


def _class_names(features: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the names of classes by column, as a builder's features have them."""
    import datasets

    return tuple(
        (name, tuple(feature.names))
        for name, feature in (features or {}).items()
        if isinstance(feature, datasets.ClassLabel) and feature.names
    )


@cache
def _fetch(name: str) -> tuple[Path | None, str]:
    """Return the hub's snapshot of a data set, or the one in the hub's cache; None, and why, where there is neither."""
    from huggingface_hub import HfApi, snapshot_download  # slow to import, and needed for hub names only

    patterns = [*TABLES, "*labels.txt", *CARDS, "*.py"]
    try:
        HfApi().dataset_info(name, timeout=TIMEOUT_SECONDS)  # fails within the timeout
        return Path(snapshot_download(name, repo_type="dataset", allow_patterns=patterns)), ""
    except Exception as error:  # the hub's client raises the types of whichever HTTP library it uses
        reason = type(error).__name__
    try:
        return Path(snapshot_download(name, repo_type="dataset", local_files_only=True)), ""
    except Exception:
        return None, reason


def _find_built(source: DataSource) -> Files | None:
    """Return what `datasets` built of a data set before, out of its own cache; None where it has nothing."""
    from datasets import config

    folder = Path(config.HF_DATASETS_CACHE) / source.name.replace("/", "___").lower()
    built = {child.name: child for child in sorted(folder.iterdir()) if child.is_dir()} if folder.is_dir() else {}
    if not built:
        return None
    names, notes = _choose_configs(list(built), "default" if "default" in built else None, source)
    files = [file for name in names for file in _arrow_files(built[name], name, len(names) > 1)]
    return replace(arrange(files, source.name), notes=notes) if files else None


def _arrow_files(folder: Path, config: str, is_one_of_many: bool) -> list[DataFile]:
    """Return the Arrow files of a config's newest build: <version>/<hash>/<name>-<split>.arrow."""
    builds = [path.parent for path in folder.glob("*/*/dataset_info.json")]
    if not builds:
        return []
    newest = max(builds, key=lambda build: (build.stat().st_mtime, build.name))
    language = config if is_one_of_many or is_language(config) else None
    files = []
    for path in sorted(newest.glob("*.arrow")):
        parts = path.stem.split("-")
        split = next((known for part in reversed(parts) if (known := read_split(part))), None)
        if split is not None and not path.name.startswith("cache-"):
            files.append(DataFile(path, language, split, is_one_of_many))
    return files


def _list(names: Sequence[str], limit: int = 12) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
