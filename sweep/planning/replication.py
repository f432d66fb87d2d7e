"""What a replication stands for: the best configurations of an experiment, with their baselines, on fresh seeds."""

from collections.abc import Mapping
from dataclasses import dataclass

from sweep.experiment.arms import Replication, share_fields
from sweep.experiment.files import is_file, load_experiment, make_paths_absolute
from sweep.experiment.panels import split_panels
from sweep.records.specification import FILE, NO_TRAINING, read_specification
from sweep.storage import Folder, Location
from sweep.storage.names import normalise_name
from sweep.storage.object_storage import is_object_storage
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.tunings import BASELINES, TUNINGS
from xpe_core.validation import build_config


@dataclass(frozen=True)
class _Source:
    """What is run again."""

    configs: Mapping[str, RunConfig]
    """By the names of their arms, the best first."""
    seeds: set[int]
    """Those that they have been run with."""
    evaluation: object
    """As the experiment's file has it."""
    groups: object
    """As the experiment's file has them."""


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
        source = _read_file(sweep.of, places or {})
    else:
        source = _read_best(_find_experiment(sweep.of, storage), sweep.top)
    if stale := sorted(source.seeds & set(sweep.seeds)):
        fresh = _name_following(source.seeds, 10)
        raise InputError(f"seeds: {stale[0]} was used by {sweep.of}; a replication needs fresh ones, such as {fresh}")
    found = add_baselines(source.configs)
    shared, own = share_fields(found)
    inherited: dict[str, object] = {"evaluation": source.evaluation, "groups": source.groups}
    asked = {**inherited, **sweep.model_dump(exclude_unset=True), "base": shared, "arms": own}
    return build_config(Replication, asked, f"replication of {sweep.of}")


def add_baselines(configs: Mapping[str, RunConfig]) -> dict[str, RunConfig]:
    """Return configurations with the baselines that their best one's tuning has and they lack, on each panel."""
    found = dict(configs)
    panels = dict.fromkeys(config.panel for config in configs.values())
    for panel in panels:
        best = next(config for config in configs.values() if config.panel == panel)
        methods = {config.method for config in configs.values() if config.panel == panel}
        name = next(arm for arm, config in configs.items() if config is best)
        on = name.rpartition(" ")[0] + " " if len(panels) > 1 else ""
        for method, values in TUNINGS[best.tuning.tuning].baselines.items():
            if f"{on}{method}" not in found and method not in methods:
                found[f"{on}{method}"] = RunConfig(**{**best.values, **values})
    return found


def fresh_seeds(of: str, storage: Location, count: int = 10) -> str:
    """Return the seeds that follow those an experiment has used."""
    if is_file(of):
        used = set(load_experiment(of)[1].seeds)
    else:
        used = _read_best(_find_experiment(of, storage), 1).seeds
    return _name_following(used, count)


def _name_following(seeds: set[int], count: int) -> str:
    return f"{max(seeds) + 1}-{max(seeds) + count}"


def _read_file(file: str, places: Mapping[str, str | None]) -> _Source:
    """Return the one configuration of a YAML file; its data set and backbone may lie in other places."""
    _, sweep = load_experiment(file)
    if sweep.kind != "search" or sweep.varying:
        raise InputError(f"{file} holds no single configuration: a replication needs one, or an experiment")
    named = {name: place for name, place in places.items() if place is not None}
    values = make_paths_absolute({**sweep.config().values, **named})
    best = build_config(RunConfig, values, file)
    return _Source({"best": best}, set(sweep.seeds), sweep.evaluation.model_dump(), sweep.groups)


def _find_experiment(of: str, storage: Location) -> Folder:
    for folder in (Folder(of),) if is_object_storage(of) else (Folder(storage) / normalise_name(of), Folder(of)):
        if folder.read(FILE) is not None:
            return folder
    Folder(storage).folders()  # says so where there is not even a bucket
    raise InputError(f"there is no experiment {of!r} in {storage}, and no folder of that name holds one")


def _read_best(folder: Folder, top: int) -> _Source:
    """Return an experiment's best configurations, with the baselines that it ran."""
    from sweep.analysis import Best, asked_runs, rank_configurations, read_runs  # slow to import, and seldom needed
    from sweep.analysis.stored_experiment import read_experiment

    specification = read_specification(folder)
    if specification.kind == "evaluate":
        raise InputError(f"{folder} {NO_TRAINING}: there is no configuration to replicate")
    runs = read_runs(folder)
    rows = {row["config_id"]: row for row in runs.iter_rows(named=True)}
    names: dict[str, Best] = {}
    for panel in split_panels(read_experiment(folder).sweep):
        ranked = rank_configurations(asked_runs(runs, panel.sweep))
        on = f"{panel.name} " if panel.name else ""
        names |= {f"{on}best_{place + 1}" if top > 1 else f"{on}best": best for place, best in enumerate(ranked[:top])}
        for method in BASELINES:
            if of_method := [best for best in ranked if best.method == method and best not in names.values()]:
                names[f"{on}{method}"] = of_method[0]
    if not names:
        raise InputError(f"{folder} has no finished configuration to replicate")
    found = {name: RunConfig.from_row(rows[best.config_id]).with_seed(1) for name, best in names.items()}
    asked = specification.values
    return _Source(found, set(runs["seed"].to_list()), asked.get("evaluation"), asked.get("groups", {}))
