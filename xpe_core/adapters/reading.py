"""Where an adapter lies, and in which format."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from xpe_core.adapters.adapter import Adapter
from xpe_core.adapters.hub import find_on_hub, is_on_hub
from xpe_core.adapters.layout import CONFIG, name_classes, read_config
from xpe_core.adapters.micm_folder import read_micm
from xpe_core.adapters.peft_folder import PEFT_TUNINGS, read_peft
from xpe_core.adapters.safetensors_file import read_file
from xpe_core.adapters.transformers_folder import is_transformers, read_transformers
from xpe_core.errors import InputError
from xpe_core.readouts import READOUTS
from xpe_core.tunings.prompt.in_micm import TYPE as MICM_TYPE
from xpe_core.tunings.prompt.in_micm import is_micm

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def read_adapter(source: str | Path, label_names: Sequence[str] | None = None) -> Adapter:
    """Return an adapter from a file of this project, or a folder of peft's or micm-nlp's; nothing in it is executed.

    Either may be on the hub, as `hub:USER/NAME` or `hub:USER/NAME@REVISION`.
    `label_names` are the classes in the order of the logits, for an adapter that does not say them. Raises InputError
    where there is none, it is damaged, it is not a prompt with a classification head, or its classes are others.
    """
    path = find_on_hub(str(source)) if is_on_hub(source) else Path(source).expanduser()
    if path.is_file():
        return _read_file(path, label_names)
    if not path.is_dir():
        raise InputError(f"adapter {source}: there is no such file or folder")
    if (path / CONFIG).is_file():
        return _read_folder(path, label_names)
    if is_transformers(path):
        return read_transformers(path, label_names)
    files = sorted(path.glob("*.safetensors"))
    if len(files) == 1:
        return _read_file(files[0], label_names)
    if files:
        names = ", ".join(file.name for file in files[:3])
        raise InputError(f"adapter {source}: the folder holds {len(files)} adapters ({names}, ...); name one of them")
    if pickles := [file.name for file in sorted(path.iterdir()) if file.suffix in PICKLED]:
        raise InputError(f"adapter {source}: it holds only a pickle ({pickles[0]}); adapters are read from safetensors")
    below = [child.name for child in sorted(path.iterdir()) if child.is_dir() and _is_adapter(child)]
    hint = f"; below it are {', '.join(below[:3])}{', ...' if len(below) > 3 else ''}: name one" if below else ""
    raise InputError(f"adapter {source}: the folder holds neither {CONFIG} nor a .safetensors file{hint}")


def _is_adapter(folder: Path) -> bool:
    return (folder / CONFIG).is_file() or is_transformers(folder) or any(folder.glob("*.safetensors"))


def _read_file(path: Path, label_names: Sequence[str] | None) -> Adapter:
    if path.suffix in PICKLED:
        raise InputError(f"adapter {path}: a pickle is never opened; adapters are read from safetensors only")
    adapter = read_file(path)
    name = adapter.config.readout.readout
    if READOUTS[name].in_transformers is None:  # its classes are known
        return adapter
    classes = name_classes(adapter.parameters, name, adapter.label_names, label_names, path)
    return replace(adapter, label_names=classes)


def _read_folder(folder: Path, label_names: Sequence[str] | None) -> Adapter:
    values = read_config(folder)
    if is_micm(values):
        return read_micm(folder, label_names)
    kind = values.get("peft_type")
    if isinstance(kind, str) and kind in PEFT_TUNINGS:
        return read_peft(folder, label_names)
    raise InputError(
        f"adapter {folder}: peft_type {kind!r}: allowed are {', '.join(PEFT_TUNINGS)} and {MICM_TYPE}, "
        "with a classification head"
    )
