"""Adapters as folders of the library peft, which it loads as it is: at inference any prompt is a fixed table.

SPT, XPE and DUAL are all written as peft's PROMPT_TUNING, the virtual tokens as one tensor `prompt_embeddings` [P, H].
Where transformers' class for the backbone has our head (`layout`) and the head reads the first position, the adapter is
of the task SEQ_CLS and the head is in it. Where it cannot be (`pooling: mean`; DeBERTa, ModernBERT), the adapter is of
the task FEATURE_EXTRACTION, without a head, which stands beside it in `head.safetensors` (dense.weight, dense.bias,
out.weight, out.bias). Either way the folder's README.md has the lines that load it.

Read are PROMPT_TUNING and peft's own P_TUNING, whose encoder is gone from what it saves. The prompt is then an SPT,
whatever it was trained as. P virtual tokens, H the backbone's hidden size.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch

from xpe_core.adapters.adapter import Adapter, check_parameters
from xpe_core.adapters.layout import (
    HEADS,
    MODULES_TO_SAVE,
    PARTS,
    SIDECAR,
    PromptSettings,
    check_size,
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
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.pack import Parameters, reads
from xpe_core.validation import build_config

PROMPT = "prompt_embeddings"
HEAD_FILE = "head.safetensors"
HEAD = {"dense": "dense", "out": "out"}
"""What our layers are called in HEAD_FILE."""


def write_peft(adapter: Adapter, folder: str | Path) -> str:
    """Write a folder that peft loads, and return a sentence that says whether the head is part of what it loads.

    The backbone's config.json is read for the kind of its head; InputError where it is not found.
    """
    folder = Path(folder)
    base = read_base_config(adapter)
    names = HEADS.get(base["model_type"]) if reads(adapter.config) == "first" else None
    table = adapter.virtual_tokens()
    config: dict[str, Any] = {
        "peft_type": "PROMPT_TUNING",
        "task_type": "SEQ_CLS" if names else "FEATURE_EXTRACTION",
        "base_model_name_or_path": name_base(adapter.config.backbone),
        "inference_mode": True,
        "num_virtual_tokens": len(table),
        "token_dim": adapter.hidden_size,
        "num_transformer_submodules": 1,
        "num_attention_heads": base.get("num_attention_heads"),
        "num_layers": base.get("num_hidden_layers"),
        "prompt_tuning_init": "RANDOM",
    }
    readme = write_readme(adapter, base["model_type"], bool(names))
    folder.mkdir(parents=True, exist_ok=True)
    copy_script(adapter.config.backbone, folder)
    if names:
        config["modules_to_save"] = MODULES_TO_SAVE[base["model_type"]]
        write_folder(adapter, folder, config, {PROMPT: table, **name_head(adapter, names)}, readme)
        return "peft loads prompt and head, into AutoModelForSequenceClassification"
    (folder / HEAD_FILE).write_bytes(safetensors.torch.save(name_head(adapter, HEAD)))
    write_folder(adapter, folder, config, {PROMPT: table}, readme)
    return f"peft loads the prompt, into AutoModel; the head is beside it in {HEAD_FILE}, and README.md applies it"


def read_peft(folder: str | Path, label_names: Sequence[str] | None = None) -> Adapter:
    """Return the adapter in a folder that peft (or `write_peft`) has saved, as an SPT.

    Its classes are those of `xpe_sweep.json`, else `label_names`, else `LABEL_0`, `LABEL_1`, ... Raises InputError
    where it is damaged, of another method, or no prompt with a classification head.
    """
    folder = Path(folder)
    settings = parse_settings(PromptSettings, read_config(folder), folder)
    if settings.peft_type not in ("PROMPT_TUNING", "P_TUNING"):
        raise InputError(f"adapter {folder}: peft_type {settings.peft_type!r}: allowed are PROMPT_TUNING and P_TUNING")
    described = read_sidecar(folder)
    tensors = read_weights(folder)
    if PROMPT not in tensors:
        raise InputError(f"adapter {folder}: the tensor {PROMPT} is missing")
    table = tensors.pop(PROMPT)
    check_size(settings, table, folder)
    pooling = "first"
    if settings.task_type == "SEQ_CLS":
        head = take_head(tensors, settings.base_model_name_or_path, folder)
    elif settings.task_type == "FEATURE_EXTRACTION" and described and (folder / HEAD_FILE).is_file():
        head, pooling = _read_head(folder), reads(described[1])
    else:
        raise InputError(
            f"adapter {folder}: task_type {settings.task_type!r}: allowed is SEQ_CLS, "
            f"or FEATURE_EXTRACTION with {HEAD_FILE} and {SIDECAR} beside it"
        )
    refuse_others(tensors, folder)
    classes = name_classes(head, described and described[0].label_names, label_names, folder)
    values = _find_known(described and described[1], settings)
    values |= {"num_virtual_tokens": settings.num_virtual_tokens, "encoder_ratio": 0.0, "pooling": pooling}
    config = build_config(RunConfig, values, f"adapter {folder}")
    facts = dict(described[0].facts) if described else {}
    if described and described[1].method != "spt":
        facts["exported_from"] = described[0].fingerprint
    weights = described[0].backbone_weights if described else None
    adapter = Adapter(config, classes, {"prompt.embedding.weight": table, **head}, weights, facts)
    return check_parameters(adapter, str(folder))


def _find_known(trained: RunConfig | None, settings: PromptSettings) -> dict[str, Any]:
    """Return what is known of the run; of an encoder nothing, since it is no part of what was read."""
    if trained is None:
        return {"backbone": settings.base_model_name_or_path} if settings.base_model_name_or_path else {}
    known = {name: value for name, value in trained.set_values.items() if name != "imported"}
    if trained.method == "spt":
        return known
    return {name: value for name, value in known.items() if not name.startswith("encoder_")}


def _read_head(folder: Path) -> Parameters:
    tensors, _ = read_tensors(folder / HEAD_FILE)
    names = {f"head.{layer}.{part}": f"{name}.{part}" for layer, name in HEAD.items() for part in PARTS}
    for name in names.values():
        if name not in tensors:
            raise InputError(f"adapter {folder / HEAD_FILE}: the tensor {name} is missing")
    return {ours: tensors[name] for ours, name in names.items()}
