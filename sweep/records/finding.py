"""Experiments by what people call them: a name below the storage, a folder, a file of it, or an address."""

import difflib
import os
from importlib.resources import files
from pathlib import Path

import yaml

from sweep.records.specification import FILE
from sweep.storage import Folder
from sweep.storage.names import normalise_name
from sweep.storage.object_storage import is_object_storage
from xpe_core.errors import InputError

MAX_NAMES = 12
SAY_WHERE = "say where with --storage DIR"


def find_experiments(storage: str) -> list[Folder]:
    """Return the folders below a storage that hold an experiment."""
    above = Folder(storage)
    if above.path is not None and not os.path.isdir(above.path):
        return []
    folders = [above / name for name in above.folders()]
    return [folder for folder in folders if _is_experiment(folder)]


def find_experiment(storage: str, name: str) -> Folder:
    """Return an experiment's folder, given its name below the storage, its own folder, or its YAML file.

    InputError where there is none, with what is there.
    """
    wanted = name.strip().rstrip("/")
    for folder in [*_places(storage, normalise_name(wanted)), *_places(storage, wanted)]:
        if _is_experiment(folder):
            return folder
    raise InputError(_explain(storage, name, wanted))


def refuse_empty(storage: str) -> None:
    """Raise InputError for a storage in which there is no experiment."""
    raise InputError(_say_storage(storage) or f"storage {storage} holds no experiment; {SAY_WHERE}")


def _places(storage: str, wanted: str) -> list[Folder]:
    """Return where an experiment of that name may lie, the most likely place first."""
    if not wanted:
        return []
    if is_object_storage(wanted):
        return [Folder(wanted)]
    path = Path(wanted).expanduser()
    below = [] if path.is_absolute() else [Folder(storage) / wanted]
    if path.suffix in (".yaml", ".yml"):
        own = path.parent if path.name == FILE else None
        return [*below, Folder(own) if own else Folder(storage) / path.stem]
    return [*below, Folder(path if path.name not in ("", "..") else path.resolve())]


def _is_experiment(folder: Folder) -> bool:
    return (folder.path is None or os.path.isdir(folder.path)) and folder.read(FILE) is not None


def _explain(storage: str, name: str, wanted: str) -> str:
    """Return why there is no such experiment, and what to do."""
    places = _places(storage, wanted)
    for folder in places:
        if folder.path is not None and os.path.isdir(folder.path) and any(folder.path.iterdir()):
            return _say_folder(folder)
    if said := _say_storage(storage):
        return said + _say_shipped(wanted)
    known = [folder.name for folder in find_experiments(storage)]
    lowered = {other.lower(): other for other in known}
    near = difflib.get_close_matches(Path(wanted).name.lower(), lowered, n=1, cutoff=0.6)
    hint = f"did you mean {lowered[near[0]]!r}? " if near else ""
    more = f" and {len(known) - MAX_NAMES} more (list)" if len(known) > MAX_NAMES else ""
    there = f"there are {', '.join(known[:MAX_NAMES]) or 'none'}{more}"
    return f"storage {storage} holds no experiment {name!r}; {hint}{there}{_say_shipped(wanted)}"


def _say_folder(folder: Folder) -> str:
    """Return what a folder is that was taken for an experiment's."""
    assert folder.path is not None
    above = next((path for path in folder.path.absolute().parents if (path / FILE).is_file()), None)
    if above is not None:
        return f"{folder} is a part of the experiment {above}; name that folder"
    if (folder.path / "adapter_config.json").is_file() or any(folder.path.glob("*.safetensors")):
        return f"{folder} holds an adapter and no experiment; predict and evaluate take it"
    if below := [one.name for one in sorted(folder.path.iterdir()) if (one / FILE).is_file()]:
        return f"{folder} holds experiments, such as {below[0]}: name one, and --storage {folder}"
    return (
        f"{folder} holds no {FILE}, so it is no experiment: it was copied in part, or its start ended before a trial "
        "began; the command that started it begins again"
    )


def _say_storage(storage: str) -> str | None:
    """Return what is wrong with a storage; None where experiments may lie in it."""
    folder = Folder(storage)
    if folder.path is None:
        folder.folders()  # says so where there is not even a bucket
        return None
    if not os.path.exists(folder.path):
        below = "" if folder.path.is_absolute() else f" (below {Path.cwd()})"
        return f"storage {storage} is not there{below} and holds no experiment; {SAY_WHERE}"
    if not os.path.isdir(folder.path):
        return f"storage {storage} is a file and holds no experiment; {SAY_WHERE}"
    if _is_experiment(folder):
        above = folder.path.absolute()
        return f"storage {storage} is an experiment itself; name it: {above.name} --storage {above.parent}"
    return None


def _say_shipped(name: str) -> str:
    """Return how a shipped experiment is begun, nothing for another name."""
    file = Path(str(files("sweep").joinpath("configs", f"{name}.yaml")))
    if "/" in name or not os.path.isfile(file):
        return ""
    kind = yaml.safe_load(file.read_text(encoding="utf-8"))["kind"]
    return f"; begin it with: python sweep/run.py {kind} {name}"
