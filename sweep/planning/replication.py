"""What a replication stands for: the best configurations of an experiment, with their baselines, on fresh seeds."""

from collections.abc import Mapping
from typing import Any

from sweep.experiment.arms import Replication
from sweep.experiment.files import is_file, load_experiment, make_paths_absolute
from sweep.records.specification import FILE, NO_TRAINING, read_specification
from sweep.storage import Folder, Location
from sweep.storage.names import normalise_name
from sweep.storage.object_storage import is_object_storage
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.tunings import BASELINES, TUNINGS
from xpe_core.validation import build_config


def find_known(of: str, storage: Location, wanted: Mapping[str, str | None]) -> dict[str, str]:
    """Return where data and backbone of an experiment lie now: where it found them last, or where a person says."""
    from sweep.planning.moved import find_locations  # slow to import

    return find_locations(_find_experiment(of, storage), wanted)


def resolve_replication(
    sweep: Replication, storage: Location, places: Mapping[str, str | None] | None = None
) -> Replication:
    """Return the replication with its arms: the best configurations, and their tuning's baselines beside them.

    Of an experiment's folder (or its name below `storage`) the best come out of its results; a YAML file stands for the
    one configuration that it holds. A baseline is the best of its method that was tried, or the best configuration with
    the baseline's values. A file's data set and backbone may lie in other `places`. InputError where there is nothing
    to replicate, or a seed is not fresh.
    """
    assert sweep.of is not None
    if is_file(sweep.of):
        _, source = load_experiment(sweep.of)
        if source.kind != "search" or source.varying:
            raise InputError(f"{sweep.of} holds no single configuration: a replication needs one, or an experiment")
        named = {name: place for name, place in (places or {}).items() if place is not None}
        moved = make_paths_absolute({"base": {**source.config().values, **named}})["base"]
        found, used = {"best": build_config(RunConfig, moved, sweep.of)}, set(source.seeds)
        evaluation: Any = source.evaluation.model_dump()
        groups: Any = source.groups
    else:
        folder = _find_experiment(sweep.of, storage)
        found, used, evaluation = _read_best(folder, sweep.top)
        groups = read_specification(folder).values.get("groups", {})
    if stale := sorted(used & set(sweep.seeds)):
        fresh = f"{max(used) + 1}-{max(used) + 10}"
        raise InputError(f"seeds: {stale[0]} was used by {sweep.of}; a replication needs fresh ones, such as {fresh}")
    best = next(iter(found.values()))
    for method, values in TUNINGS[best.tuning.tuning].baselines.items():
        if method not in found and not any(config.method == method for config in found.values()):
            found[method] = RunConfig(**{**best.values, **values})
    arms = {name: config.settings for name, config in found.items()}
    shared = {key: value for key, value in next(iter(arms.values())).items() if _is_shared(key, arms)}
    own = {name: {key: value for key, value in values.items() if key not in shared} for name, values in arms.items()}
    values = sweep.model_dump(exclude_unset=True)
    evaluation, groups = values.get("evaluation", evaluation), values.get("groups", groups)
    values |= {"base": shared, "arms": own, "evaluation": evaluation, "groups": groups}
    return build_config(Replication, values, f"replication of {sweep.of}")


def fresh_seeds(of: str, storage: Location, count: int = 10) -> str:
    """Return the seeds that follow those an experiment has used."""
    if is_file(of):
        used = set(load_experiment(of)[1].seeds)
    else:
        used = _read_best(_find_experiment(of, storage), 1)[1]
    return f"{max(used) + 1}-{max(used) + count}"


def _find_experiment(of: str, storage: Location) -> Folder:
    for folder in (Folder(of),) if is_object_storage(of) else (Folder(storage) / normalise_name(of), Folder(of)):
        if folder.read(FILE) is not None:
            return folder
    Folder(storage).folders()  # says so where there is not even a bucket
    raise InputError(f"there is no experiment {of!r} in {storage}, and no folder of that name holds one")


def _read_best(folder: Folder, top: int) -> tuple[dict[str, RunConfig], set[int], object]:
    """Return an experiment's best configurations with the baselines, the seeds it used, and how it evaluated."""
    from sweep.analysis import asked_runs, rank_configurations, read_runs  # slow to import, and seldom needed
    from sweep.analysis.stored_experiment import read_experiment

    if read_specification(folder).kind == "evaluate":
        raise InputError(f"{folder} {NO_TRAINING}: there is no configuration to replicate")
    runs = read_runs(folder)
    rows = {row["config_id"]: row for row in runs.iter_rows(named=True)}
    ranked = rank_configurations(asked_runs(runs, read_experiment(folder).sweep))
    if not ranked:
        raise InputError(f"{folder} has no finished configuration to replicate")
    names = {f"best_{place + 1}" if top > 1 else "best": best for place, best in enumerate(ranked[:top])}
    for method in BASELINES:
        if of_method := [best for best in ranked if best.method == method and best not in names.values()]:
            names[method] = of_method[0]
    found = {name: RunConfig.from_row(rows[best.config_id]).with_seed(1) for name, best in names.items()}
    return found, set(runs["seed"].to_list()), read_specification(folder).values.get("evaluation")


def _is_shared(key: str, arms: Mapping[str, Mapping[str, object]]) -> bool:
    """Whether all arms have the field, with one value; arms of several tunings have other fields."""
    return all(key in values for values in arms.values()) and len({values[key] for values in arms.values()}) == 1
