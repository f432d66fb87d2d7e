"""`evaluate`: adapters, whoever trained them, as the runs of an experiment that only tests.

Adapters that differ only in their seed are one arm. Their files are read here, brought into the data set's order of
classes and sent to the workers through Ray, so a worker needs neither the files nor the hub.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sweep.config import UNKNOWN_SOURCES, SweepConfig
from sweep.experiments import HUB, SEED
from sweep.plan import Plan
from xpe_core.adapters import Adapter, check_backbone, read_adapter
from xpe_core.adapters.safetensors_file import to_bytes
from xpe_core.backbones import find_max_positions, load_backbone
from xpe_core.checkpoints import fingerprint_checkpoint
from xpe_core.config import RunConfig, build_config
from xpe_core.errors import InputError
from xpe_core.model import check_positions
from xpe_core.tokens import TokenisedData, load_tokens

UNNAMED = re.compile(r"LABEL_\d+")
IN_DATA_SETS_ORDER = "dataset"
"""As `--classes`: an adapter's classes are those of the data set, in its order."""


@dataclass(frozen=True)
class Found:
    """An adapter, and where it belongs."""

    source: str
    """Its path, or its name on the hub."""
    arm: str
    seed: int
    adapter: Adapter


def find_adapters(sources: Iterable[str], classes: Sequence[str] | None) -> list[Found]:
    """Read adapters from files, folders, folders of folders seed-NN, folders of run files, and the hub.

    `classes` names the classes of adapters that do not name them themselves, in the order of their logits. InputError
    where one cannot be read, or two of one arm have the same seed.
    """
    found: list[tuple[str, str, int | None, Adapter]] = []
    for source in sources:
        for one in _expand(source):
            adapter = read_adapter(one, classes)
            seed = adapter.config.seed if "seed" in adapter.config.model_fields_set else _read_seed(one)
            found.append((one, _name(one, adapter), seed, adapter))
    by_arm: dict[tuple[str, str], list[tuple[str, int | None, Adapter]]] = defaultdict(list)
    for one, name, seed, adapter in found:
        by_arm[name, _kind(adapter.config)].append((one, seed, adapter))
    names = [name for name, _ in by_arm]
    arms: list[Found] = []
    for (name, kind), members in by_arm.items():
        arm = name if names.count(name) == 1 else f"{name}-{kind[:6]}"
        taken = {seed for _, seed, _ in members if seed is not None}
        free = (number for number in range(1, 1_000_000) if number not in taken)
        for one, seed, adapter in members:
            arms.append(Found(one, arm, next(free) if seed is None else seed, adapter))
        numbers = [each.seed for each in arms if each.arm == arm]
        if twice := [number for number in numbers if numbers.count(number) > 1]:
            which = " and ".join(each.source for each in arms if each.arm == arm and each.seed == twice[0])
            raise InputError(f"{which} are both seed {twice[0]} of {arm}: give one of them")
    return arms


def build_evaluation(
    found: Sequence[Found], languages: str, max_examples: int | None, values: Mapping[str, Any]
) -> SweepConfig:
    """Return the experiment that tests the adapters; `values` of `RunConfig` hold for all of them.

    What neither an adapter nor `values` say stays unknown, but for what testing needs.
    """
    arms: dict[str, dict[str, Any]] = {}
    adapters: dict[str, dict[int, str]] = defaultdict(dict)
    for one in sorted(found, key=lambda one: (one.arm, one.seed)):
        adapters[one.arm][one.seed] = one.adapter.fingerprint
        if one.arm not in arms:
            known = {**one.adapter.known, **values, "imported": one.adapter.fingerprint}
            known = {"source_set": UNKNOWN_SOURCES, "precision": "float32", "max_length": 164, **known}
            arms[one.arm] = {name: value for name, value in known.items() if name != "seed"}
    base = {}
    for field in ("backbone", "dataset"):
        different = sorted({str(arm.get(field, RunConfig.model_fields[field].default)) for arm in arms.values()})
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
    return build_config(SweepConfig, settings, "evaluate")


