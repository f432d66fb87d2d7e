"""Adapters on the hub: `hub:USER/NAME`, or `hub:USER/NAME@REVISION` with a branch, tag or commit (`seed-03`).

A branch may have moved, so the hub is asked first; where it is out of reach, what its cache holds is taken. Only JSON
and safetensors files of the repository's top folder are downloaded: nothing that could be executed.
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from xpe_core.adapters.layout import CONFIG as ADAPTER_CONFIG
from xpe_core.adapters.layout import SIDECAR
from xpe_core.backbones.files import HUB_TIMEOUT_SECONDS, first_line, silence_libraries
from xpe_core.errors import InputError

HUB = "hub:"
SUFFIXES = (".json", ".safetensors")
BACKBONE_WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?")
"""Files of whole models, which can be large and are no adapter."""
REVISION = re.compile(r"[\w.][\w./-]*")


@dataclass(frozen=True)
class Source:
    """Where on the hub an adapter is."""

    repo: str
    revision: str = "main"

    def __str__(self) -> str:
        return f"{HUB}{self.repo}@{self.revision}"


def is_on_hub(source: str | Path) -> bool:
    """Whether an adapter is given by its name on the hub."""
    return str(source).startswith(HUB)


def parse_source(text: str) -> Source:
    """Return what `hub:USER/NAME[@REVISION]` names; InputError where it names nothing."""
    repo, at, revision = text.removeprefix(HUB).partition("@")
    try:
        validate_repo_id(repo)
    except HFValidationError:
        raise InputError(f"adapter {text}: must be hub:USER/NAME or hub:USER/NAME@REVISION") from None
    if at and not REVISION.fullmatch(revision):
        raise InputError(f"adapter {text}: {revision!r} is no branch, tag or commit")
    return Source(repo, revision) if at else Source(repo)


def find_on_hub(text: str) -> Path:
    """Return the folder of an adapter's files, downloaded or out of the hub's cache; InputError in one sentence."""
    source = parse_source(text)
    if constants.HF_HUB_OFFLINE:
        return _find_in_cache(source, "HF_HUB_OFFLINE is set")
    try:
        with silence_libraries():
            # asked first because it takes a timeout, and for what there is to download
            info = HfApi().model_info(source.repo, revision=source.revision, timeout=HUB_TIMEOUT_SECONDS)
            names = _choose_files(source, [file.rfilename for file in info.siblings or []])
            return Path(snapshot_download(source.repo, revision=source.revision, allow_patterns=names))
    except InputError:
        raise
    except GatedRepoError:
        raise InputError(
            f"adapter {source}: its authors ask for an agreement; accept it on the hub and set HF_TOKEN"
        ) from None
    except RevisionNotFoundError:
        raise InputError(f"adapter {source}: the repository has no revision {source.revision!r}") from None
    except RepositoryNotFoundError:
        raise InputError(
            f"adapter {source}: there is no such repository on the hub (or it is private: set HF_TOKEN)"
        ) from None
    except Exception as error:  # the hub's client raises the types of whichever HTTP library it uses
        return _find_in_cache(source, f"the hub cannot give it: {first_line(error)}")


def _choose_files(source: Source, names: list[str]) -> list[str]:
    """Return which of a repository's files an adapter may consist of; InputError where it holds none."""
    chosen = [name for name in names if PurePosixPath(name).suffix in SUFFIXES and "/" not in name]
    is_whole = SIDECAR in names and ADAPTER_CONFIG not in names  # what we publish of a run that has all weights
    chosen = [name for name in chosen if is_whole or not BACKBONE_WEIGHTS.fullmatch(name)]
    if not any(name.endswith(".safetensors") for name in chosen):
        others = [name for name in names if not name.endswith((".md", ".json")) and name != ".gitattributes"]
        holds = f"only {', '.join(others[:3])}" if others else "none"
        raise InputError(f"adapter {source}: the repository has no adapter in safetensors, {holds}")
    return chosen


def _find_in_cache(source: Source, why: str) -> Path:
    chosen, left = [f"*{suffix}" for suffix in SUFFIXES], ["*/*"]
    try:
        with silence_libraries():
            return Path(
                snapshot_download(
                    source.repo,
                    revision=source.revision,
                    local_files_only=True,
                    allow_patterns=chosen,
                    ignore_patterns=left,
                )
            )
    except LocalEntryNotFoundError:
        raise InputError(f"adapter {source} is not (or not whole) in the hub's cache, and {why}") from None
