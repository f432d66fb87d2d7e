"""What a value of a field of `RunConfig` is: its declared type decides, wherever the field stands in an experiment.

A field stands in `base`, `arms`, `space`, `zipped` and in the conditions of `when`. Values come as text, out of YAML
and the command line, or as Python's numbers.
"""

import operator
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from xpe_core.config import FIELDS
from xpe_core.fields import FieldValue, FieldValues, Float
from xpe_core.validation import explain_problem, show_value

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
CONDITION = re.compile(r"(>=|<=|==|!=|>|<)\s*(.+)")
EQUALITIES = ("==", "!=")


def read_fields(values: Mapping[str, object]) -> dict[str, object]:
    """Return an experiment's values with those of `RunConfig`'s fields read; ValueError names the place of a bad one.

    What has not the form of an experiment, and unknown keys, are left as they are: others refuse them.
    """
    found = _read_parts(values, "")
    if isinstance(arms := found.get("arms"), Mapping):
        found["arms"] = {
            arm: _read_values(own, f"arms.{arm}") if isinstance(own, Mapping) else own for arm, own in arms.items()
        }
    if isinstance(targets := found.get("targets"), Mapping):
        found["targets"] = _read_parts(targets, "targets.")
    if isinstance(methods := found.get("methods"), Mapping):
        found["methods"] = {
            name: _read_parts(own, f"methods.{name}.") if isinstance(own, Mapping) else own
            for name, own in methods.items()
        }
    return found


def _read_parts(values: Mapping[str, object], where: str) -> dict[str, object]:
    """Return values with those of `base`, `default`, `space` and `zipped` read; `where` stands before these keys."""
    found = dict(values)
    for key in ("base", "default"):
        if isinstance(own := found.get(key), Mapping):
            found[key] = _read_values(own, f"{where}{key}")
    if isinstance(space := found.get("space"), Mapping):
        found["space"] = {name: _read_dimension(name, dimension, where) for name, dimension in space.items()}
    if isinstance(zipped := found.get("zipped"), list | tuple):
        found["zipped"] = [
            {name: _read_list(name, one, f"{where}zipped[{place}].{name}") for name, one in lists.items()}
            if isinstance(lists, Mapping)
            else lists
            for place, lists in enumerate(zipped)
        ]
    return found


def read_params(params: FieldValues) -> dict[str, FieldValue]:
    """Return drawn values in their fields' types: older ledgers hold `5e-3` as text."""
    found = dict(params)
    for name in params.keys() & FIELDS.keys():
        with suppress(ValueError):  # a range may have been wider once
            found[name] = _read_known(name, params[name], name)
    return found


def read_value(name: str, value: object, place: str) -> object:
    """Return a field's value in its declared type and range; ValueError that begins with the place.

    The value of what is no field is returned as it is.
    """
    return _read_known(name, value, place) if name in FIELDS else value


def _read_known(name: str, value: object, place: str) -> FieldValue:
    if value is None and not is_nullable(name):
        raise ValueError(f"{place} is empty: it must have a value (a text that reads null needs quotes)")
    try:
        return _adapter(name).validate_python(value)
    except ValidationError as error:
        problem = explain_problem(error.errors(include_url=False)[0])
        raise ValueError(f"{place}={show_value(value)}: {problem}") from None


def holds(name: str, condition: object, value: object) -> bool:
    """Whether a condition of `when`, as `read_fields` returns it, holds of a field's value."""
    if isinstance(condition, str) and (match := CONDITION.fullmatch(condition)):
        sign, limit = match.groups()
        if is_number(name) and isinstance(value, int | float):
            return COMPARISONS[sign](value, float(limit))
        return value == limit if sign == "==" else sign == "!=" and value != limit  # of text, or of no value
    return value in condition if isinstance(condition, list | tuple) else bool(value == condition)


def is_whole(name: str) -> bool:
    """Whether a field takes whole numbers."""
    return int in _types(name)


def is_number(name: str) -> bool:
    """Whether a field takes numbers."""
    return bool({int, float} & _types(name))


def is_nullable(name: str) -> bool:
    """Whether a field may have no value."""
    return NoneType in _types(name)


def _types(name: str) -> set[object]:
    """Return the types that a field's value may have, without what stands beside them."""
    annotation = FIELDS[name].annotation if name in FIELDS else None
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return {get_args(option)[0] if get_origin(option) is Annotated else option for option in options}


@cache
def _adapter(name: str) -> TypeAdapter[FieldValue]:
    field = FIELDS[name]
    declared: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    return TypeAdapter(declared, config=ConfigDict(allow_inf_nan=False))


@cache
def _number() -> TypeAdapter[float]:
    return TypeAdapter(Float, config=ConfigDict(allow_inf_nan=False))


def _read_values(values: Mapping[str, object], where: str) -> dict[str, object]:
    """Return fields with their values; `where` is the key that they stand under."""
    return {name: read_value(name, value, f"{where}: {name}") for name, value in values.items()}


def _read_list(name: str, values: object, place: str) -> object:
    if not isinstance(values, list | tuple):
        return values
    return [read_value(name, value, f"{place}[{number}]") for number, value in enumerate(values)]


def _read_dimension(name: str, dimension: object, where: str) -> object:
    if not isinstance(dimension, Mapping):
        return dimension
    found = dict(dimension)
    if "choice" in found:
        found["choice"] = _read_list(name, found["choice"], f"{where}space.{name}.choice")
    if isinstance(when := found.get("when"), Mapping):
        found["when"] = {other: _read_condition(other, one, f"{where}space.{name}.when") for other, one in when.items()}
    return found


def _read_single(name: str, condition: object, place: str) -> object:
    try:
        return read_value(name, condition, place)
    except ValueError as error:
        way = ", or a comparison such as '> 0.5'" if isinstance(condition, str) and is_number(name) else ""
        raise ValueError(f"{error}{way}") from None


def _read_condition(name: str, condition: object, where: str) -> object:
    """Return a condition as `holds` takes it; ValueError where the field can have no such value."""
    place = f"{where}: {name}"
    if name not in FIELDS:
        return condition
    if isinstance(condition, Mapping):
        raise ValueError(f"{place} must be a value, a list of values, or a comparison such as '> 0'")
    if isinstance(condition, list | tuple):
        return _read_list(name, condition, place)
    if not isinstance(condition, str) or not (match := CONDITION.fullmatch(condition.strip())):
        return _read_single(name, condition, place)
    sign, limit = match.groups()
    if not is_number(name):
        if sign not in EQUALITIES:
            raise ValueError(f"{place}={condition!r}: {name} is text, so {' and '.join(EQUALITIES)} are allowed")
        return f"{sign} {read_value(name, limit, place)}"
    try:
        _number().validate_python(limit)
    except ValidationError:
        raise ValueError(f"{place}={condition!r}: {name} is a number, and {limit!r} is none") from None
    return condition.strip()
