"""`evaluate`: adapters, whoever trained them, as the runs of an experiment that only tests.

Adapters that differ only in their seed are one arm. Their files are read here, brought into the data set's order of
classes and sent to the workers through Ray, so a worker needs neither the files nor the hub.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

import torch

from sweep.experiment.classes import read_with_classes
from sweep.experiment.config import UNKNOWN_SOURCES, SweepConfig, build_sweep
from sweep.experiment.evaluated import HUB, OF_ANSWERS, SEED
from sweep.experiment.panels import split_panels
from sweep.planning.languages import choose_languages
from sweep.planning.plan import Plan, load_panel
from sweep.records.adapters import SUFFIX
from xpe_core.adapters import Adapter, check_backbone
from xpe_core.adapters.safetensors_file import to_bytes
from xpe_core.adapters.transformers_folder import is_transformers
from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import DATA_FIELDS, DEFAULTS, SETTINGS
from xpe_core.data.labelled_data import LabelledData, load_labels
from xpe_core.digests import digest
from xpe_core.errors import InputError
from xpe_core.fields import FieldValue
from xpe_core.lists import join_list
from xpe_core.pack import check_config
from xpe_core.readouts import READOUTS

UNNAMED = re.compile(r"LABEL_\d+")
IN_DATA_SETS_ORDER = "dataset"
"""As `--classes`: an adapter's classes are those of the data set, in its order."""

MAY_BE_ABSENT = ("task", *DATA_FIELDS)
"""Fields that all adapters have in common, and that adapters of their time do not say."""


@dataclass(frozen=True)
class Found:
    """An adapter, and where it belongs."""

    source: str
    """Its path, or its name on the hub."""
    arm: str
    seed: int
    family: str
    """What the adapters of its arm have in common: where they come from, and what is known of their configuration."""
    adapter: Adapter


def find_adapters(sources: Iterable[str], classes: Sequence[str] | None) -> list[Found]:
    """Read adapters from files, folders, folders of folders seed-NN, folders of run files, and the hub.

    Seeds of one arm are runs of this project that differ in nothing else, folders seed-NN beside one another, and
    revisions seed-NN of one repository; any other adapter is an arm by itself. `classes` names the classes of adapters
    that do not name them themselves, in the order of their logits. InputError where one cannot be read, is given
    twice, or has the seed of another one of its arm.
    """
    read = [(one, read_with_classes(one, classes)) for source in sources for one in _expand(source)]
    first: dict[str, str] = {}
    for source, adapter in read:
        if (other := first.get(adapter.fingerprint)) is not None:
            raise InputError(f"{other} and {source} are the same adapter: give one of them")
        first[adapter.fingerprint] = source
    families: dict[str, list[tuple[str, Adapter]]] = defaultdict(list)
    for source, adapter in read:
        families[digest([_origin(source, adapter), _kind(adapter)])].append((source, adapter))
    names = {family: _name(*members[0]) for family, members in families.items()}
    found = []
    for family, members in families.items():
        alike = [one for one, name in names.items() if name == names[family]]
        arm = names[family] if len(alike) == 1 else f"{names[family]}-{family[:6]}"
        seeds = [_read_seed(*member) for member in members]
        if twice := [seed for seed in seeds if seed is not None and seeds.count(seed) > 1]:
            which = [source for (source, _), seed in zip(members, seeds, strict=True) if seed == twice[0]]
            raise InputError(f"{' and '.join(which)} are both seed {twice[0]} of {arm}: give one of them")
        found += [
            Found(source, arm, 1 if seed is None else seed, family, adapter)
            for (source, adapter), seed in zip(members, seeds, strict=True)
        ]
    return found


