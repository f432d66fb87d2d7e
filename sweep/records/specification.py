"""What an experiment was asked for, as its folder keeps it in `experiment.yaml`, and whether a start asks for the same.

An older file holds the defaults of other kinds of experiment, too, and numbers as text.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import yaml

from sweep.experiment.config import KEYS, SweepConfig
from sweep.experiment.fields import read_fields
from sweep.experiment.panels import split_panels
from sweep.storage import Folder, Location
from xpe_core.config import DEFAULTS, FIELDS
from xpe_core.errors import InputError
from xpe_core.fields import Mark, is_marked

FILE = "experiment.yaml"
MAY_CHANGE = ("num_samples", "budget", "resources", "keep", "groups")
"""Keys that may differ when an experiment is started again; seeds and steps may grow."""
MAY_GROW = ("seeds", "replication_seeds", "targets.max_train_examples")
"""Keys whose lists may have more when an experiment is started again."""
MAY_NAME_MORE = {"transfer": ("source_sets", "targets.languages")}
"""By the kind of experiment: keys whose languages may be more then."""
MAY_GAIN = {"evaluate": ("adapters", "arms"), "study": ("methods",), "transfer": ("arms",)}
"""By the kind of experiment: keys below which there may be more when it is started again."""
OLDER = "older_data"
"""Among an experiment's fingerprints: what older versions called the same data."""
NO_VALUE = object()
NO_TRAINING = "is an evaluation, which tests adapters and trains none"


@dataclass(frozen=True)
class Specification:
    """What makes an experiment the one that it is, and where it found its data and backbone."""

    kind: str
    values: Mapping[str, object]
    """Its keys as they are written, `kind` among them."""
    fingerprints: Mapping[str, str]
    """Of backbone and data."""
    places: Mapping[str, str] = field(default_factory=dict)
    """Where data and backbone of a recorded name lay last, if elsewhere."""
    panels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Where there are several panels: the names of `backbone` and `dataset` by the panel's key."""

    @property
    def base(self) -> dict[str, object]:
        """The fields of `RunConfig` that are the same in all trials."""
        return _copy(self.values.get("base"))

    @property
    def own_values(self) -> dict[str, dict[str, object]]:
        """The fields of `RunConfig` that each arm, or each of a study's methods, has beside `base`; none without."""
        return list_own_values(self.values)

    def to_yaml(self) -> dict[str, object]:
        """Return what the file holds."""
        places = {"places": dict(self.places)} if self.places else {}
        return {**self.values, "fingerprints": dict(self.fingerprints), **places}


