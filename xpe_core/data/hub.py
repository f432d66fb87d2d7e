"""Data sets of the hub, and folders in the hub's shape: their card says which files a config has.

`datasets` reads the card and resolves its patterns. The files themselves are read by this package: a general CSV reader
merges rows of SIB-200's, and no script of a data set's is run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from xpe_core.data.files import ClassNames, DataFile, Files, arrange, find_files, is_language, read_split
from xpe_core.data.opening import COMPRESSED, KINDS, find_kind
from xpe_core.data.source import DataSource
from xpe_core.errors import InputError, Setting

if TYPE_CHECKING:
    import datasets

TIMEOUT_SECONDS = 10
CARD = "README.md"
TABLES = [f"*{kind}{packed}" for kind in KINDS if kind != ".txt" for packed in ("", *COMPRESSED)]
ALL_IN_ONE = ("all", "all_languages", "all_1.1", "multilingual", "combined")
"""Configs that hold the others together."""


def find_on_hub(source: DataSource) -> Files:
    """Return the files of a hub data set, fetched or out of a cache: the hub's, or that of `datasets`."""
    from huggingface_hub import constants

    folder, reason = _fetch(source.name, source.config, constants.HF_HUB_CACHE)
    if folder is not None:
        try:
            return _find_in(folder, source)
        except InputError:
            if built := _find_built(source):  # `datasets` may have taken no more than the card into the hub's cache
                return built
            raise
    if built := _find_built(source):
        return built
    raise InputError(
        f"dataset {source.name!r} is not in the hub's cache and the hub cannot give it ({reason})",
        way="offline, use {} or {} with <language>/train.tsv in it",
        settings=(Setting("dataset", "cldr"), Setting("dataset", "FOLDER")),
    )


def _find_in(folder: Path, source: DataSource) -> Files:
    """Return the files of a hub data set in its snapshot."""
    if not any(find_kind(path) for path in folder.rglob("*") if path.is_file()):
        if scripts := sorted(folder.glob("*.py")):
            raise InputError(
                f"dataset {source.name!r} is made by a script ({scripts[0].name}), which is not run; fetch its data "
                "and give the folder, or name a copy on the hub that holds tables"
            )
    return find_configs(folder, source) or choose_configs(find_files(folder, source.name), source)


def choose_configs(files: Files, source: DataSource) -> Files:
    """Return the files of the configs that are asked for, where every language's folder is one."""
    if source.config is None:
        return files
    wanted = [name.strip() for name in source.config.split(",") if name.strip()]
    languages = sorted({file.language for file in files.files if file.language})
    if missing := [name for name in wanted if name not in languages]:
        has = ", ".join(languages[:12]) + (f" and {len(languages) - 12} more" if len(languages) > 12 else "")
        raise InputError(f"dataset {source.name} has no config {missing[0]!r}; it has {has or 'none'}")
    chosen = tuple(file for file in files.files if file.language in wanted)
    lists = tuple((language, path) for language, path in files.label_lists if language in ("", *wanted))
    return replace(files, files=chosen, label_lists=lists, root=None)


def find_configs(folder: Path, source: DataSource) -> Files | None:
    """Return the files that a folder's card lists for the configs asked for; None where no card lists any.

    A folder with one folder a language, as SIB-200's, is read as such, whatever its card says.
    """
    if not (folder / CARD).is_file():
        return None
    try:
        found = find_files(folder, source.name)
        if found.root is not None and all(is_language(file.language or "") for file in found.files):
            return None
    except InputError:
        pass  # its card may know better
    configs, default, infos = _read_card(folder / CARD)
    if not any("data_files" in config or "data_dir" in config for config in configs.values()):
        return None
    names, notes = _choose_configs(list(configs), default, source)
    languages = _name_languages(list(configs))
    files: list[DataFile] = []
    for name in names:
        classes = _class_names(infos[name].features) if name in infos else ()
        own = _files_of(folder, name, configs[name], len(names) > 1, classes, source)
        files += [replace(file, language=languages[name], sure=True) for file in own] if name in languages else own
    return replace(arrange(files, source.name), notes=notes)


def _read_card(path: Path) -> tuple[dict[str, Mapping[str, object]], str | None, dict[str, "datasets.DatasetInfo"]]:
    """Return a card's configs by name, the default one's name, and what it says of their features."""
    from datasets.info import DatasetInfosDict
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCard

    try:
        data = DatasetCard.load(path).data
        configs = MetadataConfigs.from_dataset_card_data(data)
        return dict(configs), configs.get_default_config_name(), dict(DatasetInfosDict.from_dataset_card_data(data))
    except Exception as error:  # of YAML, of values, of what the libraries make of both
        raise InputError(f"{path}: its head is no card of a data set: {' '.join(str(error).split())[:200]}") from None