def build_evaluation(
    found: Sequence[Found], languages: str, max_examples: int | None, values: Mapping[str, object]
) -> SweepConfig:
    """Return the experiment that tests the adapters; `values` of `RunConfig` hold for all of them.

    What neither an adapter nor `values` say stays unknown, but for what testing needs.
    """
    arms: dict[str, dict[str, object]] = {}
    adapters: dict[str, dict[int, str]] = defaultdict(dict)
    for one in sorted(found, key=lambda one: (one.arm, one.seed)):
        adapters[one.arm][one.seed] = one.adapter.fingerprint
        _check_values(one, values)
        if one.arm not in arms:
            known = {**one.adapter.known, **values, "imported": one.family}
            if "dataset" in values:  # how the data it was trained on were read is no matter
                known = {name: value for name, value in known.items() if name not in DATA_FIELDS or name in values}
            known = {"source_set": UNKNOWN_SOURCES, "precision": "float32", "max_length": 164, **known}
            arms[one.arm] = {name: value for name, value in known.items() if name != "seed"}
    base = {}
    for field in ("backbone", "dataset", *MAY_BE_ABSENT):
        default = DEFAULTS[field]
        if field in MAY_BE_ABSENT and all(arm.get(field, default) == default for arm in arms.values()):
            arms = {arm: {key: value for key, value in own.items() if key != field} for arm, own in arms.items()}
            continue
        different = sorted({str(arm.get(field, default)) for arm in arms.values()})
        if len(different) > 1:
            raise InputError(f"the adapters have different {field}s ({', '.join(different)}); say --{field} for all")
        base[field] = different[0]
    settings = {
        "kind": "evaluate",
        "base": base,
        "arms": {arm: {key: value for key, value in own.items() if key not in base} for arm, own in arms.items()},
        "adapters": dict(adapters),
        "seeds": sorted({one.seed for one in found}),
        "evaluation": {"languages": languages, "max_examples": max_examples},
    }
    return build_sweep(settings, "evaluate")


def prepare_evaluation(name: str, sweep: SweepConfig, found: Sequence[Found], in_data_sets_order: bool = False) -> Plan:
    """Check adapters against backbone and data, and pack them for the workers; InputError where something is amiss.

    Classes that an adapter does not name are those of the data set `in_data_sets_order`, if that is said.
    """
    first = sweep.corners[0]
    labels = load_labels(first.source, first.backbone, first.task)
    chosen = choose_languages(sweep, labels)
    if without := [language for language in chosen.targets if "test" not in labels.counts[language]]:
        raise InputError(f"dataset {labels.name}: language {without[0]!r} has no test split")
    ordered = [_in_order(one, labels, in_data_sets_order) for one in found]
    backbone = load_backbone(first.backbone)
    configs = {arm: config for (arm, _), config in zip(sweep.cells, sweep.corners, strict=True)}
    for config in configs.values():
        check_config(config, backbone.shape)
    for one in found:
        try:
            check_backbone(one.adapter, backbone)
        except InputError as error:
            raise InputError(f"{one.source}: {error}") from None
    files: dict[str, bytes] = {}
    for one, adapter in zip(found, ordered, strict=True):
        config = configs[one.arm].with_seed(one.seed)
        facts = {**adapter.facts, "adapter": one.source, "adapter_fingerprint": one.adapter.fingerprint}
        files[config.run_id] = to_bytes(replace(adapter, config=config, facts=facts))
    (panel,) = split_panels(sweep)
    return Plan(name, sweep, (load_panel(panel, chosen),), files)


def _in_order(one: Found, data: LabelledData, in_data_sets_order: bool) -> Adapter:
    """Return an adapter with the data set's classes in its order; InputError names the adapter."""
    try:
        return order_classes(name_classes(one.adapter, data) if in_data_sets_order else one.adapter, data)
    except InputError as error:
        raise InputError(f"{one.source}: {error}") from None


def name_classes(adapter: Adapter, data: LabelledData) -> Adapter:
    """Return an adapter whose unnamed classes are the data set's, in its order; InputError where the numbers differ."""
    if not all(UNNAMED.fullmatch(label) for label in adapter.label_names):
        return adapter
    if len(adapter.label_names) != len(data.label_names):
        raise InputError(
            f"--classes {IN_DATA_SETS_ORDER}: the adapter has {len(adapter.label_names)} classes, "
            f"and dataset {data.name} has {len(data.label_names)}"
        )
    return replace(adapter, label_names=data.label_names)


