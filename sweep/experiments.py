"""Experiment files: shipped ones by name and one's own by path, what `--set` changes in them, and what a replication
stands for.
"""

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from sweep.config import SweepConfig
from sweep.storage import Folder, Place, split_uri
from sweep.storage.object_storage import is_object_storage
from sweep.store import NO_TRAINING, read_specification
from xpe_core.config import RunConfig, build_config, nearest
from xpe_core.errors import InputError

HUB = "hub:"
"""Begins the name of an adapter on the hub: hub:USER/NAME, hub:USER/NAME@REVISION."""
SEED = re.compile(r"seed[-_]?0*(\d+)")
"""What a folder or a hub's revision is called that holds one seed's adapter."""
OF_EVALUATIONS = ("backbone", "dataset", "source_set", "max_length", "precision", "pooling")
"""Fields of `RunConfig` that decide how an adapter is tested."""
LANGUAGE_KEYS = ("source_set", "evaluation.languages", "selection_languages")
"""Keys whose values in a file are meant for the data set that it names, and not for one that `--set` names."""
FIELD_PLACES = ("base", "space", "arms", "zipped")
"""Keys under which fields of `RunConfig` stand: these are set by their own names."""


def load_experiment(source: str, overrides: Sequence[str] = ()) -> tuple[str, SweepConfig]:
    """Return an experiment's name and its config, from a shipped name or a YAML file, with `key=value` overrides.

    A key is a field of `RunConfig`, or a field of `SweepConfig` with dots (`evaluation.max_examples`). Raises
    InputError that names the file and the key.
    """
    name, content = _read_file(source)
    try:
        values = yaml.safe_load(content.decode())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"experiment {source} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise InputError(f"experiment {source}: must hold keys such as base and space, not {values!r}")
    for key in ("base", "space", "arms", "scheduler", "evaluation", "resources"):
        if values.get(key) is None:
            values.pop(key, None)
        elif not isinstance(values[key], dict):
            raise InputError(f"experiment {source}: {key} must hold keys of its own, not {values[key]!r}")
    for override in overrides:
        _apply(values, override)
    values = _make_paths_absolute(values)
    pinned = {override.partition("=")[0] for override in overrides}
    open_keys = set(LANGUAGE_KEYS) - pinned if "dataset" in pinned else ()
    return name, build_config(SweepConfig, values, f"experiment {source}").leave_open(open_keys)


def is_file(source: str) -> bool:
    """Whether an experiment is given by a YAML file, and not by its name or folder."""
    return PurePosixPath(last_part(source)).suffix in (".yaml", ".yml")


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
    name = PurePosixPath(last_part(source)).stem if is_file(source) else last_part(source)
    if command != "replicate" or (is_file(source) and load_experiment(source)[1].kind == "replicate"):
        return name
    return f"{name}-replication"


def name_evaluation(source: str) -> str:
    """Return the name of an evaluation of adapters, of which `source` is the first, where none is given."""
    if source.startswith(HUB):
        stem = source.removeprefix(HUB).partition("@")[0].rpartition("/")[2]
    else:
        path = Path(source).expanduser().absolute()
        stem = path.parent.name if SEED.fullmatch(path.name) or path.name == "adapters" else path.stem
    stem = re.sub(r"[^\w.-]+", "-", stem)
    return f"{stem}-evaluation"