def list_own_values(values: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Return what each arm of an experiment's values has beside `base`; of a study, what each method's base says."""
    methods = {name: _copy(method).get("base") for name, method in _copy(values.get("methods")).items()}
    return {arm: _copy(own) for arm, own in (methods or _copy(values.get("arms"))).items()}


def name_fingerprint(what: str, panel: str) -> str:
    """Return the key of a fingerprint, of `backbone` or `data`, in an experiment that has several panels."""
    return f"{what}-{panel}"


def specify(sweep: SweepConfig, fingerprints: Mapping[str, str]) -> Specification:
    """Return what makes an experiment the same one, with numbers as they are read: 5e-3, 0.005 and '5e-3' are one."""
    values = {"kind": sweep.kind, **sweep.model_dump(mode="json")}
    if sweep.kind != "study":  # where a method may have another value than the base
        first = sweep.corners[0].values
        values["base"] = {name: first[name] for name in sweep.base}
    if sweep.kind != "search" and sweep.kind != "study":
        by_arm = dict(zip([arm for arm, _ in sweep.cells], [one.values for one in sweep.corners], strict=True))
        values["arms"] = {arm: {key: by_arm[arm][key] for key in keys} for arm, keys in sweep.arms.items()}
    panels = split_panels(sweep)
    names = {
        panel.key: {"backbone": panel.config.backbone, "dataset": panel.config.data.dataset}
        for panel in panels
        if len(panels) > 1
    }
    return Specification(sweep.kind, values, fingerprints, panels=names)


def read_specification(place: Location) -> Specification:
    """Return an experiment's specification; InputError where the folder holds none, or the file is damaged."""
    folder = Folder(place)
    content = folder.read(FILE)
    if content is None:
        raise InputError(f"{folder} holds no experiment (no file {FILE})")
    return _parse(folder, content)


def refuse_another(folder: Folder, asked: Specification, older_fingerprints: Collection[str] = ()) -> None:
    """Raise InputError with the differences where an experiment of another specification lies in the folder.

    `older_fingerprints` are further ones of the same data.
    """
    content = folder.read(FILE)
    if content is None:
        return
    before = _parse(folder, content)
    another = f"{folder} holds another experiment"
    if before.kind != asked.kind:
        kinds = f"its kind is {before.kind}, this one's is {asked.kind}"
        raise InputError(f"{another}: {kinds}; give this one a --name of its own")
    old, new = _flatten_known(before, asked), _flatten({**asked.values, "fingerprints": asked.fingerprints})
    if asked.panels:
        _move_to_panel(old, before, asked)
    elif old.get("fingerprints.data") in older_fingerprints:
        old["fingerprints.data"] = new["fingerprints.data"]
    contents = _compare_contents(old, new)
    for key, names in asked.panels.items():
        contents |= _compare_contents(old, new, name_fingerprint("", key), names)
    differences = [
        f"{key} was {old.get(key)!r} and is now {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if key not in contents and not _may_differ(key, old, new, asked.kind)
    ]
    if differences or any(contents.values()):
        what = "; ".join([*filter(None, contents.values()), *differences])
        raise InputError(f"{another}: {what}; give this one a --name of its own")


def _parse(folder: Folder, content: bytes) -> Specification:
    """Return what experiment.yaml holds; InputError where no driver wrote it so."""
    try:
        values = yaml.safe_load(content.decode())
    except (yaml.YAMLError, UnicodeDecodeError):
        values = None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values) or "kind" not in values:
        raise InputError(f"{folder}/{FILE} is damaged: it is no YAML with a kind; restore it from a copy")
    fingerprints, places = (_read_texts(folder, key, values.pop(key, None)) for key in ("fingerprints", "places"))
    return Specification(str(values["kind"]), values, fingerprints, places)


def _read_texts(folder: Folder, key: str, value: object) -> dict[str, str]:
    """Return texts by name; none where the key is absent or empty."""
    if value and not isinstance(value, dict):
        raise InputError(f"{folder}/{FILE}: {key} must hold keys of its own, not {value!r}")
    return {name: str(text) for name, text in _copy(value).items()}


def _copy(value: object) -> dict[str, object]:
    """Return what a key holds, nothing where it holds no keys of its own."""
    return {str(name): one for name, one in value.items()} if isinstance(value, Mapping) else {}


def _flatten_known(before: Specification, asked: Specification) -> dict[str, object]:
    """Return what a recorded experiment says by dotted keys, without the keys of other kinds."""
    values = {key: value for key, value in before.values.items() if key in asked.values or key not in KEYS}
    with suppress(ValueError):  # text such as 5e-3 stands for a number in older files
        values = read_fields(values)
    fingerprints = {name: digits for name, digits in before.fingerprints.items() if name != OLDER}
    return _flatten({**values, "fingerprints": fingerprints})


def _move_to_panel(old: dict[str, object], before: Specification, asked: Specification) -> None:
    """Take the fingerprints of an experiment that had one panel for those of this panel, where it has several now."""
    values = {**before.base, **next(iter(before.own_values.values()), {})}
    recorded = {name: str(values.get(name, DEFAULTS[name])) for name in ("backbone", "dataset")}
    for key in [key for key, names in asked.panels.items() if names == recorded][:1]:
        for what in ("backbone", "data"):
            if (digits := old.pop(f"fingerprints.{what}", None)) is not None:
                old[f"fingerprints.{name_fingerprint(what, key)}"] = digits


