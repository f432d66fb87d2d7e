"""What the adapter folders of peft and of micm-nlp have in common: their files, and the heads of transformers' classes.

`adapter_config.json` says what the adapter is, `adapter_model.safetensors` holds its tensors. A classification head is
saved as the modules of transformers' `...ForSequenceClassification` that it replaces, behind `base_model.`:

    ours         XLM-R, RoBERTa, CamemBERT    BERT
    head.dense   classifier.dense             bert.pooler.dense
    head.out     classifier.out_proj          classifier

Both read the first position and compute `out(tanh(dense(.)))`. ELECTRA and others use the same names with another
activation, so the type of the base model is looked at where its config.json is on this machine. A BERT adapter whose
`modules_to_save` had no `pooler` lacks half of its head: it stays the base model's, or random, and is not read.

Folders that this project writes also have `xpe_sweep.json`, the JSON in the header of its own format.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import safetensors.torch
from pydantic import BaseModel, ConfigDict

from xpe_core.adapters.adapter import Adapter
from xpe_core.adapters.safetensors_file import Description, describe, parse_description, read_tensors
from xpe_core.backbones.files import find_config_file, find_folder, is_path
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.json_types import JsonObject
from xpe_core.locations import find_location
from xpe_core.stacked import Parameters
from xpe_core.tunings.peft_format import PeftSettings
from xpe_core.validation import build_config

CONFIG = "adapter_config.json"
"""What makes a folder an adapter of peft or of micm-nlp."""
WEIGHTS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"
SIDECAR = "xpe_sweep.json"
PARTS = ("weight", "bias")
HEAD_READOUT = "head"
"""The readout that transformers' classes have."""
ROBERTA_HEAD = {"dense": "base_model.classifier.dense", "out": "base_model.classifier.out_proj"}
BERT_HEAD = {"dense": "base_model.bert.pooler.dense", "out": "base_model.classifier"}
HEADS = {
    "bert": BERT_HEAD,
    "camembert": ROBERTA_HEAD,
    "roberta": ROBERTA_HEAD,
    "xlm-roberta": ROBERTA_HEAD,
    "xlm-roberta-xl": ROBERTA_HEAD,
}
"""The types of base models whose classes have our head, and what its layers are called there."""
CLASS_PREFIXES = {kind: "bert" if head is BERT_HEAD else "roberta" for kind, head in HEADS.items()}
"""What the encoder is called in these classes."""
MODULES_TO_SAVE = {
    kind: ["pooler", "classifier"] if head is BERT_HEAD else ["classifier"] for kind, head in HEADS.items()
}
"""The modules that are loaded with an adapter, so that none of the head is left as the base model has it."""


class BaseModelConfig(BaseModel):
    """The keys of a backbone's config.json that an adapter's folder repeats."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    model_type: str
    hidden_size: int
    num_attention_heads: int | None = None
    num_hidden_layers: int | None = None


Settings = TypeVar("Settings", bound=PeftSettings)


def read_config(folder: Path) -> dict[str, object]:
    """Return the content of an adapter's `adapter_config.json`; InputError where it is no JSON object."""
    try:
        values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise InputError(f"adapter {folder}: its {CONFIG} is no JSON object")
    return values


def parse_settings(model: type[Settings], values: Mapping[str, object], folder: Path) -> Settings:
    """Return the settings in an `adapter_config.json`; InputError where a value is none that is allowed."""
    settings = build_config(model, values, f"adapter {folder}: {CONFIG}")
    if settings.num_transformer_submodules not in (None, 1):
        raise InputError(
            f"adapter {folder}: {CONFIG}: num_transformer_submodules={settings.num_transformer_submodules}: "
            "must be 1, as it is of encoders"
        )
    return settings


def read_weights(folder: Path) -> Parameters:
    """Return the tensors of an adapter's folder as float32; InputError where they are not in safetensors, or broken."""
    if (folder / WEIGHTS).is_file():
        return read_tensors(folder / WEIGHTS)[0]
    if (folder / PICKLE).is_file():
        raise InputError(
            f"adapter {folder}: it holds only a pickle ({PICKLE}), which is never opened; "
            "adapters are read from safetensors"
        )
    raise InputError(f"adapter {folder}: there is {CONFIG}, but no {WEIGHTS}")


def read_sidecar(folder: Path) -> tuple[Description, RunConfig] | None:
    """Return what this project has written of an adapter beside its tensors, or None where another tool wrote it."""
    path = folder / SIDECAR
    if not path.is_file():
        return None
    try:
        description, config = parse_description(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError):
        raise InputError(f"adapter {path}: it is no text in UTF-8") from None
    for name, digest in description.files.items():
        file = folder / Path(name).name
        if not file.is_file() or _digest(file) != digest:
            raise InputError(
                f"adapter {folder}: {file.name} is damaged, or was changed: it is not what was written with {SIDECAR}"
            )
    return description, config


