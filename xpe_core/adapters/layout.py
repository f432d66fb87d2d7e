"""What the adapter folders of peft, of micm-nlp and of transformers have in common: their files, and their heads.

`adapter_config.json` says what the adapter is, `adapter_model.safetensors` holds its tensors. The layers of a readout
are saved as the modules of transformers' class (`readouts/*/in_transformers.py`) that they replace. The type of the
base model is looked at where its config.json is on this machine. A BERT adapter whose `modules_to_save` had no `pooler`
lacks half of its head: it stays the base model's, or random, and is not read.

Folders that this project writes also have `xpe_sweep.json`, the JSON in the header of its own format.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import safetensors.torch
from pydantic import BaseModel, ConfigDict

from xpe_core.adapters.adapter import Adapter
from xpe_core.adapters.safetensors_file import Description, describe, parse_description, read_tensors
from xpe_core.backbones.files import find_config_file, find_folder, is_path
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.fields import FieldValue
from xpe_core.json_types import JsonObject
from xpe_core.locations import find_location
from xpe_core.pack import find_parts
from xpe_core.readouts import READOUTS
from xpe_core.readouts.model_class import ModelClass, Output
from xpe_core.stacked import Parameters
from xpe_core.tasks import DEFAULT_TASK, TASKS
from xpe_core.tunings.peft_format import PeftSettings
from xpe_core.validation import build_config

CONFIG = "adapter_config.json"
"""What makes a folder an adapter of peft or of micm-nlp."""
WEIGHTS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"
SIDECAR = "xpe_sweep.json"
PARTS = ("weight", "bias")
BASE = "base_model."
"""What stands before the names of the model's modules."""


SINGLE_LABEL = "single_label_classification"
"""What transformers calls a choice of one class."""


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


def find_class(adapter: Adapter, model_type: str) -> tuple[ModelClass, Output | None]:
    """Return the class of transformers' that has an adapter's readout, and its layers there.

    None where the class for this type of encoders has others, or reads other states. InputError where no class has it.
    """
    readout = find_parts(adapter.config)[1]
    found = readout.in_transformers
    if found is None:
        raise InputError(f"transformers has no {readout.title}; allowed is the project's own format")
    return found, found.outputs.get(model_type) if readout.reads(adapter.config) == found.reads else None


def find_readout(fits: Callable[[ModelClass], bool]) -> tuple[str, ModelClass] | None:
    """Return the name and the class of the readout whose class fits, None where there is none."""
    classes = {name: readout.in_transformers for name, readout in READOUTS.items()}
    return next(((name, found) for name, found in classes.items() if found is not None and fits(found)), None)


def describe_readout(name: str) -> dict[str, FieldValue]:
    """Return the fields by which a run that was trained elsewhere has a readout: none where the first task has it."""
    task = next(task for task, asked in TASKS.items() if asked.asks == READOUTS[name].gives)
    return {} if task == DEFAULT_TASK else {"task": task, "readout": name}


def take_head(tensors: Parameters, name: str, base: str | None, folder: Path) -> Parameters:
    """Move the layers of a readout out of a folder's tensors and return them by our names.

    InputError where there are none of the class of transformers' that has it.
    """
    readout = READOUTS[name]
    assert (found := readout.in_transformers) is not None
    outputs = {output.modules_to_save: output for output in found.outputs.values()}.values()

    def count(output: Output) -> int:
        return sum(f"{BASE}{theirs}.weight" in tensors for theirs in output.layers.values())

    output = max(outputs, key=count)
    if not count(output):
        allowed = " or ".join(f"{BASE}{one.layers['out']}.weight" for one in outputs)
        raise InputError(f"adapter {folder}: it has no {readout.title}; allowed are those of transformers ({allowed})")
    model_type = find_model_type(base)
    if model_type not in (None, *found.outputs):
        raise InputError(
            f"adapter {folder}: its base model {base!r} is of the type {model_type!r}, whose class has another head; "
            f"allowed are {', '.join(found.outputs)}"
        )
    taken = {}
    for layer, theirs in output.layers.items():
        for part in PARTS:
            if f"{BASE}{theirs}.{part}" not in tensors:
                saved = ", ".join(output.modules_to_save)
                raise InputError(
                    f"adapter {folder}: the tensor {BASE}{theirs}.{part} is missing; a head is whole where all of its "
                    f"modules ({saved}) are in modules_to_save"
                )
            taken[f"{name}.{layer}.{part}"] = tensors.pop(f"{BASE}{theirs}.{part}")
    return taken


def name_head(adapter: Adapter, names: Mapping[str, str] | None = None) -> Parameters:
    """Return the tensors of an adapter's readout by the names that its layers have elsewhere, or else by our own."""
    start = f"{adapter.config.readout.readout}."
    own = {name.removeprefix(start): value for name, value in adapter.parameters.items() if name.startswith(start)}
    if names is None:
        return own
    return {f"{theirs}.{part}": own[f"{layer}.{part}"] for layer, theirs in names.items() for part in PARTS}


def check_problem(problem_type: object, num_outputs: int, where: str | Path) -> None:
    """Raise InputError where what transformers calls `problem_type` is none of one class out of several."""
    if problem_type not in (None, SINGLE_LABEL) or num_outputs < 2:
        what = f"problem_type={problem_type}" if problem_type not in (None, SINGLE_LABEL) else "a single output"
        raise InputError(f"adapter {where}: its model has {what}; allowed is one class out of several, {SINGLE_LABEL}")


def refuse_others(tensors: Parameters, folder: Path) -> None:
    """Raise InputError where a tensor is left that would change what the adapter computes."""
    if tensors:
        name = min(tensors)
        raise InputError(f"adapter {folder}: the tensor {name!r} is none of a prompt with a classification head")


def name_classes(
    head: Parameters, readout: str, known: Sequence[str] | None, given: Sequence[str] | None, where: str | Path
) -> tuple[str, ...]:
    """Return the classes of a head: those that are known, else those that are given, else `LABEL_0`, `LABEL_1`, ...

    There are none where answers are no classes. Raises InputError where there are not as many as the head has, or where
    others are given than are known.
    """
    if READOUTS[readout].gives != "class":
        return ()
    bias = head[f"{readout}.{READOUTS[readout].class_tensors[-1]}"]
    if bias.ndim != 1 or not len(bias):
        raise InputError(f"adapter {where}: the bias of its head has the shape {list(bias.shape)}; wanted is [classes]")
    if known is None:
        check_problem(None, len(bias), where)
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
