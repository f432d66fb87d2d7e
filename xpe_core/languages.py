"""The 205 languages of SIB-200 and the groups that tables average over.

A group is a rule over the columns of `languages.csv`, never a typed list. The seven languages of Joshi class 5 are in
no target group, whatever the source set, so that every row of a table averages the same languages (arXiv:2508.10352,
table 1). Two values of `xlmr_seen` look wrong and are kept, because every published number rests on them: `tgl_Latn`
counts as unseen, `azb_Arab` as seen.
"""

import csv
import difflib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from xpe_core.errors import InputError


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
    xlmr_seen: bool
    """In the pretraining corpus of XLM-R."""
    low_performing: bool
    """Below 60 % accuracy under full fine-tuning of XLM-R large."""
    cldr_locale: str
    """Babel's locale where the `cldr` data set has the language, else empty."""


GROUPS: dict[str, Callable[[Language], bool]] = {
    "eng": lambda language: language.code == "eng_Latn",
    "enarzho": lambda language: language.code in {"eng_Latn", "arb_Arab", "zho_Hans"},
    "joshi5": lambda language: language.joshi_class == 5,
    "xlmr_seen": lambda language: language.xlmr_seen,
    "low_performing": lambda language: language.low_performing,
    "unseen": lambda language: not language.xlmr_seen,
    "seen_without_joshi5": lambda language: language.xlmr_seen and language.joshi_class != 5,
    "all_without_joshi5": lambda language: language.joshi_class != 5,
    "all": lambda language: True,
}
"""Source sets and target groups by name; sizes 1, 3, 7, 92, 46, 113, 85, 198 and 205."""

TARGET_GROUPS = ("low_performing", "unseen", "seen_without_joshi5", "all_without_joshi5")
"""The groups of the paper's table 1, in its order."""


@cache
def load_languages() -> tuple[Language, ...]:
    """Return the 205 languages in the order of their codes."""
    table = files("xpe_core").joinpath("languages.csv").read_text(encoding="utf-8")
    return tuple(_parse_row(row) for row in csv.DictReader(table.splitlines()))


def resolve_languages(names: str | Sequence[str], available: Collection[str] | None = None) -> tuple[str, ...]:
    """Return the codes that `names` stands for, each once, in the table's order (codes outside the table last).

    `names` is a group, a family, a script or a code; or several of them, as a list or separated by commas. With
    `available` (the languages of a data set) groups are cut down to it and codes outside the table are allowed.
    Raises InputError for an unknown name, naming the nearest one, and where nothing is left.
    """
    requested = [name.strip() for name in (names.split(",") if isinstance(names, str) else names)]
    known = {language.code for language in load_languages()}
    extra = sorted(set(available or ()) - known)
    codes: set[str] = set()
    for name in requested:
        codes.update(_resolve_one(name, available, extra))
    ordered = [language.code for language in load_languages() if language.code in codes]
    ordered += [code for code in extra if code in codes]
    if not ordered:
        has = _shorten(sorted(available or ()))
        raise InputError(f"languages {names!r}: the data set has none of them; it has {has}")
    return tuple(ordered)


def _resolve_one(name: str, available: Collection[str] | None, extra: Sequence[str]) -> set[str]:
    languages = load_languages()
    rule = GROUPS.get(name)
    if rule is not None:
        codes = {language.code for language in languages if rule(language)}
        codes |= set(extra) if name == "all" else set()
    elif name in extra:
        return {name}
    elif any(language.code == name for language in languages):
        if available is not None and name not in available:
            raise InputError(f"language {name!r} is not in the data set; it has {_shorten(sorted(available))}")
        return {name}
    else:
        codes = {language.code for language in languages if name in (language.family, language.script)}
        if not codes:
            raise InputError(f"unknown language {name!r}{_suggest(name, extra)}")
    return codes if available is None else codes & set(available)


def _suggest(name: str, extra: Sequence[str]) -> str:
    languages = load_languages()
    choices = [*GROUPS, *extra, *(language.code for language in languages)]
    choices += sorted({language.family for language in languages} | {language.script for language in languages})
    by_name = {language.name.lower(): language.code for language in languages}
    if name.lower() in by_name:
        return f"; did you mean {by_name[name.lower()]!r}?"
    nearest = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    if nearest:
        return f"; did you mean {nearest[0]!r}?"
    return f"; allowed are codes such as 'kat_Geor', a family, a script, or a group: {', '.join(GROUPS)}"


def _shorten(codes: Sequence[str], limit: int = 8) -> str:
    more = f" and {len(codes) - limit} more" if len(codes) > limit else ""
    return ", ".join(codes[:limit]) + more


def _parse_row(row: dict[str, str]) -> Language:
    return Language(
        code=row["code"],
        name=row["name"],
        script=row["script"],
        family=row["family"],
        region=row["region"],
        joshi_class=int(row["joshi_class"]) if row["joshi_class"] else None,
        xlmr_seen=row["xlmr_seen"] == "1",
        low_performing=row["low_performing"] == "1",
        cldr_locale=row["cldr_locale"],
    )
