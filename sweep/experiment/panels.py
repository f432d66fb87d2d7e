"""Panels: an experiment may have several backbones and data sets, and only scores on the same ones compare.

Each panel is an experiment by itself, of the same kind and with those arms that are on its backbone and data set; of a
study with those methods.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from sweep.experiment.arms import Evaluation, Grid, Replication
from sweep.experiment.config import SweepConfig, build_sweep
from sweep.experiment.search import Search
from sweep.experiment.study import Study
from sweep.experiment.transfer import Transfer
from sweep.storage.names import make_name
from xpe_core.config import PANEL_FIELDS, RunConfig
from xpe_core.fields import FieldValue


@dataclass(frozen=True)
class AskedPanel:
    """What an experiment asks for on one backbone and data set."""

    key: str
    """`RunConfig.panel` of all its configurations."""
    name: str
    """What people call it: its backbone, its data set, or both, whichever differ; empty where there is one panel."""
    sweep: SweepConfig
    """The experiment with the panel's arms alone."""

    @property
    def config(self) -> RunConfig:
        """A configuration of the panel: its backbone, data set and task are those of all."""
        return self.sweep.corners[0]


def split_panels(sweep: SweepConfig) -> list[AskedPanel]:
    """Return the panels of an experiment in the order of its arms or methods; a search has a single one."""
    first = {config.panel: config for config in reversed(sweep.corners)}
    keys = list(dict.fromkeys(config.panel for config in sweep.corners))
    if len(keys) <= 1 or isinstance(sweep, Search | Evaluation):
        return [AskedPanel(key, "", sweep) for key in keys[:1]]
    names = name_panels([first[key] for key in keys])
    said = {name: getattr(sweep, name) for name in sweep.model_fields_set}
    field, arms, keys_of_arms = _list_arms(sweep)
    panels = []
    for key, name in zip(keys, names, strict=True):
        own = {arm: values for arm, values in arms.items() if keys_of_arms[arm] == key}
        panels.append(AskedPanel(key, name, build_sweep({**said, "kind": sweep.kind, field: own}, name)))
    return panels


def _list_arms(sweep: Grid | Replication | Transfer | Study) -> tuple[str, Mapping[str, object], dict[str, str]]:
    """Return the key of an experiment's arms or methods, these by their names, and the panel of each."""
    if isinstance(sweep, Study):
        return "methods", sweep.methods, {name: one.corners[0].panel for name, one in sweep.searches.items()}
    return "arms", sweep.arms, {arm: one.panel for (arm, _), one in zip(sweep.cells, sweep.corners, strict=True)}


def name_panels(configs: Sequence[RunConfig]) -> list[str]:
    """Return a short name for each panel, given a configuration of each: no two are alike.

    It is the last part of the backbone's and of the data set's name, where these differ; else more of it.
    """
    values = [config.values for config in configs]
    varied = [field for field in PANEL_FIELDS if len({one[field] for one in values}) > 1]
    short = ["/".join(_shorten(field, one) for field in varied) for one in values]
    if len(set(short)) == len(short):
        return short
    whole = ["/".join(make_name(str(one[field])) for field in varied) for one in values]
    if len(set(whole)) == len(whole):
        return whole
    return [f"{name}-{config.panel}" for name, config in zip(short, configs, strict=True)]


def _shorten(field: str, values: Mapping[str, FieldValue]) -> str:
    text = str(values[field])
    return make_name(PurePosixPath(text).name if field in ("backbone", "dataset") else text)
