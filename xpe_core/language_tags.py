"""Language codes of all kinds compared with each other: ISO 639-1, -2 and -3, FLORES, BCP 47.

`hau`, `ha`, `hau_Latn` and `ha-NG` are one language. A macrolanguage stands for the language that Unicode's CLDR takes
it for (`sw` for `swh`, `no` for `nob`), or for its only member among the languages of the table (`qu` for `quy`).
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from langcodes import Language as Bcp47
from langcodes.data_dicts import (
    DEFAULT_SCRIPTS,
    LANGUAGE_REPLACEMENTS,
    LIKELY_SUBTAGS,
    MACROLANGUAGES,
    NORMALIZED_MACROLANGUAGES,
)
from langcodes.tag_parser import LanguageTagError

from xpe_core.language_table import languages_by_code, load_languages

SAME_SCRIPT = {"Hang": "Kore", "Hrkt": "Jpan", "Aran": "Arab"}
"""Scripts that are a part or a style of another one."""
OTHER_NAMES = {
    "arabic": "ar",
    "azerbaijani": "az",
    "cantonese": "yue",
    "chichewa": "ny",
    "chinese": "zh",
    "farsi": "fa",
    "filipino": "fil",
    "kurdish": "ku",
    "mandarin": "zh",
    "norwegian": "no",
    "oriya": "or",
    "punjabi": "pa",
}
"""English names that the table of languages has in another form."""


@dataclass(frozen=True)
class Tag:
    """What a code says of a language."""

    iso: str
    """ISO 639-3."""
    main: str
    """The language or macrolanguage that CLDR takes it for, as a BCP 47 subtag."""
    macro: str | None
    """The macrolanguage that it belongs to, also where it is not the main one of it."""
    script: str | None
    """ISO 15924, where the code names it."""
    territory: str | None
    """Country, variant and whatever else the code names."""

    @property
    def likely_script(self) -> str | None:
        """The script that the code names, or the usual one of its language and country; None where it is not known."""
        if self.script is not None:
            return self.script
        for tag in (f"{self.main}-{self.territory}", self.main, self.iso):
            if tag in LIKELY_SUBTAGS:
                likely = Bcp47.get(LIKELY_SUBTAGS[tag], normalize=False).script
                return SAME_SCRIPT.get(likely or "", likely)
        return None


@cache
def parse_tag(code: str) -> Tag | None:
    """Return what a code or an English name of a single language says; None where it is none."""
    tag = parse_code(code)
    if tag is None and len(named := parse_name(code)) == 1:
        return named[0]
    return tag


def parse_code(code: str) -> Tag | None:
    """Return what a code says, None where it is none or its language is not registered."""
    return _parse_code(code, is_table=False)


@cache
def parse_name(name: str) -> tuple[Tag, ...]:
    """Return the languages that have an English name: those of exactly this name, else those with all its words."""
    wanted = _plain(name)
    if wanted in OTHER_NAMES:
        tag = parse_code(OTHER_NAMES[wanted])
        return () if tag is None else (tag,)
    names = {language.code: _plain(language.name) for language in load_languages()}
    codes = [code for code, own in names.items() if own == wanted]
    words = {code: set(own.split()) for code, own in names.items() if "(" not in languages_by_code()[code].name}
    codes = codes or [code for code, own in words.items() if wanted and set(wanted.split()) <= own]
    return tuple(tag for code in codes if (tag := parse_code(code)) is not None)


def match_codes(wanted: Tag, codes: Iterable[str]) -> tuple[str, ...]:
    """Return those of `codes` that mean the wanted language, in their order; several where it is not clear which.

    A code that names a script or country goes with one that names none, and not with one that names another.
    """
    tags = {code: tag for code in codes if (tag := parse_tag(code)) is not None}
    fitting = {code: tag for code, tag in tags.items() if _fits(wanted, tag)}
    # zh-TW is no Cantonese where there is Chinese, be it in another script
    has_main = any(_has_same_main(wanted, tag) for tag in tags.values())
    for is_same in (_is_same_language, _has_same_main, *(() if has_main else (_is_member,))):
        if found := {code: tag for code, tag in fitting.items() if is_same(wanted, tag)}:
            if not (wanted.script or wanted.territory) and all(tag.territory for tag in found.values()):
                # zh is no clearer zh-TW than it is cmn
                found = {code: tag for code, tag in fitting.items() if code in found or _has_same_main(wanted, tag)}
            return _of_usual_script(wanted, found)
    return ()


def match_siblings(wanted: Tag, codes: Iterable[str]) -> tuple[str, ...]:
    """Return those of `codes` that mean the wanted language in another script or country."""
    tags = {code: tag for code in codes if (tag := parse_tag(code)) is not None}
    return tuple(code for code, tag in tags.items() if _has_same_main(wanted, tag) or _is_same_language(wanted, tag))


@cache
def _parse_code(code: str, is_table: bool) -> Tag | None:
    """Return what a code says; of a code of the table without what the other codes of the table tell."""
    text = code.strip().replace("_", "-")
    try:
        raw, normal = Bcp47.get(text, normalize=False), Bcp47.get(text)
        if not normal.is_valid() or not normal.language:
            return None
        language = normal.language if raw.extlangs else raw.language or ""
    except (LanguageTagError, LookupError, ValueError):
        return None
    replacement = LANGUAGE_REPLACEMENTS.get(language, language)
    language = language if "-" in replacement else replacement  # prs is no Persian of Afghanistan: it has its own code
    main = NORMALIZED_MACROLANGUAGES.get(language, {"nb": "no"}.get(language, language))
    main = main if is_table else _only_members().get(main, main)
    script, more = raw.script or None, [raw.territory, *(raw.variants or ()), *(raw.extensions or ()), raw.private]
    return Tag(
        iso=Bcp47.get(language, normalize=False).to_alpha3(),
        main=main,
        macro=MACROLANGUAGES.get(language),
        script=SAME_SCRIPT.get(script or "", script),
        territory="-".join(part for part in more if part) or None,
    )


@cache
def _only_members() -> dict[str, str]:
    """Return macrolanguages by their language in the table, where it has but one: quy is what it calls Quechua."""
    tags = {language.code: _parse_code(language.code, is_table=True) for language in load_languages()}
    members: dict[str, set[str]] = {}
    for tag in filter(None, tags.values()):
        members.setdefault(tag.main, set()).add(tag.main)  # what CLDR takes for the macrolanguage itself
        if tag.macro is not None:
            members.setdefault(tag.macro, set()).add(tag.main)
    return {next(iter(mains)): macro for macro, mains in members.items() if len(mains) == 1}


def _fits(wanted: Tag, tag: Tag) -> bool:
    """Whether two codes agree in what they say of script and country."""
    if wanted.territory and tag.territory and wanted.territory != tag.territory:
        return False
    script = wanted.likely_script if wanted.territory else wanted.script
    return script is None or tag.likely_script in (script, None)


def _is_same_language(wanted: Tag, tag: Tag) -> bool:
    return wanted.iso == tag.iso


def _has_same_main(wanted: Tag, tag: Tag) -> bool:
    return wanted.main == tag.main


def _is_member(wanted: Tag, tag: Tag) -> bool:
    return wanted.main == tag.macro


def _of_usual_script(wanted: Tag, found: dict[str, Tag]) -> tuple[str, ...]:
    """Leave out other scripts where the language has one that goes without saying (IANA's Suppress-Script)."""
    usual = DEFAULT_SCRIPTS.get(wanted.main)
    in_usual = [code for code, tag in found.items() if tag.likely_script == usual]
    return tuple(in_usual if usual and in_usual and wanted.script is None else found)


def _plain(name: str) -> str:
    """Return a name in small letters without accents, apostrophes and brackets."""
    letters = unicodedata.normalize("NFKD", name.strip().casefold())
    return "".join(letter for letter in letters if letter.isalnum() or letter in " -").replace("-", " ")
