"""Write docs/fields.md from the docstrings under the fields of runs and experiments: `python -m docs.write_fields`.

A field that holds a part with fields of its own is a section; where several kinds of part may stand, each is one.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sweep.experiment.base import Sweep
from sweep.experiment.config import KINDS
from sweep.experiment.space import Dimension
from sweep.experiment.study import MethodConfig
from xpe_core.config import CHOICES, RunConfig
from xpe_core.fields import FieldValue

PAGE = Path(__file__).parent / "fields.md"
COMMAND = "python -m docs.write_fields"
HEAD = """# Fields

<!-- Written by `{command}` from the docstrings in the code: change these, and run it again. -->

All that may stand in an experiment file. [Experiments](experiments.md) shows whole files. What is not named has its
default, which for a run is the published recipe's value where there is one (*recipe*).

A value is read by its field's type: text needs no quotes, and `null` is no value.
"""


def tidy(docstring: str | None) -> str:
    """Return a docstring on one line."""
    return " ".join((docstring or "").split())


ROOTS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    (
        "A run",
        "In `base`, `space`, `zipped` and `arms`, and after `--set`. An experiment names no `seed`, but `seeds`.",
        RunConfig,
    ),
    (
        "An experiment",
        "At the top of the file. `--set` reaches these, too, with dots: `--set scheduler.grace_period=40`.",
        Sweep,
    ),
    *(
        (f"`kind: {name}`", f"{tidy(kind.__doc__)} These fields stand beside those of every experiment.", kind)
        for name, kind in KINDS.items()
    ),
    ("A method", "Of a study's `methods`, by the method's name.", MethodConfig),
    ("A dimension", "Of `space`, by the name of the searched field.", Dimension),
)
"""The page's chapters: title, where the fields stand, and the model that has them."""
TYPES = {str: "text", int: "whole number", float: "number", bool: "true or false", object: "any value"}
NAMED = {Dimension: "a dimension", MethodConfig: "a method"}
"""Models that have a chapter of their own."""
BOUNDS = {Ge: ("ge", "at least"), Gt: ("gt", "above"), Le: ("le", "at most"), Lt: ("lt", "below")}


class Section(NamedTuple):
    """A table of fields."""

    name: str
    """The field that holds the part, with its kind where it has one; empty for fields of no part."""
    text: str
    fields: dict[str, FieldInfo]


def write_page() -> str:
    """Return the page's text."""
    chapters = [HEAD.format(command=COMMAND)]
    for title, place, model in ROOTS:
        chapters.append(f"## {title}\n\n{place}\n")
        without = Sweep.model_fields if issubclass(model, Sweep) and model is not Sweep else ()
        for section in list_sections(model, without=without):
            chapters += [f"### {section.name}\n"] if section.name else []
            chapters += [f"{section.text}\n"] if section.text else []
            chapters.append(write_table(section.fields))
    return "\n".join(chapters)


def list_sections(model: type[BaseModel], name: str = "", without: Collection[str] = ()) -> Iterator[Section]:
    """Return the model's own fields, and then those of the parts that its fields hold; none of those `without`."""
    own, parts = {}, []
    for field_name, field in model.model_fields.items():
        if field_name in without:
            continue
        if kinds := _find_choices(model, field_name) or find_kinds(field.annotation):
            parts += [(field_name, kind) for kind in kinds]
        else:
            own[field_name] = field
    if own:
        yield Section(name, tidy(model.__doc__) if name else "", own)
    for field_name, kind in parts:
        choice = f": {kind.model_fields[field_name].default}" if field_name in kind.model_fields else ""
        yield from list_sections(kind, f"`{field_name}{choice}`")


def _find_choices(model: type[BaseModel], name: str) -> list[type[BaseModel]]:
    """Return what a part of a run's configuration may be."""
    return [*CHOICES[name].values()] if model is RunConfig and name in CHOICES else []


def find_kinds(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that a field may hold, none where it holds a value."""
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return [kind for one in get_args(annotation) for kind in find_kinds(one)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []


def write_table(fields: dict[str, FieldInfo]) -> str:
    """Return the rows of a Markdown table, one a field."""
    rows = ["| field | takes | default | what it is |", "|---|---|---|---|"]
    for name, field in fields.items():
        default = "needed" if field.is_required() else f"`{show(field.default)}`"
        cells = (f"`{name}`", describe_type(field.annotation, field.metadata), default, tidy(field.description))
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def describe_type(annotation: Any, metadata: list[Any] | tuple[Any, ...] = ()) -> str:
    """Return what a field takes, in a person's words."""
    if annotation == FieldValue:
        return TYPES[object]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return describe_type(arguments[0], [*_unpack(arguments[1:]), *metadata])
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in arguments)
    if origin in (Union, UnionType):
        kinds = dict.fromkeys(describe_type(one, metadata) for one in arguments if one is not NoneType)
        return "; or ".join([*kinds, *(["`null`"] if NoneType in arguments else [])])
    if origin is tuple and arguments[-1] is not Ellipsis:
        return f"[{', '.join(describe_type(one) for one in arguments)}]"
    if origin is tuple:
        return f"list, each: {describe_type(arguments[0])}"
    if origin is dict:
        return f"keys, each: {describe_type(arguments[1])}"
    if annotation in NAMED:
        return NAMED[annotation]
    return TYPES[annotation] + _describe_bounds(metadata)


def _unpack(metadata: tuple[Any, ...]) -> list[Any]:
    """Return the bounds among what an `Annotated` says, also those inside a `Field`."""
    return [inner for one in metadata for inner in (one.metadata if isinstance(one, FieldInfo) else [one])]


def _describe_bounds(metadata: list[Any] | tuple[Any, ...]) -> str:
    bounds = {
        kind: getattr(one, name) for one in metadata for kind, (name, _) in BOUNDS.items() if isinstance(one, kind)
    }
    return "".join(f", {words} {show(bounds[kind])}" for kind, (_, words) in BOUNDS.items() if kind in bounds)


def show(value: Any) -> str:
    """Return a default as it is written in YAML."""
    if isinstance(value, BaseModel):
        return "{" + ", ".join(f"{name}: {show(one)}" for name, one in value) + "}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(show, value))}]"
    return f"{value:g}".replace("e-0", "e-") if isinstance(value, float) else str(value)


def main() -> None:
    """Write the page."""
    PAGE.write_text(write_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
