"""What an evaluation of adapters is called, and which fields hold for all of them."""

import re
from collections.abc import Sequence
from pathlib import Path

from sweep.experiment.fields import read_value
from sweep.experiment.files import make_paths_absolute
from sweep.experiment.overrides import read_override, split_overrides
from sweep.storage.names import make_name
from xpe_core.config import COMPUTED_FIELDS, DATA_FIELDS
from xpe_core.errors import InputError
from xpe_core.readouts import READOUTS

HUB = "hub:"
"""Begins the name of an adapter on the hub: hub:USER/NAME, hub:USER/NAME@REVISION."""
SEED = re.compile(r"seed[-_]?0*(\d+)")
"""What a folder or a hub's revision is called that holds one seed's adapter."""
OF_ANSWERS = tuple(name for one in READOUTS.values() for name in one.Config.model_fields if name in COMPUTED_FIELDS)
"""Fields of readouts that decide what is computed of an adapter."""
OF_EVALUATIONS = ("backbone", "dataset", "source_set", "max_length", "precision", *OF_ANSWERS, *DATA_FIELDS)
"""Fields of `RunConfig` that decide how an adapter is tested."""


def name_evaluation(source: str) -> str:
    """Return the name of an evaluation of adapters, of which `source` is the first, where none is given."""
    if source.startswith(HUB):
        stem = source.removeprefix(HUB).partition("@")[0].rpartition("/")[2]
    else:
        path = Path(source).expanduser().absolute()
        stem = path.parent.name if SEED.fullmatch(path.name) or path.name == "adapters" else path.stem
    return f"{make_name(stem)}-evaluation"


def read_evaluation_values(overrides: Sequence[str], **given: str | None) -> dict[str, object]:
    """Return the fields of `RunConfig` that hold for all adapters of an evaluation, paths made absolute."""
    values: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    for key, text in split_overrides(overrides).items():
        if key not in OF_EVALUATIONS:
            known = ", ".join(OF_EVALUATIONS)
            raise InputError(f"--set {key}={text}: nothing is trained, so allowed are {known}")
        if key in values:
            raise InputError(f"--set {key}={text} and --{key.replace('_', '-')} {values[key]}: say it once")
        try:
            values[key] = read_value(key, read_override(key, text), f"--set {key}")
        except ValueError as error:
            raise InputError(str(error)) from None
    return make_paths_absolute(values)
