"""Fully fine-tuned runs as folders of transformers, which it loads as they are, without this project and without peft.

Where the backbone's `...ForSequenceClassification` has our head (`layout`) and the head reads the first position, the
folder is of that class. Elsewhere (`pooling: mean`; DeBERTa, ModernBERT) it is of the encoder alone (AutoModel), and
the head stands beside it in `head.safetensors`. Folders of these classes that other tools have written are read, too.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, PreTrainedConfig

from xpe_core.adapters.adapter import Adapter, check_classes, check_parameters
from xpe_core.adapters.layout import (
    CLASS_PREFIXES,
    HEAD_READOUT,
    HEADS,
    SIDECAR,
    name_classes,
    name_head,
    read_sidecar,
    write_sidecar,
)
from xpe_core.adapters.peft_folder import HEAD, HEAD_FILE, read_head
from xpe_core.adapters.peft_readme import write_tokenizing
from xpe_core.adapters.safetensors_file import read_tensors
from xpe_core.adapters.transformers_readme import write_readme
from xpe_core.backbones.backbone import POOLER, load_tokenizer, read_config
from xpe_core.backbones.files import first_line, silence_libraries
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.pack import reads
from xpe_core.readouts import READOUTS
from xpe_core.stacked import Parameters
from xpe_core.tunings import TUNINGS, is_alone
from xpe_core.validation import build_config

CONFIG = "config.json"
"""What makes a folder one of transformers."""
PREFIX = "base_model."
"""What stands before the names of a class's modules in `HEADS`."""
OWNING = next(name for name, tuning in TUNINGS.items() if tuning.sharing == "alone")
"""The tuning of runs that have all weights."""
OTHERS = (f"bert.{POOLER}", f"roberta.{POOLER}", POOLER)
"""How the names of weights begin that no class with our head reads, if they are not the head's."""


def write_transformers(adapter: Adapter, folder: str | Path) -> str:
    """Write a folder that transformers loads, and return a sentence that says whether the head is in what it loads.

    The backbone's config.json and tokenizer are read; InputError where the run has not all weights of its own.
    """
    if not is_alone(adapter.config):
        raise InputError(
            f"tuning={adapter.config.tuning.tuning}: it changes an encoder that stays as it is, and is no model of "
            "transformers; allowed are peft, micm and own"
        )
    check_classes(adapter, "transformers' format")
    folder = Path(folder)
    config = read_config(adapter.config.backbone)
    names = HEADS.get(config.model_type) if reads(adapter.config) == "first" else None
    weights = take_weights(adapter)
    folder.mkdir(parents=True, exist_ok=True)
    if names:
        prefix = CLASS_PREFIXES[config.model_type]
        head = {name.removeprefix(PREFIX): value for name, value in name_head(adapter, names).items()}
        _save(folder, config, {**{f"{prefix}.{name}": value for name, value in weights.items()}, **head}, adapter)
    else:
        _save(folder, config, weights, None)
        (folder / HEAD_FILE).write_bytes(safetensors.torch.save(name_head(adapter, HEAD)))
    load_tokenizer(adapter.config.backbone).save_pretrained(folder)
    readme = write_readme(adapter, write_tokenizing(adapter.config), reads(adapter.config), bool(names))
    (folder / "README.md").write_text(readme, encoding="utf-8")
    write_sidecar(adapter, folder)
    if names:
        return "transformers loads all of it, into AutoModelForSequenceClassification"
    return f"transformers loads the encoder, into AutoModel; the head is beside it in {HEAD_FILE}, README.md applies it"


def take_weights(adapter: Adapter) -> Parameters:
    """Return the encoder's weights by their names in the model."""
    start = f"{adapter.config.tuning.tuning}."
    return {
        name.removeprefix(start): value.contiguous()
        for name, value in adapter.parameters.items()
        if name.startswith(start)
    }


