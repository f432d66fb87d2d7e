"""An experiment's data and backbone in another place than where it found them first: the same content is the same one.

The recorded names stay, since ids of configurations and runs are made of them; what is loaded is found where it is now.
"""

import glob
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweep.experiment.config import SweepConfig, build_sweep
from sweep.experiment.panels import AskedPanel, split_panels
from sweep.records.specification import (
    FILE,
    Specification,
    list_own_values,
    name_fingerprint,
    read_specification,
)
from sweep.storage import Folder
from xpe_core.backbones.files import fingerprint_files
from xpe_core.config import DEFAULTS, FIELDS, RunConfig
from xpe_core.data import DataSource, dataset_fingerprints
from xpe_core.data.labelled_data import READINGS
from xpe_core.data.tokens import fingerprint_tokens
from xpe_core.digests import digest
from xpe_core.errors import InputError
from xpe_core.locations import find_location, use_locations

NAMED = ("backbone", "dataset")
"""Fields that say where something lies, beside what it is."""


@dataclass(frozen=True)
class Moved:
    """An experiment under the names that it was recorded with."""

    sweep: SweepConfig
    places: Mapping[str, str]
    """Where what has a recorded name lies now, if elsewhere."""
    older_fingerprints: tuple[str, ...] = ()
    """What older versions called the same data."""


def keep_names(sweep: SweepConfig, folder: Folder, places: Mapping[str, str] | None = None) -> Moved:
    """Return an experiment under the names that its folder has recorded, wherever the same content lies now.

    Of another content the names stay as they are asked for, and the folder refuses it. `places` are known beforehand.
    Both are what this process loads from now on.
    """
    known = dict(places or {})
    use_locations(known)
    if folder.read(FILE) is None:
        return Moved(sweep, known)
    before = read_specification(folder)
    asked = sweep.corners[0]
    if before.kind != sweep.kind:
        return Moved(sweep, known)
    if len(panels := split_panels(sweep)) > 1:
        renamed, found_at = _rename_panels(sweep, panels, before)
        known |= found_at
        use_locations(known)
        return Moved(build_sweep(renamed, str(folder)) if found_at else sweep, known)
    if all(read_names(before)[name] == asked.values[name] for name in NAMED):
        return Moved(sweep, known)
    found, older = match(before, asked)
    base = {name: value for name, value in sweep.base.items() if name not in found}
    base |= {name: before.base[name] for name in found if name in before.base}
    known |= {read_names(before)[name]: place for name, place in found.items()}
    use_locations(known)
    values = {**sweep.model_dump(exclude_unset=True), "base": base}
    return Moved(build_sweep(values, str(folder)), known, older)


def _rename_panels(
    sweep: SweepConfig, panels: Sequence[AskedPanel], before: Specification
) -> tuple[dict[str, object], dict[str, str]]:
    """Return an experiment's values with the recorded names of what its panels have, and where these lie now."""
    said = sweep.model_dump(exclude_unset=True)
    base, arms, recorded_arms = dict(sweep.base), list_own_values(said), before.own_values
    places: dict[str, str] = {}
    for panel in panels:
        own = list(list_own_values(panel.sweep.model_dump(exclude_unset=True)))
        arm = next((arm for arm in own if arm in recorded_arms), None)
        if arm is None:
            continue
        recorded = _take_panel(before, {**before.base, **recorded_arms[arm]}, panel.config)
        found, _ = match(recorded, panel.config)
        for name, place in found.items():
            places[str(recorded.base[name])] = place
            for values in [arms[one] for one in own if name in arms[one]] or [base]:
                values[name] = recorded.base[name]
    if sweep.kind == "study":
        methods = {name: {**method, "base": arms[name]} for name, method in said["methods"].items()}
        return {**said, "base": base, "methods": methods}, places
    return {**said, "base": base, "arms": arms}, places


