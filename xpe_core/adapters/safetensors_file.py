"""The project's own format: one safetensors file a run, with everything else as JSON in its header."""

import json
from pathlib import Path

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from xpe_core.adapters.adapter import Adapter, check_parameters
from xpe_core.backbones.files import first_line
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.json_types import Json
from xpe_core.validation import build_config

KEY = "xpe_adapter"
"""The header's key of our JSON."""
FORMAT = 1


class Description(BaseModel):
    """What is known of an adapter beside its tensors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    format: int = Field(FORMAT, ge=1, le=FORMAT)
    """Of this description; a larger number is of a newer version."""
    config: dict[str, object]
    """Fields of `RunConfig`."""
    label_names: tuple[str, ...]
    backbone_weights: str | None = None
    facts: dict[str, JsonValue] = {}
    fingerprint: str
    """Of the adapter, to know a damaged one."""
    files: dict[str, str] = {}
    """Where it stands beside files of another format: the SHA-256 of each, likewise."""


def describe(adapter: Adapter) -> dict[str, Json]:
    """Return the fields of an adapter's `Description`."""
    return {
        "format": FORMAT,
        "config": adapter.known,
        "label_names": list(adapter.label_names),
        "backbone_weights": adapter.backbone_weights,
        "facts": dict(adapter.facts),
        "fingerprint": adapter.fingerprint,
    }


def parse_description(text: str, where: str) -> tuple[Description, RunConfig]:
    """Return a description and its configuration; InputError that names `where` if it is none."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise InputError(f"adapter {where}: its description is no JSON object")
    description = build_config(Description, values, f"adapter {where}")
    return description, build_config(RunConfig, description.config, f"adapter {where}")


def to_bytes(adapter: Adapter) -> bytes:
    """Return the content of an adapter's file."""
    tensors = {name: value.contiguous() for name, value in adapter.parameters.items()}
    return safetensors.torch.save(tensors, {KEY: json.dumps(describe(adapter), ensure_ascii=False)})


def write_adapter(adapter: Adapter, path: str | Path) -> None:
    """Write an adapter's file."""
    Path(path).write_bytes(to_bytes(adapter))


def read_file(path: Path) -> Adapter:
    """Return the adapter in a file that `write_adapter` wrote; InputError where it is none, or is damaged."""
    return from_bytes(_read(path), str(path))


def from_bytes(content: bytes, where: str) -> Adapter:
    """Return the adapter in the content of a file of `where`; InputError where it is none, or is damaged."""
    tensors, metadata = _parse(content, where)
    if KEY not in metadata:
        raise InputError(f"adapter {where}: it is a safetensors file, but of no adapter of this project")
    description, config = parse_description(metadata[KEY], where)
    adapter = Adapter(config, description.label_names, tensors, description.backbone_weights, description.facts)
    check_parameters(adapter, where)
    if adapter.fingerprint != description.fingerprint:
        raise InputError(f"adapter {where}: it is damaged: its content is not what was written")
    return adapter


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file as float32 and its metadata; InputError where it is none."""
    return _parse(_read(path), str(path))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"adapter {path}: {error.strerror}") from None


def _parse(content: bytes, where: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        tensors = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        what = "cannot be read as safetensors (truncated, or of another format; pickles are never opened)"
        raise InputError(f"adapter {where}: {what}: {first_line(error)}") from None
    for name, value in sorted(tensors.items()):
        if not value.is_floating_point():
            kind = str(value.dtype).removeprefix("torch.")
            raise InputError(
                f"adapter {where}: the tensor {name} is of type {kind}; allowed are floating-point numbers"
            )
    tensors = {name: value.float() for name, value in tensors.items()}
    size = int.from_bytes(content[:8], "little")  # of the header, which was just found to be sound
    return tensors, json.loads(content[8 : 8 + size]).get("__metadata__") or {}