def read_transformers(folder: str | Path, label_names: Sequence[str] | None = None) -> Adapter:
    """Return the run in a folder that `write_transformers`, or transformers, has saved.

    Its classes are those of `xpe_sweep.json`, else of `id2label`, else `label_names`. Raises InputError where it is
    damaged, or of a class that has another head.
    """
    folder = Path(folder)
    described = read_sidecar(folder)
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise InputError(f"adapter {folder}: there is {CONFIG}, but no model.safetensors")
    tensors: Parameters = {}
    for file in files:
        tensors |= read_tensors(file)[0]
    config = _read_config(folder)
    kind = config.model_type
    if (folder / HEAD_FILE).is_file() and described:
        head, weights = read_head(folder), tensors
    elif kind in HEADS:
        head, weights = _split(tensors, HEADS[kind], f"{CLASS_PREFIXES[kind]}.", folder)
    else:
        raise InputError(
            f"adapter {folder}: its class of a {kind!r} has another head; allowed are those of {', '.join(HEADS)}"
        )
    known = described[1].set_values if described else _describe_foreign(folder)
    run = build_config(RunConfig, known, f"adapter {folder}")
    classes = described[0].label_names if described else _read_classes(config)
    parameters = {f"{run.tuning.tuning}.{name}": value for name, value in weights.items()}
    labels = name_classes(head, classes, label_names, folder)
    fingerprint = described[0].backbone_weights if described else None
    facts = dict(described[0].facts) if described else {}
    return check_parameters(Adapter(run, labels, {**parameters, **head}, fingerprint, facts), str(folder))


def _save(folder: Path, base: PreTrainedConfig, tensors: Parameters, adapter: Adapter | None) -> None:
    """Save a model of transformers with these weights: of the class with the adapter's head, or the encoder alone."""
    config = type(base).from_dict({**base.to_dict(), "_name_or_path": ""})
    if adapter is not None:
        config.id2label = dict(enumerate(adapter.label_names))
        config.label2id = {name: index for index, name in enumerate(adapter.label_names)}
    kind = AutoModel if adapter is None else AutoModelForSequenceClassification
    with silence_libraries(), torch.device("meta"):
        model = kind.from_config(config, dtype=torch.float32)
    if adapter is None and getattr(model, "pooler", None) is not None:
        model.pooler = None
    model.load_state_dict(tensors, strict=True, assign=True)
    with silence_libraries():
        model.save_pretrained(folder)


def _split(tensors: Parameters, names: Mapping[str, str], prefix: str, folder: Path) -> tuple[Parameters, Parameters]:
    """Return the head by our names, and the encoder's weights by their names in the model."""
    tensors = dict(tensors)
    head: Parameters = {}
    for ours, theirs in names.items():
        for part in ("weight", "bias"):
            name = f"{theirs.removeprefix(PREFIX)}.{part}"
            if name not in tensors:
                raise InputError(f"adapter {folder}: it has no classification head: the tensor {name} is missing")
            head[f"head.{ours}.{part}"] = tensors.pop(name)
    kept = {name: value for name, value in tensors.items() if not name.startswith(OTHERS)}
    if other := sorted(name for name in kept if not name.startswith(prefix)):
        raise InputError(f"adapter {folder}: the tensor {other[0]!r} is none of an encoder with a classification head")
    return head, {name.removeprefix(prefix): value for name, value in kept.items()}


def _read_config(folder: Path) -> PreTrainedConfig:
    try:
        with silence_libraries():
            return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # broken JSON, an unknown model type, or one that wants its own code run
        raise InputError(
            f"adapter {folder}: {CONFIG} is no configuration that transformers knows: {first_line(error)}"
        ) from error


def _describe_foreign(folder: Path) -> dict[str, object]:
    """Return what is known of a model that other tools have trained."""
    return {
        "backbone": str(folder),
        "tuning": OWNING,
        "readout": HEAD_READOUT,
        **READOUTS[HEAD_READOUT].read_as("first"),
    }


def _read_classes(config: PreTrainedConfig) -> tuple[str, ...]:
    return tuple(config.id2label[index] for index in range(config.num_labels))


def is_transformers(folder: Path) -> bool:
    """Whether a folder is a model that transformers, or `write_transformers`, has saved with a classification head."""
    if (folder / SIDECAR).is_file() and (folder / CONFIG).is_file():
        return True
    try:
        values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    classes = values.get("architectures") if isinstance(values, dict) else None
    return isinstance(classes, list) and any("ForSequenceClassification" in str(name) for name in classes)
