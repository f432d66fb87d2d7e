"""Experiment files: shipped ones by name and one's own by path, what `--set` changes in them, and what a replication
stands for.
"""

import glob
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path, PurePosixPath

from sweep.experiment.config import KEYS, SweepConfig, build_sweep
from sweep.experiment.overrides import read_override, split_overrides
from sweep.experiment.yaml_files import Tree, read_mapping
from sweep.storage import split_uri
from sweep.storage.names import normalise_name
from sweep.storage.object_storage import is_object_storage
from xpe_core.config import CHOICES, FIELDS, has_field
from xpe_core.errors import InputError
from xpe_core.validation import nearest, show_value

LANGUAGE_KEYS = ("source_set", "evaluation.languages", "selection_languages")
"""Keys whose values in a file are meant for the data set that it names, and not for one that `--set` names."""
PLACE = re.compile(r"(?:([\w.\[\]-]+): )?(?:([\w.\[\]-]+)(?:=| is empty| is missing)|unknown key '([^']+)')")
"""How an error of a config begins: the key above and the key, or a key that is unknown."""
FIELD_PLACES = ("base", "space", "arms", "zipped", "methods")
"""Keys under which fields of `RunConfig` stand: these are set by their own names."""


def load_experiment(source: str, overrides: Sequence[str] = ()) -> tuple[str, SweepConfig]:
    """Return an experiment's name and its config, from a shipped name or a YAML file, with `key=value` overrides.

    A key is a field of `RunConfig`, or a field of `SweepConfig` with dots (`evaluation.max_examples`). Raises
    InputError that names the file and the key.
    """
    stem, content = _read_file(source)
    name, where = normalise_name(stem), f"experiment {source}"
    tree, lines = read_mapping(content, where, "base and space")
    for key in ("base", "space", "arms", "scheduler", "evaluation", "resources", "targets"):
        if tree.get(key) is None:
            tree.pop(key, None)
        elif not isinstance(tree[key], dict):
            raise InputError(f"{where}: {key} must hold keys of its own, not {show_value(tree[key])}")
    pairs = split_overrides(overrides)
    _make_room(tree, pairs)
    for key in sorted(pairs, key=lambda key: key not in CHOICES):  # these say which others there are
        _apply(tree, key, pairs[key])
    values: dict[str, object] = {**tree, "base": make_paths_absolute(_keys_below(tree, "base"))}
    if arms := _keys_below(tree, "arms"):
        values["arms"] = {arm: make_paths_absolute(own) if isinstance(own, dict) else own for arm, own in arms.items()}
    if methods := _keys_below(tree, "methods"):
        values["methods"] = {name: _make_base_absolute(method) for name, method in methods.items()}
    try:
        sweep = build_sweep(values, where)
    except InputError as error:
        raise InputError(_add_line(str(error), where, lines, pairs)) from None
    wrote_grace = "scheduler.grace_period" in pairs or "scheduler" in pairs or is_file(source)
    _check_grace_period(sweep, wrote_grace, where)
    return name, sweep


def _make_base_absolute(method: Tree) -> object:
    """Return a study's method with absolute paths in its base; what is no mapping stays, and is refused later."""
    if not isinstance(method, dict) or not isinstance(base := method.get("base"), dict):
        return method
    return {**method, "base": make_paths_absolute(base)}


def find_open_keys(overrides: Sequence[str]) -> frozenset[str]:
    """Return keys of a file that hold where the data set has all the languages that they name.

    An experiment file says what it says of languages for the data set that it names.
    """
    pairs = split_overrides(overrides)
    return frozenset(set(LANGUAGE_KEYS) - pairs.keys()) if "dataset" in pairs else frozenset()


def _add_line(message: str, where: str, lines: Mapping[str, int], overrides: Mapping[str, str]) -> str:
    """Return an error's message with the line of the file that it speaks of, where that is known."""
    found = PLACE.match(message, len(where) + 2)
    if found is None:
        return message
    above, key, unknown = found.groups()
    path = f"{above}.{key}" if above and key else key
    path = path and path.partition("[")[0]
    named = [one for one in lines if one.rpartition(".")[2] == unknown] if unknown else [path]
    if len(named) != 1 or named[0] not in lines or key in overrides or unknown in overrides:
        return message
    if any(f"{named[0]}.".startswith(f"{one}.") or one.startswith(f"{named[0]}.") for one in overrides):
        return message  # it was not the file that said it
    return f"{where}: line {lines[named[0]]}: {message[len(where) + 2 :]}"


def _check_grace_period(sweep: SweepConfig, wrote_it: bool, where: str) -> None:
    """Refuse a grace period that a person wrote and no trial is long enough for; a default one just stops none."""
    if sweep.kind not in ("search", "study"):
        return
    grace_period = sweep.scheduler.grace_period
    said = wrote_it and "scheduler" in sweep.model_fields_set and "grace_period" in sweep.scheduler.model_fields_set
    if said and grace_period > sweep.longest:
        raise InputError(
            f"{where}: scheduler.grace_period={grace_period} is longer than max_steps={sweep.longest}; "
            f"allowed are 1 to {sweep.longest}, or none at all"
        )


def is_file(source: str) -> bool:
    """Whether an experiment is given by a YAML file, and not by its name or folder."""
    return PurePosixPath(last_part(source)).suffix.lower() in (".yaml", ".yml")


def last_part(source: str) -> str:
    """Return the last part of a path or URI; InputError where it is a URI that cannot be used."""
    return split_uri(source)[1] if is_object_storage(source) else Path(source).name


