"""Adapters as folders of micm-nlp, the package of XPE's authors.

What a prompt is in that format `tunings/prompt/in_micm.py` says. The head lies behind `base_model.`, as transformers'
class for classification names it. micm-nlp reads the first position only.
"""

from collections.abc import Sequence
from pathlib import Path

from xpe_core.adapters.adapter import Adapter, check_classes, check_parameters
from xpe_core.adapters.layout import (
    BASE,
    CONFIG,
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
from xpe_core.adapters.peft_readme import copy_script, fill, quote, say_answers, say_base
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.pack import count_tokens, find_parts, reads
from xpe_core.readouts import READOUTS
from xpe_core.readouts.model_class import ModelClass
from xpe_core.stacked import Parameters
from xpe_core.tunings.prompt.in_micm import (
    README,
    TABLE,
    TYPE,
    MicmSettings,
    name_modules,
    name_prompt,
    read_fields,
    take_prompt,
    write_settings,
)
from xpe_core.validation import build_config


def write_micm(adapter: Adapter, folder: str | Path) -> str:
    """Write a folder that micm-nlp loads, and return a sentence that says so.

    Raises InputError where its classifiers cannot compute what the adapter does, or the backbone's config.json is not
    found.
    """
    backbone, prompt = adapter.config.backbone, take_prompt(adapter.config)
    check_classes(adapter, "micm-nlp's format")
    _check_readout(adapter.config)
    settings = write_settings(prompt, adapter.hidden_size)
    base = read_base_config(adapter)
    found, output = find_class(adapter, base.model_type)
    if output is None:
        raise InputError(
            f"backbone {backbone}: transformers' class for {base.model_type!r}, which micm-nlp uses, has another "
            f"head; allowed are {', '.join(found.outputs)}"
        )
    values = {
        "peft_type": TYPE,
        "task_type": found.task,
        "base_model_name_or_path": name_base(backbone),
        "inference_mode": True,
        "num_attention_heads": base.num_attention_heads,
        "num_layers": base.num_hidden_layers,
        **settings,
        "modules_to_save": [*name_modules(prompt), *output.modules_to_save],
    }
    tensors = {theirs: adapter.parameters[ours] for ours, theirs in name_prompt(prompt).items()}
    tensors |= {f"{BASE}{name}": value for name, value in name_head(adapter, output.layers).items()}
    write_folder(adapter, Path(folder), values, tensors, _write_readme(adapter, found))
    copy_script(backbone, Path(folder))
    return f"It is in micm-nlp's format (peft_type {TYPE})."


def read_micm(folder: str | Path, label_names: Sequence[str] | None = None) -> Adapter:
    """Return the adapter in a folder that micm-nlp (or `write_micm`) has saved.

    Its classes are those of `xpe_sweep.json`, else `label_names`, else `LABEL_0`, `LABEL_1`, ... Raises InputError
    where it is damaged, or no prompt with a classification head.
    """
    folder = Path(folder)
    settings = parse_settings(MicmSettings, read_config(folder), folder)
    described = read_sidecar(folder)
    tensors = read_weights(folder)
    tensors.pop(TABLE, None)
    readout = _find_readout(settings)
    head = take_head(tensors, readout, settings.base_model_name_or_path, folder)
    classes = name_classes(head, readout, described and described[0].label_names, label_names, folder)
    hidden_size = head[f"{readout}.{READOUTS[readout].hidden_weight}"].shape[-1]
    if settings.token_dim not in (None, hidden_size):
        raise InputError(
            f"adapter {folder}: {CONFIG}: token_dim={settings.token_dim}: its head is of size {hidden_size}"
        )
    config = _build_config(settings, described and described[1], hidden_size, folder)
    prompt = _take_tensors(tensors, name_prompt(take_prompt(config)), folder)
    refuse_others(tensors, folder)
    weights, facts = (described[0].backbone_weights, described[0].facts) if described else (None, {})
    return check_parameters(Adapter(config, classes, {**prompt, **head}, weights, facts), str(folder))


def _find_readout(settings: MicmSettings) -> str:
    """Return the name of the readout that micm-nlp's classifiers have."""
    found = find_readout(lambda one: one.task == settings.task_type)
    assert found is not None  # the settings allow one task
    return found[0]


def _check_readout(config: RunConfig) -> None:
    """Raise InputError where a run reads other states than micm-nlp does."""
    if (read := reads(config)) != "first":
        fields = find_parts(config)[1].read_as(read)
        shown = ", ".join(f"{name}={value}" for name, value in fields.items())
        raise InputError(f"{shown}: micm-nlp's classifiers read the first position")


def _build_config(settings: MicmSettings, trained: RunConfig | None, hidden_size: int, folder: Path) -> RunConfig:
    """Return what the settings say of the run, beside what else is known of it."""
    where = f"adapter {folder}: {CONFIG}"
    known = {name: value for name, value in trained.set_values.items() if name != "imported"} if trained else {}
    if settings.base_model_name_or_path and not trained:
        known["backbone"] = settings.base_model_name_or_path
    fields = read_fields(settings, hidden_size, where)
    return build_config(RunConfig, {**known, **fields, **READOUTS[_find_readout(settings)].read_as("first")}, where)


def _take_tensors(tensors: Parameters, names: dict[str, str], folder: Path) -> Parameters:
    """Move tensors out of a folder's and return them by our names; InputError where one is missing."""
    taken = {}
    for ours, theirs in names.items():
        if theirs not in tensors:
            raise InputError(f"adapter {folder}: the tensor {theirs} is missing")
        taken[ours] = tensors.pop(theirs)
    return taken


def _write_readme(adapter: Adapter, found: ModelClass) -> str:
    config = adapter.config
    base = name_base(config.backbone)
    return README.format(
        base=base,
        base_literal=quote(base),
        base_note=say_base(config.backbone),
        num_tokens=count_tokens(config),
        method=config.method.upper(),
        answers=say_answers(adapter, found),
        **fill(adapter, found),
    )
