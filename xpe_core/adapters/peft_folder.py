"""Adapters as folders of the library peft, which it loads as it is.

What a tuning is in that format it says itself (`tunings/*/in_peft.py`). Where transformers' class for the backbone
has our head (`layout`) and the head reads the first position, the adapter is of the task SEQ_CLS and the head is in it.
Where it cannot be (`pooling: mean`; DeBERTa, ModernBERT), the adapter is of the task FEATURE_EXTRACTION, without a
head, which stands beside it in `head.safetensors` (dense.weight, dense.bias, out.weight, out.bias). Either way the
folder's README.md has the lines that load it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
from torch import Tensor

from xpe_core.adapters.adapter import Adapter, check_classes, check_parameters
from xpe_core.adapters.layout import (
    CLASS_PREFIXES,
    HEAD_READOUT,
    HEADS,
    MODULES_TO_SAVE,
    PARTS,
    SIDECAR,
    name_base,
    name_classes,
    name_head,
    parse_settings,
    read_base_config,
    read_config,
    read_sidecar,
    read_weights,
    refuse_others,
    take_head,
    write_folder,
)
from xpe_core.adapters.peft_readme import copy_script, write_readme
from xpe_core.adapters.safetensors_file import read_tensors
from xpe_core.backbones.backbone import find_module_names
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.json_types import Json
from xpe_core.pack import find_parts, reads
from xpe_core.readouts import READOUTS
from xpe_core.readouts.readout import States
from xpe_core.stacked import Parameters
from xpe_core.tunings import TUNINGS
from xpe_core.tunings.peft_format import PeftFormat, PeftPart, PeftSettings
from xpe_core.validation import build_config

PEFT_TUNINGS = {kind: name for name, tuning in TUNINGS.items() if tuning.peft for kind in tuning.peft.types}
"""Tunings by the `peft_type` that adapters of theirs have."""
BASE, WRAPPED = "base_model.", "base_model.model."
"""What stands before the names of the model's modules, in a model that peft only puts tokens before, and in others."""
HEAD_FILE = "head.safetensors"
HEAD = {"dense": "dense", "out": "out"}
"""What our layers are called in HEAD_FILE."""


def write_peft(adapter: Adapter, folder: str | Path) -> str:
    """Write a folder that peft loads, and return a sentence that says whether the head is part of what it loads.

    The backbone's config.json is read for the kind of its head; InputError where it is not found, or where peft has no
    format for the tuning.
    """
    folder = Path(folder)
    check_classes(adapter, "peft's format")
    format_of_tuning = _find_format(adapter.config)
    base = read_base_config(adapter)
    names = HEADS.get(base.model_type) if reads(adapter.config) == "first" else None

    def name_modules() -> dict[str, str]:
        prefix = f"{CLASS_PREFIXES[base.model_type]}." if names else ""
        return {key: prefix + module for key, module in find_module_names(adapter.config.backbone).items()}

    part = format_of_tuning.write(adapter.config, adapter.build_tuning(), name_modules)
    config: dict[str, Json] = {
        "peft_type": format_of_tuning.types[0],
        "task_type": "SEQ_CLS" if names else "FEATURE_EXTRACTION",
        "base_model_name_or_path": name_base(adapter.config.backbone),
        "inference_mode": True,
        **part.settings,
    }
    if not part.wraps:
        config |= {"num_attention_heads": base.num_attention_heads, "num_layers": base.num_hidden_layers}
    readme = write_readme(adapter, part, base.model_type, bool(names))
    folder.mkdir(parents=True, exist_ok=True)
    copy_script(adapter.config.backbone, folder)
    if names:
        config["modules_to_save"] = MODULES_TO_SAVE[base.model_type]
        tensors = _wrap({**part.tensors, **name_head(adapter, names)}, part)
        write_folder(adapter, folder, config, tensors, readme)
        return f"peft loads {part.name} and head, into AutoModelForSequenceClassification"
    (folder / HEAD_FILE).write_bytes(safetensors.torch.save(name_head(adapter, HEAD)))
    write_folder(adapter, folder, config, _wrap(part.tensors, part), readme)
    return f"peft loads {part.name}, into AutoModel; the head is beside it in {HEAD_FILE}, and README.md applies it"


