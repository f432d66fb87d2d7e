"""Train small prompts in front of a frozen multilingual encoder, many runs at a time, and use what was trained."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xpe_core.classifier import load

__all__ = ["load"]

LAZY = {"load": "xpe_core.classifier"}
"""Names that are looked up in a module when they are first used: Torch takes seconds to import."""


def __getattr__(name: str) -> Any:
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return vars(import_module(LAZY[name]))[name]
