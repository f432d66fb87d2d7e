"""One experiment: what is fixed, what varies, with which seeds it is run, and what is measured.

A field of `RunConfig` stands in `base` or in what varies (`space`, `arms`), never in both, so there is one place to
look for what a run used.
"""

from collections.abc import Mapping

from pydantic.fields import FieldInfo

from sweep.experiment.arms import Evaluation, Grid, Replication
from sweep.experiment.search import Search
from sweep.experiment.study import Study
from sweep.experiment.transfer import Transfer
from xpe_core.errors import InputError
from xpe_core.validation import build_config, show_value

SweepConfig = Search | Grid | Replication | Transfer | Evaluation | Study
"""An experiment; `kind` says which."""

KINDS: dict[str, type[SweepConfig]] = {
    "search": Search,
    "grid": Grid,
    "replicate": Replication,
    "transfer": Transfer,
    "evaluate": Evaluation,
    "study": Study,
}
"""`search` proposes configurations, `grid` runs the named ones, `replicate` the best of another experiment;
`transfer` trains what a grid has trained further on target languages; `evaluate` trains nothing and tests adapters;
`study` searches several methods and runs their winners again.
"""
UNKNOWN_SOURCES = "unknown"
"""The source set of an adapter that does not say what it was trained on."""
KEYS: dict[str, FieldInfo] = {name: field for kind in KINDS.values() for name, field in kind.model_fields.items()}
"""The keys of experiment files, of all kinds."""


def build_sweep(values: Mapping[str, object], where: str) -> SweepConfig:
    """Return an experiment of the kind that its values say, a search where they say none.

    InputError with one sentence that names the place `where` and the key.
    """
    try:
        model, own = _choose_kind(values)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    return build_config(model, own, where)


def make_sweep(**values: object) -> SweepConfig:
    """Return an experiment of the kind that its values say; ValueError where something is wrong."""
    model, own = _choose_kind(values)
    return model(**own)


def _choose_kind(values: Mapping[str, object]) -> tuple[type[SweepConfig], dict[str, object]]:
    """Return the class of an experiment and the values for it: a key of another kind may be empty, and is left out."""
    kind = values.get("kind", "search")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind={show_value(kind)}: must be one of {', '.join(KINDS)}")
    model = KINDS[kind]
    foreign = [name for name in values if name in KEYS and name not in model.model_fields]
    for name in foreign:
        if values[name]:
            owner = next(other for other, one in KINDS.items() if name in one.model_fields)
            raise ValueError(f"{name} belongs to kind: {owner}, and this is kind: {kind}")
    return model, {name: value for name, value in values.items() if name not in foreign}