def write_folder(adapter: Adapter, folder: Path, config: JsonObject, tensors: Parameters, readme: str) -> None:
    """Write an adapter's folder; its `adapter_config.json` comes last, so that half a folder is no adapter."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {name: value.contiguous() for name, value in tensors.items()}
    (folder / WEIGHTS).write_bytes(safetensors.torch.save(whole, {"format": "pt"}))
    (folder / "README.md").write_text(readme, encoding="utf-8")
    write_sidecar(adapter, folder)
    (folder / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_sidecar(adapter: Adapter, folder: Path) -> None:
    """Write what this project needs to know of an adapter whose tensors are there."""
    described = {
        **describe(adapter),
        "files": {file.name: _digest(file) for file in sorted(folder.glob("*.safetensors"))},
    }
    (folder / SIDECAR).write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def take_head(tensors: Parameters, base: str | None, folder: Path) -> Parameters:
    """Move a head out of a folder's tensors and return it by our names; InputError where there is none of ours."""
    head = ROBERTA_HEAD if f"{ROBERTA_HEAD['dense']}.weight" in tensors else BERT_HEAD
    if f"{head['out']}.weight" not in tensors:
        raise InputError(
            f"adapter {folder}: it has no classification head; allowed are those of XLM-R's and of BERT's class "
            f"({ROBERTA_HEAD['out']}.weight or {BERT_HEAD['out']}.weight)"
        )
    if head is BERT_HEAD and f"{head['dense']}.weight" not in tensors:
        raise InputError(
            f"adapter {folder}: half of its head is missing: {head['out']} stands behind BERT's pooler, which is saved "
            "only where it is one of modules_to_save"
        )
    model_type = find_model_type(base)
    if model_type not in (None, *HEADS):
        raise InputError(
            f"adapter {folder}: its base model {base!r} is of the type {model_type!r}, whose class has another head; "
            f"allowed are {', '.join(HEADS)}"
        )
    taken = {}
    for layer, name in head.items():
        for part in PARTS:
            if f"{name}.{part}" not in tensors:
                raise InputError(f"adapter {folder}: the tensor {name}.{part} is missing")
            taken[f"head.{layer}.{part}"] = tensors.pop(f"{name}.{part}")
    return taken


def name_head(adapter: Adapter, names: Mapping[str, str]) -> Parameters:
    """Return an adapter's head by the names that its layers have elsewhere."""
    return {
        f"{name}.{part}": adapter.parameters[f"head.{layer}.{part}"] for layer, name in names.items() for part in PARTS
    }


def refuse_others(tensors: Parameters, folder: Path) -> None:
    """Raise InputError where a tensor is left that would change what the adapter computes."""
    if tensors:
        name = min(tensors)
        raise InputError(f"adapter {folder}: the tensor {name!r} is none of a prompt with a classification head")


def name_classes(
    head: Parameters, known: Sequence[str] | None, given: Sequence[str] | None, where: str | Path
) -> tuple[str, ...]:
    """Return the classes of a head: those that are known, else those that are given, else `LABEL_0`, `LABEL_1`, ...

    Raises InputError where there are not as many as the head has, or where others are given than are known.
    """
    bias = head["head.out.bias"]
    if bias.ndim != 1 or not len(bias):
        raise InputError(f"adapter {where}: the bias of its head has the shape {list(bias.shape)}; wanted is [classes]")
    unknown = tuple(f"LABEL_{index}" for index in range(len(bias)))
    for names, source in ((known, SIDECAR), (given, "label_names")):
        if names is not None and len(names) != len(bias):
            raise InputError(
                f"adapter {where}: its head has {len(bias)} classes; {source} names {len(names)} ({' | '.join(names)})"
            )
    if given and known and tuple(known) not in (unknown, tuple(given)):
        raise InputError(
            f"adapter {where}: its classes are known to be {', '.join(known)}, in this order; "
            f"label_names cannot make them {', '.join(given)}"
        )
    return tuple(given or known or unknown)


def read_base_config(adapter: Adapter) -> BaseModelConfig:
    """Return the config.json of an adapter's backbone; InputError where it is not found, or of another size."""
    name = adapter.config.backbone
    file = find_config_file(name)
    base = build_config(BaseModelConfig, json.loads(file.read_text(encoding="utf-8")), str(file))
    if base.hidden_size != adapter.hidden_size:
        raise InputError(
            f"the adapter is for a backbone of hidden size {adapter.hidden_size}; {name} has {base.hidden_size}"
        )
    return base


def find_model_type(name: str | None) -> str | None:
    """Return a backbone's `model_type` where its config.json is on this machine, else None."""
    if not name:
        return None
    try:
        values = json.loads(find_config_file(name, local_only=True).read_text(encoding="utf-8"))
        return str(values["model_type"])
    except (InputError, OSError, ValueError, RecursionError, KeyError, TypeError):
        return None


def name_base(backbone: str) -> str:
    """Return what other tools load a backbone by: its hub name, or its folder; `e5-small` is a folder yet to write.

    A folder that lies on another machine keeps its name.
    """
    is_folder_here = is_path(backbone) and Path(find_location(backbone)).expanduser().is_dir()
    return str(find_folder(backbone)) if is_folder_here else backbone
