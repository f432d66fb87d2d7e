"""What the manual says of protocols: every member is there, and what it quotes stands in the code."""

import re
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from textwrap import dedent

import pytest

from xpe_core.backbones.insertion import Insertion
from xpe_core.fields import Mark
from xpe_core.readouts.readout import Readout
from xpe_core.tasks.metrics import Metric
from xpe_core.tasks.task import Task
from xpe_core.tunings.tuning import Tuning

ROOT = Path(__file__).parents[2]
QUOTE = re.compile(r"[Ff]rom `([\w./]+)`:\n\n```python\n(.*?)```", re.S)


def list_rows(page: str, title: str) -> list[str]:
    """Return the first cells, in code, of the tables under a title of a page."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {title}$(.*?)(?=^## |\Z)", text, re.M | re.S)
    return re.findall(r"^\| `([\w.]+)` \|", section, re.M)


def list_members(protocol: type) -> set[str]:
    """Return what a protocol asks for, or the fields of a data class."""
    if is_dataclass(protocol):
        return {field.name for field in fields(protocol)}
    names = {*vars(protocol), *protocol.__annotations__}
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize(
    ("page", "title", "protocol"),
    [
        ("adding_a_method", "The tuning", Tuning),
        ("adding_a_method", "What it may insert", Insertion),
        ("adding_a_method", "A readout", Readout),
        ("adding_a_task", "The task", Task),
        ("adding_a_task", "A metric", Metric),
    ],
)
def test_every_member_of_a_protocol_is_explained(page: str, title: str, protocol: type) -> None:
    assert set(list_rows(page, title)) == list_members(protocol)


def test_every_mark_is_explained() -> None:
    marks: type[Enum] = Mark
    assert list_rows("adding_a_method", "Its fields") == [f"Mark.{mark.name}" for mark in marks]


@pytest.mark.parametrize("page", ["adding_a_method", "adding_a_task"])
def test_quotes_stand_in_the_code(page: str) -> None:
    quotes = QUOTE.findall((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))
    assert quotes
    for path, quote in quotes:
        code = (ROOT / path).read_text(encoding="utf-8")
        assert dedent(quote) in code or quote in code, path
