"""What may be said in public: names without the paths of this machine, and facts that were not made for its owner.

What is published was trained on someone's machine; its folders, host and users are nobody else's business.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePath, PurePosixPath, PureWindowsPath

from xpe_core.adapters import Adapter
from xpe_core.backbones.files import BUNDLED
from xpe_core.config import RunConfig
from xpe_core.errors import InputError

FACTS = (
    *("run_id", "num_steps", "best_step", "selection_accuracy", "validation_accuracy"),
    *("code_version", "data_fingerprint", "backbone_fingerprint"),
)
"""Of an adapter's facts, those that are published; others may say anything."""
BUNDLED_ORIGIN = "intfloat/multilingual-e5-small"
"""The hub's name of the bundled encoder, whose weights are here in four bits."""
PATH = re.compile(r"(?<![\w.:/~<-])(?:~|file://)?(?:/[\w.@+-]+){2,}/?|(?<!\w)[A-Za-z]:\\[\w.\\ -]+")
"""An absolute path; the path of a URL stands behind its host's name and is none."""
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def public_name(name: str) -> str:
    """Return the name of a backbone or data set; of a path its last part."""
    if re.match(r"[A-Za-z]:[\\/]", name):
        return PureWindowsPath(name).name
    return PurePosixPath(name).name if name.startswith(("/", ".", "~")) else name


def on_hub(name: str) -> str | None:
    """Return the hub's name of a backbone or data set, None where it has none."""
    if name == BUNDLED:
        return BUNDLED_ORIGIN
    return name if HUB_NAME.fullmatch(name) and public_name(name) == name else None


def publish_config(config: RunConfig, base_model: str | None = None, dataset: str | None = None) -> RunConfig:
    """Return the configuration with public names, those that are given or its own."""
    names = {
        "backbone": base_model or public_name(config.backbone),
        "dataset": dataset or public_name(config.data.dataset),
    }
    return RunConfig(**{**config.known, **names})


def publish_facts(adapter: Adapter) -> Adapter:
    """Return the adapter with those of its facts that are published."""
    return replace(adapter, facts={name: adapter.facts[name] for name in FACTS if name in adapter.facts})


def without_paths(text: str) -> str:
    """Return text in which of every absolute path only the last part stands."""

    def shorten(match: re.Match[str]) -> str:
        path: PurePath = PureWindowsPath(match[0]) if "\\" in match[0] else PurePosixPath(match[0])
        return path.name

    return PATH.sub(shorten, text)


def check_public(content: bytes, where: str, secrets: Iterable[str]) -> None:
    """Raise InputError where a file that is to be published holds an absolute path or one of `secrets`.

    A message never repeats what it found: it may be a token.
    """
    text = content.decode("utf-8", errors="replace")
    for secret in secrets:
        if re.search(rf"(?<![\w.-]){re.escape(secret)}(?![\w-])", text):
            raise InputError(f"{where} is not published: it names this machine, its user, or a secret")
    if found := PATH.search(text):
        raise InputError(
            f"{where} is not published: it holds a path of this machine, .../{PurePosixPath(found[0]).name}"
        )
