"""Fully fine-tuned runs as folders of transformers, which it loads as they are, without this project and without peft.

Where transformers' class for the backbone has our readout (`readouts/*/in_transformers.py`) and reads what it reads,
the folder is of that class. Elsewhere (`pooling: mean`; a head on DeBERTa or ModernBERT) it is of the encoder alone
(AutoModel), and the head stands beside it in `head.safetensors`. Folders of these classes that other tools have written
are read, too.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
import transformers
from transformers import AutoConfig, AutoModel, PreTrainedConfig

from xpe_core.adapters.adapter import Adapter, check_parameters
from xpe_core.adapters.layout import (
    PARTS,
    SIDECAR,
    check_problem,
    describe_readout,
    find_class,
    find_readout,
    name_classes,
    name_head,
    read_sidecar,
    write_sidecar,
)
from xpe_core.adapters.peft_folder import HEAD_FILE, read_head
from xpe_core.adapters.safetensors_file import read_tensors
from xpe_core.adapters.transformers_readme import write_readme
from xpe_core.backbones.backbone import POOLER, load_tokenizer, read_config
from xpe_core.backbones.files import first_line, silence_libraries
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.readouts import READOUTS
from xpe_core.readouts.model_class import ModelClass, Output
from xpe_core.stacked import Parameters
from xpe_core.tunings import TUNINGS, is_alone
from xpe_core.validation import build_config

CONFIG = "config.json"
"""What makes a folder one of transformers."""
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
    folder = Path(folder)
    config = read_config(adapter.config.backbone)
    found, output = find_class(adapter, config.model_type)
    weights = take_weights(adapter)
    folder.mkdir(parents=True, exist_ok=True)
    if output:
        whole = {f"{output.encoder}.{name}": value for name, value in weights.items()}
        _save(folder, config, {**whole, **name_head(adapter, output.layers)}, adapter.label_names, found)
    else:
        _save(folder, config, weights, (), None)
        (folder / HEAD_FILE).write_bytes(safetensors.torch.save(name_head(adapter)))
    load_tokenizer(adapter.config.backbone).save_pretrained(folder)
    readme = write_readme(adapter, found, is_whole=bool(output))
    (folder / "README.md").write_text(readme, encoding="utf-8")
    write_sidecar(adapter, folder)
    if output:
        return f"transformers loads all of it, into {found.name}"
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
    readout = described[1].readout.readout if described else _find_foreign(config, folder)
    assert (found := READOUTS[readout].in_transformers) is not None
    if (folder / HEAD_FILE).is_file() and described:
        head, weights = read_head(folder, readout), tensors
    elif kind in found.outputs:
        head, weights = _split(tensors, readout, found.outputs[kind], folder)
    else:
        raise InputError(
            f"adapter {folder}: its class of a {kind!r} has another head; allowed are those of "
            f"{', '.join(found.outputs)}"
        )
    known = described[1].set_values if described else _describe_foreign(folder, readout, found)
    run = build_config(RunConfig, known, f"adapter {folder}")
    classes = described[0].label_names if described else _read_classes(config)
    parameters = {f"{run.tuning.tuning}.{name}": value for name, value in weights.items()}
    labels = name_classes(head, readout, classes, label_names, folder)
    fingerprint = described[0].backbone_weights if described else None
    facts = dict(described[0].facts) if described else {}
    return check_parameters(Adapter(run, labels, {**parameters, **head}, fingerprint, facts), str(folder))


def _save(
    folder: Path, base: PreTrainedConfig, tensors: Parameters, labels: Sequence[str], found: ModelClass | None
) -> None:
    """Save a model of transformers with these weights: of the class with the readout, or the encoder alone."""
    config = type(base).from_dict({**base.to_dict(), "_name_or_path": ""})
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {name: index for index, name in enumerate(labels)}
    elif found:
        config.num_labels = 2  # a start and an end
    kind = getattr(transformers, found.name) if found else AutoModel
    with silence_libraries(), torch.device("meta"):
        model = kind.from_config(config, dtype=torch.float32)
    if found is None and getattr(model, "pooler", None) is not None:
        model.pooler = None
    model.load_state_dict(tensors, strict=True, assign=True)
    with silence_libraries():
        model.save_pretrained(folder)


def _split(
    tensors: Mapping[str, torch.Tensor], readout: str, output: Output, folder: Path
) -> tuple[Parameters, Parameters]:
    """Return the head by our names, and the encoder's weights by their names in the model."""
    tensors, title = dict(tensors), READOUTS[readout].title
    head: Parameters = {}
    for ours, theirs in output.layers.items():
        for part in PARTS:
            name = f"{theirs}.{part}"
            if name not in tensors:
                raise InputError(f"adapter {folder}: it has no {title}: the tensor {name} is missing")
            head[f"{readout}.{ours}.{part}"] = tensors.pop(name)
    prefix = f"{output.encoder}."
    kept = {name: value for name, value in tensors.items() if not name.startswith(OTHERS)}
    if other := sorted(name for name in kept if not name.startswith(prefix)):
        raise InputError(f"adapter {folder}: the tensor {other[0]!r} is none of an encoder with a {title}")
    return head, {name.removeprefix(prefix): value for name, value in kept.items()}


def _read_config(folder: Path) -> PreTrainedConfig:
    try:
        with silence_libraries():
            return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # broken JSON, an unknown model type, or one that wants its own code run
        raise InputError(
            f"adapter {folder}: {CONFIG} is no configuration that transformers knows: {first_line(error)}"
        ) from error


def _find_foreign(config: PreTrainedConfig, folder: Path) -> str:
    """Return the readout of a model that other tools have trained; `is_transformers` has found one.

    InputError where its outputs are no single class.
    """
    check_problem(config.problem_type, config.num_labels, folder)
    names = config.architectures or []
    found = find_readout(lambda one: any(name.endswith(one.ending) for name in names))
    assert found is not None
    return found[0]


def _describe_foreign(folder: Path, readout: str, found: ModelClass) -> dict[str, object]:
    """Return what is known of a model that other tools have trained."""
    known = {"backbone": str(folder), "tuning": OWNING, "readout": readout, **describe_readout(readout)}
    return {**known, **READOUTS[readout].read_as(found.reads)}


def _read_classes(config: PreTrainedConfig) -> tuple[str, ...]:
    return tuple(config.id2label[index] for index in range(config.num_labels))


def is_transformers(folder: Path) -> bool:
    """Whether a folder is a model that transformers, or `write_transformers`, has saved with a readout of ours."""
    if (folder / SIDECAR).is_file() and (folder / CONFIG).is_file():
        return True
    try:
        values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    classes = values.get("architectures") if isinstance(values, dict) else None
    if not isinstance(classes, list):
        return False
    return find_readout(lambda one: any(str(name).endswith(one.ending) for name in classes)) is not None