def read_evaluation_values(overrides: Sequence[str], **given: str | None) -> dict[str, Any]:
    """Return the fields of `RunConfig` that hold for all adapters of an evaluation, paths made absolute."""
    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"--set {override}: must look like key=value")
        if key not in OF_EVALUATIONS:
            known = ", ".join(OF_EVALUATIONS)
            raise InputError(f"--set {override}: nothing is trained, so allowed are {known}")
        values[key] = yaml.safe_load(text)
    base: dict[str, Any] = _make_paths_absolute({"base": values})["base"]
    return base


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one `key=value` in the experiment's values, moving a searched field from the space to the base."""
    key, equals, text = override.partition("=")
    if not equals:
        raise InputError(f"--set {override}: must look like key=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    if key in RunConfig.model_fields:
        values["base"] = {**values.get("base", {}), key: value}
        values.get("space", {}).pop(key, None)
        for arm in values.get("arms", {}).values():
            if isinstance(arm, dict):
                arm.pop(key, None)
        for lists in [lists for lists in values.get("zipped") or () if isinstance(lists, dict) and key in lists]:
            del lists[key]
            if len(lists) < 2:  # what is left of a pair is an ordinary choice
                values["zipped"].remove(lists)
                choices = {name: {"choice": choice} for name, choice in lists.items()}
                values["space"] = {**values.get("space", {}), **choices}
        if key == "source_set":
            values.pop("source_sets", None)
        return
    first, _, rest = key.partition(".")
    field = SweepConfig.model_fields.get(first)
    known = [*RunConfig.model_fields, *(name for name in SweepConfig.model_fields if name not in FIELD_PLACES)]
    if field is None or first in FIELD_PLACES:
        raise InputError(f"--set {override}: {nearest(key, known)}")
    if rest:
        values[first] = {**(values[first] if isinstance(values.get(first), dict) else {}), rest: value}
    else:
        values[first] = value


def _make_paths_absolute(values: dict[str, Any]) -> dict[str, Any]:
    """Resolve `dataset` and `backbone` where they are paths here: a worker's working folder is another one."""
    base = dict(values.get("base", {}))
    for key in ("dataset", "backbone"):
        name = base.get(key)
        if isinstance(name, str) and name not in ("cldr", "e5-small") and Path(name).expanduser().exists():
            base[key] = str(Path(name).expanduser().resolve())
    return {**values, "base": base}


def resolve_replication(sweep: SweepConfig, storage: Place) -> SweepConfig:
    """Return the replication with its arms: the best configurations, and SPT and XPE beside them.

    Of an experiment's folder (or its name below `storage`) the best come out of its results; a YAML file stands for the
    one configuration that it holds. SPT and XPE are the best that were tried, or the best configuration with another
    `encoder_ratio`. InputError where there is nothing to replicate, or a seed is not fresh.
    """
    assert sweep.of is not None
    if is_file(sweep.of):
        _, source = load_experiment(sweep.of)
        if source.kind != "search" or source.varying:
            raise InputError(f"{sweep.of} holds no single configuration: a replication wants one, or an experiment")
        found, used = {"best": source.config()}, set(source.seeds)
        evaluation: Any = source.evaluation.model_dump()
        groups: Any = source.groups
    else:
        folder = _find_experiment(sweep.of, storage)
        found, used, evaluation = _read_best(folder, sweep.top)
        groups = read_specification(folder).get("groups", {})
    if stale := sorted(used & set(sweep.seeds)):
        fresh = f"{max(used) + 1}-{max(used) + 10}"
        raise InputError(f"seeds: {stale[0]} was used by {sweep.of}; a replication wants fresh ones, such as {fresh}")
    best = next(iter(found.values()))
    for method, ratio in (("spt", 0.0), ("xpe", 1.0)):
        if method not in found and not any(config.method == method for config in found.values()):
            found[method] = RunConfig(**{**best.model_dump(), "encoder_ratio": ratio})
    arms = {name: config.model_dump(exclude={"seed", "imported"}) for name, config in found.items()}
    shared = {key: value for key, value in next(iter(arms.values())).items() if _is_shared(key, arms)}
    own = {name: {key: value for key, value in values.items() if key not in shared} for name, values in arms.items()}
    values = sweep.model_dump(exclude_unset=True)
    evaluation, groups = values.get("evaluation", evaluation), values.get("groups", groups)
    values |= {"base": shared, "arms": own, "evaluation": evaluation, "groups": groups}
    return build_config(SweepConfig, values, f"replication of {sweep.of}")


def fresh_seeds(of: str, storage: Place, count: int = 10) -> str:
    """Return the seeds that follow those an experiment has used."""
    if is_file(of):
        used = set(load_experiment(of)[1].seeds)
    else:
        used = _read_best(_find_experiment(of, storage), 1)[1]
    return f"{max(used) + 1}-{max(used) + count}"


def _find_experiment(of: str, storage: Place) -> Folder:
    for folder in (Folder(of),) if is_object_storage(of) else (Folder(storage) / of, Folder(of)):
        if folder.read("experiment.yaml") is not None:
            return folder
    Folder(storage).folders()  # says so where there is not even a bucket
    raise InputError(f"there is no experiment {of!r} in {storage}, and no folder of that name holds one")


def _read_best(folder: Folder, top: int) -> tuple[dict[str, RunConfig], set[int], dict[str, Any]]:
    """Return an experiment's best configurations with SPT and XPE, the seeds it used, and how it evaluated."""
    from sweep.analysis import rank_configurations, read_runs  # slow to import, and seldom needed

    if read_specification(folder)["kind"] == "evaluate":
        raise InputError(f"{folder} {NO_TRAINING}: there is no configuration to replicate")
    runs = read_runs(folder)
    rows = {row["config_id"]: row for row in runs.iter_rows(named=True)}
    ranked = rank_configurations(runs)
    if not ranked:
        raise InputError(f"{folder} has no finished configuration to replicate")
    names = {f"best_{place + 1}" if top > 1 else "best": best for place, best in enumerate(ranked[:top])}
    for method in ("spt", "xpe"):
        if of_method := [best for best in ranked if best.method == method and best not in names.values()]:
            names[method] = of_method[0]
    fields = [name for name in RunConfig.model_fields if name != "seed"]
    found = {name: RunConfig(**{key: rows[best.config_id][key] for key in fields}) for name, best in names.items()}
    return found, set(runs["seed"].to_list()), read_specification(folder)["evaluation"]


def _is_shared(key: str, arms: Mapping[str, Mapping[str, Any]]) -> bool:
    return len({values[key] for values in arms.values()}) == 1
