"""What is wrong with the values of a configuration, as one sentence for the person who wrote them."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from xpe_core.errors import InputError
from xpe_core.fields import NUMBER

Model = TypeVar("Model", bound=BaseModel)

PROBLEMS = {
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "dict_type": "must hold keys of its own",
    "model_type": "must hold keys of its own",
    "tuple_type": "must be a list",
}
"""What pydantic calls inputs, strings to be parsed, tuples and dictionaries."""
STRICT = ("int_type", "float_type")
"""Where text is refused although it may read as a number, so that its quotes matter."""
UNION_MEMBER = re.compile(r"\.(str|int|tuple\[.*)$")
"""Which of several types pydantic tried, at the end of a place."""


def build_config(model: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """Return `model(**values)`, or raise InputError with one sentence that names the place `where` and the key."""
    try:
        return model(**values)
    except ValidationError as error:
        problems = dict.fromkeys(_describe(model, dict(problem)) for problem in error.errors(include_url=False))
        raise InputError(f"{where}: {'; '.join(problems)}") from None


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `unknown key 'x'; did you mean 'y'?`, or the list of what is known where nothing is near."""
    known = list(known)
    matches = [one for one in known if one.lower() == name.lower()]
    matches = matches or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {matches[0]!r}?" if matches else f"allowed are {', '.join(known)}"
    return f"unknown key {name!r}; {hint}"


def show_value(value: Any) -> str:
    """Return a value as a person wrote it: text in quotes, a number without, also where it was read as text."""
    return value if isinstance(value, str) and NUMBER.fullmatch(value) else repr(value)


def explain_problem(problem: Mapping[str, Any]) -> str:
    """Return what one of pydantic's errors says, in a person's words."""
    message: str = problem["msg"].removeprefix("Value error, ")
    return PROBLEMS.get(problem["type"]) or (message if problem["type"] == "value_error" else _lower(message))


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _describe(model: type[BaseModel], problem: dict[str, Any]) -> str:
    path = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        inner: Any = model
        for part in path[:-1]:
            inner = inner.model_fields[part].annotation if part in getattr(inner, "model_fields", {}) else inner
        known = list(getattr(inner, "model_fields", model.model_fields))
        return nearest(path[-1], known) + (f" in {'.'.join(path[:-1])}" if path[:-1] else "")
    message = explain_problem(problem)
    if not path or problem["type"] == "unknown_key":
        return message
    place = "".join(f"[{part}]" if part.isdecimal() else f".{part}" for part in path).removeprefix(".")
    if problem["type"] == "missing":
        return f"{place} is missing"
    if problem["input"] is None:
        place = UNION_MEMBER.sub("", place)
        return f"{place} is empty: it must have a value"
    shown = repr(problem["input"]) if problem["type"] in STRICT else show_value(problem["input"])
    return f"{place}={shown}: {message}"