def _choose_configs(names: Sequence[str], default: str | None, source: DataSource) -> tuple[list[str], tuple[str, ...]]:
    """Return the configs asked for: those named, the default one, or all that are languages."""
    if source.config is not None:
        wanted = [name.strip() for name in source.config.split(",") if name.strip()]
        if missing := [name for name in wanted if name not in names]:
            raise InputError(f"dataset {source.name} has no config {missing[0]!r}; it has {_list(names)}")
        return wanted, ()
    if default is not None or len(names) == 1:
        return [default or names[0]], ()
    of_configs = {name: name for name in names if is_language(name)} | _name_languages(names)
    languages = [name for name in of_configs if name not in ALL_IN_ONE]
    if not languages or [name for name in names if name not in languages and name not in ALL_IN_ONE]:
        raise InputError(
            f"dataset {source.name} has the configs {_list(names)}, and not all are languages",
            way="say which: {}",
            settings=(Setting("dataset_config", names[0]),),
        )
    return languages, (f"its {len(languages)} configs are read as languages",)


def _name_languages(names: Sequence[str]) -> dict[str, str]:
    """Return the languages of configs that are all called as one word, a dot and a language, such as `xquad.en`."""
    parts = {name: name.partition(".") for name in names}
    if len(names) < 2 or len({word for word, _, _ in parts.values()}) > 1:
        return {}
    languages = {name: end for name, (_, _, end) in parts.items()}
    return languages if all(end and is_language(end) for end in languages.values()) else {}


def _files_of(
    folder: Path, name: str, config: Mapping[str, object], is_one_of_many: bool, classes: ClassNames, source: DataSource
) -> list[DataFile]:
    """Return a config's files, its patterns resolved as `datasets` does it."""
    from datasets.data_files import DataFilesDict, get_data_patterns, sanitize_patterns

    base = str(folder / str(config.get("data_dir", "")))
    try:
        patterns = sanitize_patterns(config["data_files"]) if "data_files" in config else get_data_patterns(base)
        found = DataFilesDict.from_patterns(patterns, base_path=base)
    except Exception as error:  # the library raises many types
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"dataset {source.name}, config {name}: its files are not all here: {reason}") from None
    language = name if is_one_of_many or is_language(name) else None
    files = [
        DataFile(Path(path), language, split, sure=is_one_of_many, classes=classes)
        for key, paths in found.items()
        for path in paths
        if (split := read_split(str(key)))
    ]
    if not files:
        splits = _list([str(key) for key in found]) or "none"
        raise InputError(
            f"dataset {source.name}, config {name}: no split is train, validation or test; it has {splits}"
        )
    return files


def _class_names(features: "datasets.Features | None") -> ClassNames:
    """Return the names of classes by column, as features of `datasets` have them."""
    import datasets

    return tuple(
        (name, tuple(feature.names))
        for name, feature in (features or {}).items()
        if isinstance(feature, datasets.ClassLabel) and feature.names
    )


@cache
def _fetch(name: str, config: str | None, cache_folder: str) -> tuple[Path | None, str]:
    """Return the hub's snapshot of a data set, or the one in the hub's cache; None, and why, where there is neither."""
    from huggingface_hub import HfApi, snapshot_download  # slow to import, and needed for hub names only

    try:
        HfApi().dataset_info(name, timeout=TIMEOUT_SECONDS)  # fails within the timeout
        patterns = _patterns_of(name, config)
        return Path(snapshot_download(name, repo_type="dataset", cache_dir=cache_folder, allow_patterns=patterns)), ""
    except Exception as error:  # the hub's client raises the types of whichever HTTP library it uses
        reason = type(error).__name__
    try:
        return Path(snapshot_download(name, repo_type="dataset", cache_dir=cache_folder, local_files_only=True)), ""
    except Exception:
        return None, reason


def _patterns_of(name: str, config: str | None) -> list[str]:
    """Return what is fetched of a data set: the files of the configs asked for where its card lists them, else all."""
    from datasets.data_files import sanitize_patterns
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    beside = ["*labels.txt", CARD, "*.py"]
    try:
        configs, default, _ = _read_card(Path(hf_hub_download(name, CARD, repo_type="dataset")))
    except (EntryNotFoundError, InputError):
        return [*TABLES, *beside]
    names = config or default
    asked = [configs.get(one.strip(), {}) for one in names.split(",")] if names else [{}]
    if not all("data_files" in one for one in asked):
        return [*TABLES, *beside]
    listed = [sanitize_patterns(one["data_files"]) for one in asked]
    return [*(str(pattern) for splits in listed for patterns in splits.values() for pattern in patterns), *beside]


def _find_built(source: DataSource) -> Files | None:
    """Return what `datasets` built of a data set before, out of its own cache; None where it has nothing."""
    from datasets import config
    from datasets.naming import camelcase_to_snakecase

    namespace, _, name = source.name.partition("/")
    folder = Path(config.HF_DATASETS_CACHE) / f"{namespace}___{camelcase_to_snakecase(name)}"
    built = {child.name: child for child in sorted(folder.iterdir()) if child.is_dir()} if folder.is_dir() else {}
    if not built:
        return None
    names, notes = _choose_configs(list(built), "default" if "default" in built else None, source)
    files = [file for one in names for file in _arrow_files(built[one], one, len(names) > 1)]
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
            files.append(DataFile(path, language, split, sure=is_one_of_many))
    return files


def _list(names: Sequence[str], limit: int = 12) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