def _compare_contents(
    old: Mapping[str, object], new: Mapping[str, object], suffix: str = "", named: Mapping[str, str] | None = None
) -> dict[str, str | None]:
    """Return the keys that say which backbone and data an experiment has, with how they differ where they do.

    Of one of several panels the fingerprints have a `suffix`, and backbone and data set are `named` so. The fingerprint
    of the data stands for the backbone's tokens, too, truncated to a length.
    """
    said: dict[str, str | None] = {}
    of_backbone, of_data = f"fingerprints.backbone{suffix}", f"fingerprints.data{suffix}"
    for name, key in (("backbone", of_backbone), ("dataset", of_data)):
        before, now = old.get(key), new.get(key)
        if before is None or before == now:
            continue
        said[key] = None
        is_cut_alike = old.get("base.max_length") == new.get("base.max_length")
        if key == of_data and (of_backbone in said or not is_cut_alike):
            continue
        field = f"base.{name}"
        what = "the backbone is another one" if name == "backbone" else "the data differ"
        names = [named[name] if named else str(values.get(field, DEFAULTS[name])) for values in (old, new)]
        places = names[0] if names[0] == names[1] else f"{names[0]} and {names[1]}"
        said[f"{field}{suffix}"] = f"{what}, in content ({places}; fingerprints {str(before)[:12]} and {str(now)[:12]})"
    return said


def _may_differ(key: str, old: Mapping[str, object], new: Mapping[str, object], kind: str) -> bool:
    """Whether an experiment is the same one with both values of a dotted key."""
    before, now, first = old.get(key), new.get(key), key.split(".")[0]
    if before == now or (first in MAY_GAIN.get(kind, ()) and _is_new(key, old, kind)):
        return True
    if first == "fingerprints" and key not in old and {"arms", "methods"} & {*MAY_GAIN.get(kind, ())}:
        return True  # of the panel of a new arm or method
    if first in ("base", "arms", "methods") and key not in old and now == _had_then(key):
        return True
    if key in MAY_GROW:
        return isinstance(before, list) and isinstance(now, list) and set(before) <= set(now)
    if key in MAY_NAME_MORE.get(kind, ()):
        return set(_list(before)) <= set(_list(now))
    if key == "targets.from_scratch":
        return now is True
    if key.startswith("methods.") and key.split(".")[2:3] == ["default"] and old.get(_above(key)) is None:
        return not any(other.startswith(f"{_above(key)}.") for other in old)  # there was no default setting
    if key == "base.max_steps" or (key.startswith("methods.") and key.endswith(".base.max_steps")):
        return isinstance(before, int) and isinstance(now, int) and before <= now
    return first in MAY_CHANGE


def _above(key: str) -> str:
    """Return the key of a method's default setting that a dotted key is, or is below."""
    return ".".join(key.split(".")[:3])


def _is_new(key: str, old: Mapping[str, object], kind: str) -> bool:
    """Whether what a dotted key says is new in an experiment: of a study the whole method, of others the arm."""
    above = key if kind == "evaluate" else ".".join(key.split(".")[:2])
    return not any(other == above or other.startswith(f"{above}.") for other in old)


def _list(value: object) -> list[object]:
    """Return a list, or the names of a text with commas between them."""
    if isinstance(value, str):
        return [*value.split(",")]
    return [*value] if isinstance(value, list | tuple) else [value]


def _had_then(key: str) -> object:
    """Return what older experiments had of a field that they lack, by its dotted key; no value of any other field."""
    name = key.rpartition(".")[2]
    is_later = name in FIELDS and is_marked(FIELDS[name], Mark.LATER)
    return DEFAULTS[name] if is_later else NO_VALUE


def _flatten(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in values.items():
        flat.update(_flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value})
    return flat
