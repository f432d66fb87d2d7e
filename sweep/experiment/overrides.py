"""`--set key=value`: the value is the text as it stands, and what it is, the key's field decides."""

from collections.abc import Sequence
from types import UnionType
from typing import Union, get_args, get_origin

from pydantic import BaseModel

from sweep.experiment.config import KEYS
from sweep.experiment.yaml_files import Tree, read_flow
from xpe_core.config import FIELDS
from xpe_core.errors import InputError

NOTHING = ("", "~", "null", "Null", "NULL")
"""What says that a field has no value, where it may have none."""
LISTED = ("source_set",)
"""Fields of `RunConfig` that also take a list, written as one string."""
MAPPED = ("columns",)
"""Fields of `RunConfig` that also take keys of their own, written as one string."""


def split_overrides(overrides: Sequence[str]) -> dict[str, str]:
    """Return the keys of `key=value` with their texts; InputError where there is none, or a key is given twice."""
    pairs: dict[str, str] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not key:
            raise InputError(f"--set {override}: must look like key=value")
        if key in pairs:
            raise InputError(f"--set {override}: {key} is set already, to {pairs[key]!r}: say it once")
        pairs[key] = _without_quotes(text)
    return pairs


def read_override(key: str, text: str) -> Tree:
    """Return what a key is set to: text, or a list, keys or nothing where its field takes these."""
    annotation = _find_annotation(key)
    stripped, where = text.strip(), f"--set {key}={text}"
    if stripped in NOTHING and _takes_nothing(annotation):
        return None
    if stripped.startswith("[") and stripped.endswith("]") and (key in LISTED or _takes(annotation, tuple, list)):
        return read_flow(stripped, where)
    if stripped.startswith("{") and stripped.endswith("}") and (key in MAPPED or _takes(annotation, dict, BaseModel)):
        return read_flow(stripped, where)
    return text


def _without_quotes(text: str) -> str:
    """Return a text without the quotes that a shell has left around it."""
    if len(text) > 1 and text[0] in "'\"" and text[0] == text[-1] and text[0] not in text[1:-1]:
        return text[1:-1]
    return text


def _find_annotation(key: str) -> object:
    """Return the declared type behind a key with dots, None where there is no such key."""
    first, _, rest = key.partition(".")
    if key in FIELDS:
        return FIELDS[key].annotation
    annotation: object = KEYS[first].annotation if first in KEYS else None
    if not rest:
        return annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.model_fields[rest].annotation if rest in annotation.model_fields else None
    return get_args(annotation)[-1] if get_origin(annotation) is dict else None


def _takes_nothing(annotation: object) -> bool:
    """Whether a field may have no value, or is a list of one or more that may have none."""
    options = get_args(annotation)
    listed = get_args(options[0]) if get_origin(annotation) is tuple else ()
    return type(None) in (*options, *listed)


def _takes(annotation: object, *kinds: type) -> bool:
    """Whether a value of one of these kinds is allowed."""
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    origins = [get_origin(option) or option for option in options]
    return any(isinstance(origin, type) and issubclass(origin, kinds) for origin in origins)