def read_peft(folder: str | Path, label_names: Sequence[str] | None = None) -> Adapter:
    """Return the adapter in a folder that peft (or `write_peft`) has saved; a prompt as an SPT.

    Its classes are those of `xpe_sweep.json`, else `label_names`, else `LABEL_0`, `LABEL_1`, ... Raises InputError
    where it is damaged, of another method, or without a classification head.
    """
    folder = Path(folder)
    values = read_config(folder)
    settings = parse_settings(PeftSettings, values, folder)
    if settings.peft_type not in PEFT_TUNINGS:
        allowed = " and ".join(PEFT_TUNINGS)
        raise InputError(f"adapter {folder}: peft_type {settings.peft_type!r}: allowed are {allowed}")
    name = PEFT_TUNINGS[settings.peft_type]
    described = read_sidecar(folder)
    trained = described and described[1]
    tensors = {key.replace(WRAPPED, BASE, 1): value for key, value in read_weights(folder).items()}
    format_of_tuning = TUNINGS[name].peft
    assert format_of_tuning is not None
    fields = format_of_tuning.read(values, tensors, trained, f"adapter {folder}")
    read: States = "first"
    if settings.task_type == "SEQ_CLS":
        head = take_head(tensors, settings.base_model_name_or_path, folder)
    elif settings.task_type == "FEATURE_EXTRACTION" and trained and (folder / HEAD_FILE).is_file():
        head, read = read_head(folder), reads(trained)
    else:
        raise InputError(
            f"adapter {folder}: task_type {settings.task_type!r}: allowed is SEQ_CLS, "
            f"or FEATURE_EXTRACTION with {HEAD_FILE} and {SIDECAR} beside it"
        )
    refuse_others(tensors, folder)
    classes = name_classes(head, described and described[0].label_names, label_names, folder)
    known = {"backbone": settings.base_model_name_or_path} if settings.base_model_name_or_path else {}
    own = {key: value for key, value in fields.values.items() if key != "imported"}
    config = build_config(RunConfig, {**known, **own, **READOUTS[HEAD_READOUT].read_as(read)}, f"adapter {folder}")
    facts = dict(described[0].facts) if described else {}
    if described and not fields.is_whole:
        facts["exported_from"] = described[0].fingerprint
    weights = described[0].backbone_weights if described else None
    parameters = {f"{name}.{key}": value for key, value in fields.parameters.items()}
    return check_parameters(Adapter(config, classes, {**parameters, **head}, weights, facts), str(folder))


def _find_format(config: RunConfig) -> PeftFormat:
    """Return how a run's tuning is written; InputError where peft has no format for it."""
    tuning, _ = find_parts(config)
    if tuning.peft is None:
        raise InputError(
            f"tuning={config.tuning.tuning}: it is not written in peft's format; allowed are "
            f"{', '.join(dict.fromkeys(PEFT_TUNINGS.values()))}, or the project's own format"
        )
    return tuning.peft


def _wrap(tensors: Mapping[str, Tensor], part: PeftPart) -> Parameters:
    """Return tensors by the names that they have in peft's file."""
    return {key.replace(BASE, WRAPPED, 1) if part.wraps else key: value for key, value in tensors.items()}


def read_head(folder: Path) -> Parameters:
    """Return a head that stands in a file of its own, by our names; InputError where it is not whole."""
    tensors, _ = read_tensors(folder / HEAD_FILE)
    names = {f"head.{layer}.{part}": f"{name}.{part}" for layer, name in HEAD.items() for part in PARTS}
    for name in names.values():
        if name not in tensors:
            raise InputError(f"adapter {folder / HEAD_FILE}: the tensor {name} is missing")
    return {ours: tensors[name] for ours, name in names.items()}