def prepare_evaluation(name: str, sweep: SweepConfig, found: Sequence[Found], in_data_sets_order: bool = False) -> Plan:
    """Check adapters against backbone and data, and pack them for the workers; InputError where something is amiss.

    Classes that an adapter does not name are those of the data set `in_data_sets_order`, if that is said.
    """
    first = sweep.corners[0]
    backbone = load_backbone(first.backbone)
    max_positions = find_max_positions(first.backbone)
    configs = {arm: config for (arm, _), config in zip(sweep.cells, sweep.corners, strict=True)}
    for config in configs.values():
        check_positions(config, max_positions)
    data = load_tokens(first.dataset, first.backbone, first.max_length)
    targets = data.resolve(sweep.evaluation.languages)
    if without := [language for language in targets if not data.labels_of(language, "test")]:
        raise InputError(f"dataset {data.name}: language {without[0]!r} has no test split")
    files: dict[str, bytes] = {}
    for one in found:
        try:
            check_backbone(one.adapter, backbone)
            named = name_classes(one.adapter, data) if in_data_sets_order else one.adapter
            ordered = order_classes(named, data)
        except InputError as error:
            raise InputError(f"{one.source}: {error}") from None
        config = configs[one.arm].with_seed(one.seed)
        facts = {**ordered.facts, "adapter": one.source, "adapter_fingerprint": one.adapter.fingerprint}
        files[config.run_id] = to_bytes(replace(ordered, config=config, facts=facts))
    fingerprints = {"backbone": fingerprint_checkpoint(first.backbone), "data": data.fingerprint}
    return Plan(name, sweep, data, fingerprints, (), targets, files)


def name_classes(adapter: Adapter, data: TokenisedData) -> Adapter:
    """Return an adapter whose unnamed classes are the data set's, in its order; InputError where the numbers differ."""
    if not all(UNNAMED.fullmatch(label) for label in adapter.label_names):
        return adapter
    if len(adapter.label_names) != len(data.label_names):
        raise InputError(
            f"--classes {IN_DATA_SETS_ORDER}: the adapter has {len(adapter.label_names)} classes, "
            f"and dataset {data.name} has {len(data.label_names)}"
        )
    return replace(adapter, label_names=data.label_names)


def order_classes(adapter: Adapter, data: TokenisedData) -> Adapter:
    """Return an adapter whose first classes are the data set's, in its order; InputError where it lacks one."""
    own, wanted = adapter.label_names, data.label_names
    if missing := [label for label in wanted if label not in own]:
        raise InputError(
            f"the adapter has no class {missing[0]!r} of dataset {data.name}: its classes are {', '.join(own)}; "
            f"if they are unnamed or named otherwise, say --classes {','.join(wanted)} in the order of its logits, "
            f"or --classes {IN_DATA_SETS_ORDER} where that is the data set's"
        )
    names = (*wanted, *(label for label in own if label not in wanted))
    places = torch.tensor([own.index(label) for label in names])
    head = {name: adapter.parameters[name][places] for name in ("head.out.weight", "head.out.bias")}
    return replace(adapter, label_names=names, parameters={**adapter.parameters, **head})


def _expand(source: str) -> list[str]:
    """Return the single adapters that a source stands for."""
    folder = Path(source).expanduser()
    if source.startswith(HUB) or not folder.is_dir() or (folder / "adapter_config.json").is_file():
        return [source]
    if seeds := sorted(child for child in folder.iterdir() if child.is_dir() and SEED.fullmatch(child.name)):
        return [str(child) for child in seeds]
    files = sorted(folder.glob("*.safetensors"))
    return [str(file) for file in files] if len(files) > 1 else [source]


def _read_seed(source: str) -> int | None:
    last = source.rpartition("@")[2] if source.startswith(HUB) else Path(source).stem
    matched = SEED.fullmatch(last)
    return int(matched[1]) if matched else None


def _name(source: str, adapter: Adapter) -> str:
    """Return what an adapter's arm is called: its folder or repository without the seed, or what it is."""
    if source.startswith(HUB):
        return source.removeprefix(HUB).partition("@")[0].rpartition("/")[2]
    path = Path(source).expanduser().resolve()
    if path.stem == adapter.facts.get("run_id"):
        return adapter.config.method
    return path.parent.name if SEED.fullmatch(path.stem) else path.stem


def _kind(config: RunConfig) -> str:
    """Return what the adapters of one arm have in common."""
    return RunConfig(**{**config.known, "seed": 0}).config_id
