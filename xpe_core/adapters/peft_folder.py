"""Adapters as folders of the library peft, which it loads as it is.

What a tuning is in that format it says itself (`tunings/*/in_peft.py`), and so does a readout
(`readouts/*/in_transformers.py`). Where transformers' class for the backbone has our readout and reads what it reads,
the adapter is of that class's task, such as SEQ_CLS, and the head is in it. Where it cannot be (`pooling: mean`; a head
on DeBERTa or ModernBERT; spans behind a prompt), the adapter is of the task FEATURE_EXTRACTION, without a head, which
stands beside it in `head.safetensors` by our names. Either way the folder's README.md has the lines that load it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
from torch import Tensor

from xpe_core.adapters.adapter import Adapter, check_parameters
from xpe_core.adapters.layout import (
    BASE,
    SIDECAR,
    describe_readout,
    find_class,
    find_readout,
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
from xpe_core.adapters.peft_readme import copy_script, has_types_of_texts, write_readme
from xpe_core.adapters.safetensors_file import read_tensors
from xpe_core.backbones.backbone import find_module_names
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.fields import FieldValue
from xpe_core.json_types import Json
from xpe_core.pack import find_parts, reads
from xpe_core.readouts import READOUTS
from xpe_core.readouts.model_class import ModelClass, Output
from xpe_core.stacked import Parameters
from xpe_core.tunings import TUNINGS
from xpe_core.tunings.peft_format import PeftFormat, PeftSettings
from xpe_core.validation import build_config

PEFT_TUNINGS = {kind: name for name, tuning in TUNINGS.items() if tuning.peft for kind in tuning.peft.types}
"""Tunings by the `peft_type` that adapters of theirs have."""
WRAPPED = "base_model.model."
"""What stands before the names of the model's modules, instead of BASE, where peft puts modules of its own into it."""
HEAD_FILE = "head.safetensors"
ALONE = "FEATURE_EXTRACTION"
"""The task of adapters without a head."""


def write_peft(adapter: Adapter, folder: str | Path) -> str:
    """Write a folder that peft loads, and return a sentence that says whether the head is part of what it loads.

    The backbone's config.json is read for the kind of its head; InputError where it is not found, or where peft has no
    format for the tuning.
    """
    folder = Path(folder)
    format_of_tuning = _find_format(adapter.config)
    base = read_base_config(adapter)
    found, output = find_class(adapter, base.model_type)
    why_beside = _explain_beside(adapter.config, base.model_type, found, output, format_of_tuning)
    whole = output if why_beside is None else None

    def name_modules() -> dict[str, str]:
        prefix = f"{whole.encoder}." if whole else ""
        return {key: prefix + module for key, module in find_module_names(adapter.config.backbone).items()}

    part = format_of_tuning.write(adapter.config, adapter.build_tuning(), name_modules)
    config: dict[str, Json] = {
        "peft_type": format_of_tuning.types[0],
        "task_type": found.task if whole else ALONE,
        "base_model_name_or_path": name_base(adapter.config.backbone),
        "inference_mode": True,
        **part.settings,
    }
    if not format_of_tuning.wraps:
        config |= {"num_attention_heads": base.num_attention_heads, "num_layers": base.num_hidden_layers}
    readme = write_readme(adapter, part, base.model_type, found, why_beside)
    folder.mkdir(parents=True, exist_ok=True)
    copy_script(adapter.config.backbone, folder)
    if whole:
        config["modules_to_save"] = list(whole.modules_to_save)
        head = {f"{BASE}{name}": value for name, value in name_head(adapter, whole.layers).items()}
        tensors = _wrap({**part.tensors, **head}, format_of_tuning)
        write_folder(adapter, folder, config, tensors, readme)
        return f"peft loads {part.name} and head, into {found.name}"
    (folder / HEAD_FILE).write_bytes(safetensors.torch.save(name_head(adapter)))
    write_folder(adapter, folder, config, _wrap(part.tensors, format_of_tuning), readme)
    return f"peft loads {part.name}, into AutoModel; the head is beside it in {HEAD_FILE}, and README.md applies it"


def read_peft(folder: str | Path, label_names: Sequence[str] | None = None) -> Adapter:
    """Return the adapter in a folder that peft (or `write_peft`) has saved; a prompt as an SPT.

    Its classes are those of `xpe_sweep.json`, else `label_names`, else `LABEL_0`, `LABEL_1`, ... Raises InputError
    where it is damaged, of another method, or without a head.
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
    found = find_readout(lambda one: one.task == settings.task_type)
    if found is not None:
        readout, read = found[0], found[1].reads
        head = take_head(tensors, readout, settings.base_model_name_or_path, folder)
    elif settings.task_type == ALONE and trained and (folder / HEAD_FILE).is_file():
        readout, read = trained.readout.readout, reads(trained)
        head = read_head(folder, readout)
    else:
        allowed = ", ".join(one.in_transformers.task for one in READOUTS.values() if one.in_transformers)
        raise InputError(
            f"adapter {folder}: task_type {settings.task_type!r}: allowed is {allowed}, "
            f"or {ALONE} with {HEAD_FILE} and {SIDECAR} beside it"
        )
    refuse_others(tensors, folder)
    classes = name_classes(head, readout, described and described[0].label_names, label_names, folder)
    known: dict[str, FieldValue] = (
        {"backbone": settings.base_model_name_or_path} if settings.base_model_name_or_path else {}
    )
    own = {key: value for key, value in fields.values.items() if key != "imported"}
    known |= describe_readout(readout)
    config = build_config(RunConfig, {**known, **own, **READOUTS[readout].read_as(read)}, f"adapter {folder}")
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


def _explain_beside(
    config: RunConfig, model_type: str, found: ModelClass, output: Output | None, tuning: PeftFormat
) -> str | None:
    """Return why the head is not part of what peft loads; None where it is."""
    if reads(config) != found.reads:
        return "it reads the mean over prompt and text, where transformers' classes read the first position"
    if output is None:
        return f"the class of a `{model_type}` has another one"
    if found.reads == "text" and not tuning.wraps:
        return "with peft that class answers for what stands before the text, too"
    if not found.takes_types and has_types_of_texts(config):
        return "peft does not tell that class which of the two texts a token is of"
    return None


def _wrap(tensors: Mapping[str, Tensor], tuning: PeftFormat) -> Parameters:
    """Return tensors by the names that they have in peft's file."""
    return {key.replace(BASE, WRAPPED, 1) if tuning.wraps else key: value for key, value in tensors.items()}


def read_head(folder: Path, readout: str) -> Parameters:
    """Return a head that stands in a file of its own, by our names."""
    tensors, _ = read_tensors(folder / HEAD_FILE)
    return {f"{readout}.{name}": value for name, value in tensors.items()}
