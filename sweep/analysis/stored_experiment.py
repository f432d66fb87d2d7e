"""What experiments were asked for, and whether their scores compare."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from sweep.analysis.results import Experiment
from sweep.experiment.config import KEYS, KINDS, SweepConfig, build_sweep
from sweep.experiment.panels import split_panels
from sweep.experiment.search import Search
from sweep.experiment.space import BACKBONE_SIZE
from sweep.experiment.study import Study
from sweep.records.ledger import TrialRecord, read_ledger
from sweep.records.parquet import read_rows
from sweep.records.specification import FILE, OLDER, name_fingerprint, read_specification
from sweep.records.winners import build_replication
from sweep.storage import Folder
from xpe_core.errors import InputError


def read_experiment(folder: Folder) -> Experiment:
    """Return what an experiment was asked for; an older file holds the defaults of other kinds of experiment, too.

    A study stands for what it runs on fresh seeds, where some of that has begun.
    """
    specification = read_specification(folder)
    model = KINDS.get(specification.kind, Search)
    values = {key: value for key, value in specification.values.items() if key in model.model_fields or key not in KEYS}
    if isinstance(space := values.get("space"), dict):  # what a dimension does not say is written as null
        values["space"] = {name: _said(dimension) for name, dimension in space.items()}
    if isinstance(methods := values.get("methods"), dict):
        values["methods"] = {name: _said_of_method(method) for name, method in methods.items()}
    if isinstance(budget := values.get("budget"), dict):
        values["budget"] = _said(budget)
    sweep = _build(folder, values)
    if sweep.kind != "study":
        return Experiment(folder, sweep, specification.fingerprints)
    replicated = build_replication(sweep, read_ledger(folder).values())
    return Experiment(folder, replicated or sweep, specification.fingerprints, study=sweep)


def split_experiment(one: Experiment) -> list[Experiment]:
    """Return an experiment's panels, each as an experiment whose scores compare; itself where it has one."""
    panels = split_panels(one.study or one.sweep)
    if len(panels) <= 1 or one.panel is not None:
        return [one]
    run_again = {panel.key: panel.sweep for panel in split_panels(one.sweep)} if one.study is not None else {}
    return [
        replace(
            one,
            sweep=run_again.get(panel.key, panel.sweep),
            study=panel.sweep if isinstance(panel.sweep, Study) else None,
            panel=panel,
            fingerprints=_take(one, panel.key),
        )
        for panel in panels
    ]


def read_panels(folders: Iterable[Folder]) -> list[list[Experiment]]:
    """Return experiments by what they compare with: those that stand in one report together.

    Where none has several panels, these are all.
    """
    experiments = list(map(read_experiment, {str(folder): folder for folder in folders}.values()))
    split = [split_experiment(one) for one in experiments]
    if all(len(panels) == 1 for panels in split):
        return [experiments]
    together: list[list[Experiment]] = []
    for one in (panel for panels in split for panel in panels):
        alike = next((group for group in together if compares(group[0], one)), None)
        if alike is None:
            together.append([one])
        else:
            alike.append(one)
    return together


def read_records(one: Experiment) -> dict[str, TrialRecord]:
    """Return an experiment's trials by trial_id; of a panel its own."""
    records = read_ledger(one.folder)
    if one.panel is None:
        return records
    return {trial_id: record for trial_id, record in records.items() if one.holds(record.run_config)}


def compares(one: Experiment, other: Experiment) -> bool:
    """Whether two experiments have the same data set and backbone."""
    try:
        check_comparable(one, other)
    except InputError:
        return False
    return True


def check_comparable(one: Experiment, other: Experiment) -> None:
    """Raise InputError where two experiments are on another data set or backbone, so that no scores compare.

    A folder may have two names, so fingerprints decide where there are any; that of the data also stands for the
    backbone's tokens, cut to a length.
    """
    first, second = one.sweep.corners[0], other.sweep.corners[0]
    for what, key, by_fingerprint in (
        ("backbone", "backbone", True),
        ("dataset", "data", first.data.max_length == second.data.max_length),
    ):
        names = [config.values[what] for config in (first, second)]
        prints = [experiment.fingerprints.get(key) for experiment in (one, other)]
        if all(prints) and by_fingerprint:
            differ = prints[0] != prints[1] and not (key == "data" and _are_alike(one, other))
        else:
            differ = names[0] != names[1]
        if differ:
            if names[0] == names[1]:
                names = [f"{name} of content {found}" for name, found in zip(names, prints, strict=True)]
            raise InputError(
                f"{one.name} and {other.name} cannot be compared or stand in one report: the {what} of {one.name} is "
                f"{names[0]}, that of {other.name} {names[1]}"
            )


def _take(one: Experiment, panel: str) -> dict[str, str]:
    """Return the fingerprints of a panel."""
    keys = {what: name_fingerprint(what, panel) for what in ("backbone", "data")}
    return {what: one.fingerprints[key] for what, key in keys.items() if key in one.fingerprints}


def _are_alike(one: Experiment, other: Experiment) -> bool:
    """Whether two versions called the same data so."""
    sets = [{found.fingerprints["data"], *found.fingerprints.get(OLDER, "").split(",")} for found in (one, other)]
    return bool((sets[0] & sets[1]) - {""})


def _build(folder: Folder, values: dict[str, object]) -> SweepConfig:
    """Return an experiment as it was asked for, also where its backbone is on another machine.

    A field that follows the backbone's size has the one value there that the runs have.
    """
    where = f"{folder}/{FILE}"
    try:
        return build_sweep(values, where)
    except InputError:
        space = values.get("space")
        following = _find_following(space)
        runs = read_rows(folder, "runs") if following else None
        if runs is None or not isinstance(space, dict):
            raise
    for name, dimension in following.items():
        [(size, _)] = Counter(runs[name].to_pylist()).most_common(1)
        space[name] = {"choice": [size], "when": dimension.get("when", {})}
    return build_sweep({**values, "space": space}, where)


def _find_following(space: object) -> dict[str, dict[str, object]]:
    """Return the dimensions of a space that follow the backbone's size."""
    dimensions = space.items() if isinstance(space, dict) else ()
    return {name: one for name, one in dimensions if isinstance(one, dict) and one.get("tied") == BACKBONE_SIZE}


def _said_of_method(method: object) -> object:
    if not isinstance(method, dict) or not isinstance(space := method.get("space"), dict):
        return method
    return {**method, "space": {name: _said(dimension) for name, dimension in space.items()}}


def _said(dimension: object) -> object:
    return {k: v for k, v in dimension.items() if v is not None} if isinstance(dimension, dict) else dimension
