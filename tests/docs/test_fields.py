"""The page of fields: it says what the code says, of every field."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from docs.write_fields import COMMAND, PAGE, ROOTS, list_sections, write_page, write_table
from xpe_core.fields import Float, Int


class Prompt(BaseModel):
    """Virtual tokens."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    tuning: Literal["prompt"] = "prompt"
    """Which it is."""
    num_tokens: Annotated[Int | None, Field(ge=1)] = None
    """Tokens,
    or null.
    """


class Lora(BaseModel):
    """Low-rank updates."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    tuning: Literal["lora"] = "lora"
    """Which it is."""


class Whole(BaseModel):
    """A model with a part of two kinds."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    tuning: Prompt | Lora = Prompt()
    rate: Float = Field(5e-5, gt=0, lt=2**31)
    """Where a | stands."""
    sizes: tuple[Int, Int]
    """Two sizes."""


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == write_page(), f"docs/fields.md is not fresh: run {COMMAND}"


def test_every_field_says_what_it_is() -> None:
    silent = [
        f"{section.name}{name}"
        for _, _, model in ROOTS
        for section in list_sections(model)
        for name, field in section.fields.items()
        if not field.description
    ]
    assert not silent


def test_a_part_is_a_section_for_each_of_its_kinds() -> None:
    sections = list(list_sections(Whole))
    assert [(section.name, section.text) for section in sections] == [
        ("", ""),
        ("`tuning: prompt`", "Virtual tokens."),
        ("`tuning: lora`", "Low-rank updates."),
    ]
    assert [list(section.fields) for section in sections] == [["rate", "sizes"], ["tuning", "num_tokens"], ["tuning"]]


def test_a_row_says_type_bounds_default_and_docstring() -> None:
    own, prompt, _ = list_sections(Whole)
    assert write_table(own.fields).splitlines()[2:] == [
        r"| `rate` | number, above 0, below 2147483648 | `5e-5` | Where a \| stands. |",
        "| `sizes` | [whole number, whole number] | needed | Two sizes. |",
    ]
    assert write_table(prompt.fields).splitlines()[2:] == [
        "| `tuning` | `prompt` | `prompt` | Which it is. |",
        "| `num_tokens` | whole number, at least 1; or `null` | `null` | Tokens, or null. |",
    ]