def _take_panel(before: Specification, values: Mapping[str, object], config: RunConfig) -> Specification:
    """Return what was recorded of the panel that an arm with these values was on, `config` being as it is now."""
    names = {name: str(values.get(name, DEFAULTS[name])) for name in NAMED}
    key = config.with_values(**names).panel
    prints = {what: before.fingerprints.get(name_fingerprint(what, key), "") for what in ("backbone", "data")}
    return Specification(before.kind, {"base": names}, prints)


def find_locations(folder: Folder, wanted: Mapping[str, str | None]) -> dict[str, str]:
    """Return where an experiment's data and backbone lie now: where it found them last, or where a person says.

    InputError where there is something else.
    """
    before = read_specification(folder)
    names, places = read_names(before), dict(before.places)
    said = {name: _absolute(place) for name, place in wanted.items() if place is not None}
    several = _list_names(before)
    for name, recorded in several:
        place = places.get(recorded, recorded)
        if name not in said and place.startswith("/") and not glob.has_magic(place) and not Path(place).exists():
            way = f": say where with --{name} PATH" if len(several) == len(NAMED) else ""
            raise InputError(f"{folder.name} was run with {place}, which is not here{way}")
    if said and len(several) > len(NAMED):
        raise InputError(f"--{next(iter(said))}: {folder.name} has several backbones or data sets; they must lie there")
    if not said:
        return places
    base = {name: value for name, value in before.base.items() if name in FIELDS}
    use_locations(places)
    found, _ = match(before, RunConfig(**{**base, **names, **said}), said)
    for name, place in said.items():
        if name not in found:
            what = "is another backbone than" if name == "backbone" else "holds other data than"
            raise InputError(f"--{name} {place}: {what} {names[name]}, which {folder.name} was run with")
    return {**places, **{names[name]: place for name, place in found.items() if place != names[name]}}


def read_names(specification: Specification) -> dict[str, str]:
    """Return the names of backbone and data set in an experiment's specification."""
    base = specification.base
    return {name: str(base.get(name, DEFAULTS[name])) for name in NAMED}


def _list_names(specification: Specification) -> list[tuple[str, str]]:
    """Return the names of all backbones and data sets of an experiment, each with its field."""
    own = [{**specification.base, **arm} for arm in specification.own_values.values()] or [specification.base]
    return list(dict.fromkeys((name, str(one.get(name, DEFAULTS[name]))) for name in NAMED for one in own))


def match(
    before: Specification, asked: RunConfig, fields: Collection[str] = ()
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return what has another name and the recorded content, with its name now, and older fingerprints of the data."""
    recorded, names = before.fingerprints, read_names(before)
    now = {"backbone": asked.backbone, "dataset": asked.data.dataset}
    elsewhere = [name for name in NAMED if now[name] != names[name] or name in fields]
    found: dict[str, str] = {}
    if "backbone" in elsewhere and fingerprint_files(now["backbone"]) == recorded.get("backbone"):
        found["backbone"] = now["backbone"]
    if "dataset" not in elsewhere:
        return found, ()
    alike = [*dataset_fingerprints(asked.source), *_named_fingerprints(asked.source, names["dataset"])]
    prints = [fingerprint_tokens(one, asked.backbone, asked.data.max_length) for one in alike]
    if recorded.get("data") not in (*prints, *(digest([reading, prints[0]]) for reading in READINGS)):
        return found, ()
    return {**found, "dataset": now["dataset"]}, tuple(prints[1:])


def _named_fingerprints(source: DataSource, recorded: str) -> list[str]:
    """Return what older versions called one file by its recorded name: the name and its folder's counted there."""
    path, before = Path(find_location(source.name)).expanduser(), Path(recorded)
    if not path.is_file() or source != DataSource(source.name):
        return []
    sha = hashlib.sha256(f"{before.parent.name}/{before.name}".encode())
    sha.update(path.read_bytes())
    return [sha.hexdigest()[:16]]


def _absolute(place: str) -> str:
    path = Path(place).expanduser()
    return str(path.resolve()) if path.exists() else place
