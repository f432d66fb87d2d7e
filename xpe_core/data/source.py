"""What a data set is read from: its name, and how its columns and its bad rows are to be taken."""

import glob
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from xpe_core.answers import AnswerKind
from xpe_core.errors import InputError
from xpe_core.tasks import DEFAULT_TASK, TASKS
from xpe_core.tasks.texts import TEXT, TextField

TEXTS = tuple(dict.fromkeys(field.name for task in TASKS.values() for field in task.texts))
"""The texts of all tasks."""
COLUMNS = (*TEXTS, "label", "language", "split", "id", "answers", "title")
"""What a row says; only its texts and its label must be columns, and `id` need not be said at all."""
OnBadRows = Literal["refuse", "skip"]
SHARES = re.compile(r"\d+(/\d+){2}")
"""`split=80/10/10`: percentages that are drawn for train, validation and test."""


class Said(NamedTuple):
    """What `columns` says about one of COLUMNS: the name of a column, or the value of every row."""

    value: str
    constant: bool
    """The value stood in quotation marks: it is no column's name."""


@dataclass(frozen=True)
class DataSource:
    """Where a data set lies and how it is read; equal sources read the same."""

    name: str
    """`cldr`, a hub name, a folder, a file, or a pattern such as `data/*.csv`."""
    config: str | None = None
    """A hub data set's config, or several separated by commas."""
    columns: str | None = None
    """`text=sentence,label=intent`, as `RunConfig.columns`."""
    on_bad_rows: OnBadRows = "refuse"
    texts: tuple[TextField, ...] = (TEXT,)
    """Those of an example, as its task has them."""
    asks: AnswerKind = "class"
    """What an answer is, likewise."""
    doc_stride: int = 0
    """Tokens that neighbouring windows of a long text share, where an answer is a span."""

    @property
    def is_path(self) -> bool:
        """Whether it lies on this machine: a folder or file that is there, or a pattern."""
        return Path(self.name).expanduser().exists() or glob.has_magic(self.name)

    @cached_property
    def said(self) -> dict[str, Said]:
        """What `columns` says, by the names in COLUMNS; InputError where it says something else."""
        try:
            said = parse_columns(self.columns) if self.columns else {}
        except ValueError as error:
            raise InputError(f"columns={self.columns!r}: {error}") from None
        names = [field.name for field in self.texts]
        needless = ("answers", "title") if self.asks == "class" else ("label",)
        if other := [name for name in said if name in needless]:
            raise InputError(f"columns={self.columns!r}: {other[0]} is nothing that this task has")
        if other := [name for name in said if name in TEXTS and name not in names]:
            raise InputError(
                f"columns={self.columns!r}: {other[0]} is no text of this task; it has {' and '.join(names)}"
            )
        return said


def as_source(source: DataSource | str, task: str = DEFAULT_TASK) -> DataSource:
    """Return a data set's source; a name alone is one with nothing said, and with the texts of a task."""
    if not isinstance(source, str):
        return source
    asked = TASKS[task]
    return DataSource(source, texts=asked.texts, asks=asked.asks)


def join_columns(value: object) -> object:
    """Return `columns` in one spelling, whether it came as a mapping or as text; ValueError where it cannot be read."""
    if isinstance(value, Mapping):
        value = ",".join(f"{key}={_escape(str(column))}" for key, column in value.items())
    if not isinstance(value, str) or not value.strip():
        return None if value in ("", {}) else value
    said = parse_columns(value)
    ordered = {name: said[name] for name in COLUMNS if name in said}
    return ",".join(
        f"{name}='{_escape(one.value)}'" if one.constant else f"{name}={_escape(one.value)}"
        for name, one in ordered.items()
    )


def parse_columns(columns: str) -> dict[str, Said]:
    """Return what `text=sentence,language='eng_Latn'` says; a backslash stands before a comma within a name."""
    said: dict[str, Said] = {}
    for part in re.split(r"(?<!\\),", columns):
        name, sign, value = (piece.strip() for piece in part.replace("\\,", ",").partition("="))
        if not name and not sign:
            continue
        name = {"category": "label", "lang": "language", "index_id": "id"}.get(name.lower(), name.lower())
        if name not in COLUMNS or not value:
            form = f"text=sentence,label=intent with {', '.join(COLUMNS)}"
            raise ValueError(f"{part.strip()!r} is not understood; it must look like {form}")
        if name in said:
            raise ValueError(f"{name} stands twice")
        constant = len(value) > 2 and value[0] == value[-1] and value[0] in "'\""
        said[name] = Said(value[1:-1] if constant else value, constant)
    if constant := [name for name in (*TEXTS, "id") if name in said and said[name].constant]:
        raise ValueError(f"{constant[0]} cannot be the same in every row")
    return said


def _escape(value: str) -> str:
    return value.replace(",", "\\,")
