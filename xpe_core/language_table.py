"""The 205 languages of SIB-200, with what is known of each whatever reads it and whatever is asked."""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Language:
    """One row of the language table."""

    code: str
    """FLORES-200 code: ISO 639-3, underscore, ISO 15924 script."""
    name: str
    script: str
    family: str
    region: str
    joshi_class: int | None
    """0 (no data) to 5 (rich), None where unknown; Joshi et al. 2020, arXiv:2004.09095."""


@cache
def load_languages() -> tuple[Language, ...]:
    """Return the 205 languages in the order of the table."""
    table = files("xpe_core").joinpath("languages.csv").read_text(encoding="utf-8")
    return tuple(_parse_row(row) for row in csv.DictReader(table.splitlines()))


@cache
def languages_by_code() -> dict[str, Language]:
    """Return the languages by their codes."""
    return {language.code: language for language in load_languages()}


def _parse_row(row: dict[str, str]) -> Language:
    return Language(
        code=row["code"],
        name=row["name"],
        script=row["script"],
        family=row["family"],
        region=row["region"],
        joshi_class=int(row["joshi_class"]) if row["joshi_class"] else None,
    )