def _read_file(source: str) -> tuple[str, bytes]:
    """Return the name and content of a YAML file, one's own or, by its name, a shipped one."""
    if is_object_storage(source):
        folder, name = split_uri(source)
        content = folder.read(name) if is_file(source) else None
        if content is None:
            raise InputError(f"experiment {source}: there is no such file; its path ends in .yaml")
        return PurePosixPath(name).stem, content
    path = Path(source)
    if not is_file(source):
        path = Path(str(files("sweep").joinpath("configs", f"{source}.yaml")))
        if not path.is_file():
            folder_of_shipped = Path(str(files("sweep").joinpath("configs")))
            shipped = ", ".join(sorted(file.stem for file in folder_of_shipped.glob("*.yaml")))
            raise InputError(f"unknown experiment {source!r}; shipped are {shipped}; a file's path ends in .yaml")
    try:
        return path.stem, path.read_bytes()
    except OSError as error:
        raise InputError(f"experiment {source}: {error.strerror}") from None


def name_experiment(command: str, source: str) -> str:
    """Return the name of what `search`, `grid` or `replicate` makes of a source, where none is given."""
    name = normalise_name(PurePosixPath(last_part(source)).stem if is_file(source) else last_part(source))
    if command != "replicate" or (is_file(source) and load_experiment(source)[1].kind == "replicate"):
        return name
    return f"{name}-replication"


def _make_room(values: dict[str, Tree], overrides: Iterable[str]) -> None:
    """Take a study's budget out where `--set` gives another kind of it: there is exactly one."""
    if any(key.startswith("budget.") for key in overrides):
        values.pop("budget", None)


def _apply(values: dict[str, Tree], key: str, text: str) -> None:
    """Set one `key=value` in the experiment's values."""
    if key in FIELDS:
        _pin(values, key, read_override(key, text))
        return
    first, _, rest = key.partition(".")
    known = [*FIELDS, *(name for name in KEYS if name not in FIELD_PLACES)]
    if rest and first in FIELD_PLACES and (field := key.rpartition(".")[2]) in FIELDS:
        raise InputError(f"--set {key}={text}: a field is set by its own name, wherever it stands: {field}={text}")
    if first not in KEYS or first in FIELD_PLACES:
        raise InputError(f"--set {key}={text}: {nearest(key, known)}")
    value = read_override(key, text)
    values[first] = _set_below(_keys_below(values, first), rest, value) if rest else value


def _set_below(values: Mapping[str, Tree], key: str, value: Tree) -> dict[str, Tree]:
    """Return keys of an experiment file with one of them set, by its name with dots."""
    first, _, rest = key.partition(".")
    return {**values, first: _set_below(_keys_below(values, first), rest, value) if rest else value}


def _pin(values: dict[str, Tree], field: str, value: Tree) -> None:
    """Set a field of `RunConfig` in the base, and take it out of what varies."""
    if methods := _keys_below(values, "methods"):
        _pin_in_methods(values, methods, field, value)
        return
    values["base"] = {**_keys_below(values, "base"), field: value}
    varying = [_keys_below(values, "space"), *_keys_below(values, "arms").values()]
    for fields in varying:
        if isinstance(fields, dict):
            fields.pop(field, None)
    _unzip(values, field)
    if field == "source_set":
        values.pop("source_sets", None)


def _unzip(values: dict[str, Tree], field: str) -> None:
    """Take a field out of the lists that are zipped together."""
    if isinstance(zipped := values.get("zipped"), list):
        for lists in [lists for lists in zipped if isinstance(lists, dict) and field in lists]:
            del lists[field]
            if len(lists) < 2:  # what is left of a pair is an ordinary choice
                zipped.remove(lists)
                choices: dict[str, Tree] = {name: {"choice": choice} for name, choice in lists.items()}
                values["space"] = {**_keys_below(values, "space"), **choices}


def _pin_in_methods(values: dict[str, Tree], methods: dict[str, Tree], field: str, value: Tree) -> None:
    """Set a field in a study: in its base where all methods have it, else in the base of every one that has it."""
    base = {name: one for name, one in _keys_below(values, "base").items() if name != field}
    trees = {name: method for name, method in methods.items() if isinstance(method, dict)}
    having = [name for name, method in trees.items() if has_field({**base, **_keys_below(method, "base")}, field)]
    if not having:
        raise InputError(f"--set {field}: no method of this study has this field")
    for method in trees.values():
        for key in ("base", "space", "default"):
            if isinstance(below := method.get(key), dict):
                below.pop(field, None)
        _unzip(method, field)
    if having == list(methods):
        base[field] = value
    else:
        for name in having:
            trees[name]["base"] = {**_keys_below(trees[name], "base"), field: value}
    values["base"] = base


def _keys_below(values: Mapping[str, Tree], key: str) -> dict[str, Tree]:
    """Return what a key holds, nothing where it holds no keys of its own."""
    below = values.get(key)
    return below if isinstance(below, dict) else {}


def make_paths_absolute(base: Mapping[str, object]) -> dict[str, object]:
    """Resolve `dataset` and `backbone` where they are paths here: a worker's working folder is another one."""
    resolved = dict(base)
    for key in ("dataset", "backbone"):
        name = base.get(key)
        if not isinstance(name, str) or name in ("", "cldr", "e5-small"):
            continue
        if _exists(name):
            resolved[key] = str(Path(name).expanduser().resolve())
        elif key == "dataset" and glob.has_magic(name):
            resolved[key] = str(Path(name).expanduser().absolute())
    return resolved


def _exists(name: str) -> bool:
    """Whether there is a file or folder of that name, which may be one that no path can have."""
    try:
        return Path(name).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False