def order_classes(adapter: Adapter, data: LabelledData) -> Adapter:
    """Return an adapter whose first classes are the data set's, in its order; InputError where it lacks one."""
    own, wanted = adapter.label_names, data.label_names
    if not own and not wanted:  # answers are no classes
        return adapter
    if missing := [label for label in wanted if label not in own]:
        raise InputError(
            f"the adapter has no class {missing[0]!r} of dataset {data.name}: its classes are {', '.join(own)}; "
            f"if they are unnamed or named otherwise, say --classes {quote(join_list(wanted))} in the order of its "
            f"logits, or --classes {IN_DATA_SETS_ORDER} where that is the data set's"
        )
    names = (*wanted, *(label for label in own if label not in wanted))
    places = torch.tensor([own.index(label) for label in names])
    part = adapter.config.readout.readout
    tensors = [f"{part}.{name}" for name in READOUTS[part].class_tensors]
    ordered = {name: adapter.parameters[name][places] for name in tensors}
    return replace(adapter, label_names=names, parameters={**adapter.parameters, **ordered})


def _expand(source: str) -> list[str]:
    """Return the single adapters that a source stands for."""
    folder = Path(source).expanduser()
    if source.startswith(HUB) or not folder.is_dir() or (folder / "adapter_config.json").is_file():
        return [source]
    if is_transformers(folder):
        return [source]
    if seeds := sorted(child for child in folder.iterdir() if child.is_dir() and SEED.fullmatch(child.name)):
        return [str(child) for child in seeds]
    files = sorted(folder.glob("*.safetensors"))
    return [str(file) for file in files] if len(files) > 1 else [source]


def _check_values(one: Found, values: Mapping[str, object]) -> None:
    """Raise InputError where what an adapter says of its training would be overruled."""
    for field in ("source_set", *OF_ANSWERS):
        known = one.adapter.known.get(field)
        if field in values and known not in (None, values[field]):
            raise InputError(f"{one.source}: its {field} is {known}, and cannot be made {values[field]}")


def _split(source: str) -> tuple[str, str]:
    """Return the last part of a source, which may be a seed's name, and what stands before it."""
    if source.startswith(HUB):
        repository, _, revision = source.partition("@")
        return revision, repository
    path = Path(source).expanduser().resolve()
    return path.name.removesuffix(SUFFIX), str(path.parent)


def _read_seed(source: str, adapter: Adapter) -> int | None:
    if "seed" in adapter.known:
        return adapter.config.seed
    matched = SEED.fullmatch(_split(source)[0])
    return int(matched[1]) if matched else None


def _is_own(source: str, adapter: Adapter) -> bool:
    """Whether a source is a run's file, as experiments keep them."""
    return "run_id" in adapter.facts and _split(source)[0] == adapter.facts["run_id"]


def _origin(source: str, adapter: Adapter) -> str:
    """Return what adapters that are seeds of one arm have in common in their places."""
    last, before = _split(source)
    if _is_own(source, adapter):
        return "run"
    return before if SEED.fullmatch(last) else source


def _name(source: str, adapter: Adapter) -> str:
    """Return what an adapter's arm is called: its folder or repository without the seed, or what it is."""
    last, before = _split(source)
    if _is_own(source, adapter):
        return adapter.config.method
    return before.rpartition("/")[2] if SEED.fullmatch(last) or source.startswith(HUB) else last


def _kind(adapter: Adapter) -> dict[str, FieldValue]:
    """Return what is known of a configuration without its seed."""
    own = {name: value for name, value in adapter.known.items() if name in SETTINGS}
    if own.get("task") == DEFAULTS["task"]:  # older adapters have the same one, and do not say it
        del own["task"]
    return own
