"""What is wrong with the values of a configuration, as one sentence for the person who wrote them."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

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
"""Which of several types pydantic tried, at the end of a key's path."""
UNION_CHECKS = ("function-", "literal[", "constrained-")
"""How the parts of a path begin that are no keys, but checks of one of several types."""


def build_config(model: type[Model], values: Mapping[str, object], where: str) -> Model:
    """Return `model(**values)`, or raise InputError with one sentence that names `where` and the key."""
    try:
        return model(**values)
    except ValidationError as error:
        problems = dict.fromkeys(_describe(model, problem) for problem in error.errors(include_url=False))
        raise InputError(f"{where}: {'; '.join(problems)}") from None


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `unknown key 'x'; did you mean 'y'?`, or the list of what is known where nothing is near."""
    known = list(known)
    matches = [one for one in known if one.lower() == name.lower()]
    matches = matches or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {matches[0]!r}?" if matches else f"allowed are {', '.join(known)}"
    return f"unknown key {name!r}; {hint}"


def show_value(value: object) -> str:
    """Return a value as a person wrote it: text in quotes, a number without, also where it was read as text."""
    return value if isinstance(value, str) and NUMBER.fullmatch(value) else repr(value)


def explain_problem(problem: ErrorDetails) -> str:
    """Return what one of pydantic's errors says, in a person's words."""
    message = problem["msg"].removeprefix("Value error, ")
    return PROBLEMS.get(problem["type"]) or (message if problem["type"] == "value_error" else _lower(message))


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _find_fields(model: type[BaseModel], path: Sequence[str]) -> Iterable[str]:
    """Return the fields of what lies at a path in a model; the model's own where that has none."""
    inner: object = model
    for part in path:
        fields = _fields_of(inner)
        inner = fields[part].annotation if part in fields else inner
    return _fields_of(inner) or model.model_fields


def _fields_of(kind: object) -> Mapping[str, FieldInfo]:
    return kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else {}


def _describe(model: type[BaseModel], problem: ErrorDetails) -> str:
    path = [str(part) for part in problem["loc"] if not str(part).startswith(UNION_CHECKS)]
    if problem["type"] == "extra_forbidden":
        known = _find_fields(model, path[:-1])
        return nearest(path[-1], known) + (f" in {'.'.join(path[:-1])}" if path[:-1] else "")
    message = explain_problem(problem)
    if not path or problem["type"] == "unknown_key":
        return message
    key = "".join(f"[{part}]" if part.isdecimal() else f".{part}" for part in path).removeprefix(".")
    if problem["type"] == "missing":
        return f"{key} is missing"
    if problem["input"] is None:
        key = UNION_MEMBER.sub("", key)
        return f"{key} is empty: it must have a value"
    shown = repr(problem["input"]) if problem["type"] in STRICT else show_value(problem["input"])
    return f"{key}={shown}: {message}"
