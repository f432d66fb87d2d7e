"""The embedded data set `cldr`: what a thing is called in one of 103 languages, and which of six kinds of thing it is.

A small honest task that shows cross-lingual transfer offline. Its texts are short names, not sentences: it stands in
for SIB-200 in a demonstration, never in a result. The names come out of Babel's copy of Unicode's CLDR (Unicode
License v3, `locale-data/LICENSE.unicode` in Babel), so examples and accuracies change with Babel's version; the data
fingerprint of a run says which one it saw.

A concept (`territory/FR`) stands in one split only, in all languages. A text that names two concepts anywhere is left
out everywhere: no text has two kinds, and none stands in two splits. Within a language and split all kinds have
equally many examples. CLDR itself does not make it equally hard everywhere: Filipino and Igbo keep most English names.
"""

import csv
import hashlib
import pickle
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import TypedDict

from xpe_core.data.examples import Example
from xpe_core.errors import InputError
from xpe_core.languages import Language, load_languages

REVISION = 1
"""Part of the fingerprint: another number as soon as an example is another one under the same Babel."""
LABELS = ("territory", "language", "script", "currency", "city", "unit")
"""The kinds, in the order of their ids."""
SHARES = {"train": 0.60, "validation": 0.15, "test": 0.25}
"""Fraction of each language's concepts of a kind that a split is given, as near as whole concepts allow."""
MAX_PER_LABEL = {"train": 60, "validation": 12, "test": 20}
"""Examples of one kind in one language and split; a language with fewer names of some kind has fewer of all."""
MIN_OWN_CITIES = 25
"""Latin-script languages that store fewer city names are given the time zones' own spelling (in CLDR 47: 1 to 23 names
are stored in eng, hau, ibo, nno, swh, tgl, vie and zsm, 30 and more in all others)."""

PLACEHOLDERS = frozenset(
    "territory/XA territory/XB territory/ZZ language/mul language/root language/und language/zxx script/Zinh "
    "script/Zxxx script/Zyyy script/Zzzz currency/XTS currency/XXX city/Etc/Unknown".split()
)
"""Codes that name nothing: unknown, several, none, unwritten, for tests."""

Names = dict[str, str]
"""The names of one language by concept (`territory/FR`)."""


class LocaleData(TypedDict):
    """What is used of a locale's file in Babel: names by code, and of cities and units by kind of name."""

    territories: Names
    languages: Names
    scripts: Names
    currency_names: Names
    time_zones: Mapping[str, Names]
    unit_display_names: Mapping[str, Names]


def build_cldr() -> list[Example]:
    """Return all examples, ordered by language, split and rank, the six kinds taking turns.

    About 41,000 in 103 languages. Four languages have fewer than 20 usable names of some kind and so the fewest
    examples (CLDR 47): Uyghur 7 cities, Esperanto and Occitan 17 scripts, Kabuverdianu 18. Raises InputError where
    Babel is missing or holds too little for a language.
    """
    names = _drop_ambiguous(_read_languages())
    split_of = _split_concepts(names)
    examples: list[Example] = []
    for language, known in sorted(names.items()):
        ranked = sorted(known, key=_rank)
        for split, limit in MAX_PER_LABEL.items():
            columns = [[c for c in _select(ranked, label) if split_of[c] == split][:limit] for label in LABELS]
            if not all(columns):
                raise InputError(f"data set cldr: this version of Babel names too little in {language}; upgrade babel")
            for row in zip(*columns, strict=False):  # as many rows as the rarest kind has
                examples += [Example(known[c], c.partition("/")[0], language, split, c) for c in row]
    return examples


@cache
def load_locales() -> dict[str, str]:
    """Return Babel's locale of each language that the data set has, by the language's code."""
    table = files("xpe_core.data").joinpath("cldr.csv").read_text(encoding="utf-8")
    return {row["language"]: row["locale"] for row in csv.DictReader(table.splitlines())}


def _read_languages() -> dict[str, Names]:
    """Return the usable names of every language with CLDR data.

    CLDR stores no city name that equals the last field of the zone's id ("Europe/Paris"), so English and seven others
    in Latin script store almost none. They are given the id's field, but for zones that their parent names otherwise.
    """
    locales = load_locales()
    languages = [language for language in load_languages() if language.code in locales]
    names = {language.code: _read_names(language, locales[language.code]) for language in languages}
    cities = sorted({concept for known in names.values() for concept in _select(known, "city")})
    for language in languages:
        known = names[language.code]
        if language.script == "Latn" and len(_select(known, "city")) < MIN_OWN_CITIES:
            stored = _read_cities(_read_own(locales[language.code]))
            parent = _find_parent(locales[language.code])
            stored |= _read_cities(_read_own(parent)) if parent else {}
            spelled = _read_cities(_unpickle("root"))
            for city in cities:
                if city not in stored:
                    known[city] = spelled.get(city) or city.rpartition("/")[2].replace("_", " ")
    return names


def _read_names(language: Language, locale: str) -> Names:
    """Return the names that CLDR stores for the language itself, cleaned, without those that are no translation."""
    data = _read_own(locale)
    names = _read_codes(data)
    codes = {concept: concept.partition("/")[2] for concept in names} | _read_units(_unpickle("root"))  # "km²"
    names |= _read_cities(data) | _read_units(data)
    cleaned = {concept: " ".join(unicodedata.normalize("NFC", name).split()) for concept, name in names.items()}
    return {
        concept: name
        for concept, name in cleaned.items()
        if concept not in PLACEHOLDERS
        and name.casefold() != codes.get(concept, "").casefold()
        and _is_plain(name)
        and (language.script == "Latn" or not name.isascii())
    }


def _is_plain(name: str) -> bool:
    """Return whether a name has two letters or more (some Chinese, Japanese and Korean units have one) and no digit.

    Years would give old currencies away ("Peso (1975–1993)"); braces belong to patterns, arrows mark inheritance.
    """
    return sum(map(str.isalpha, name)) >= 2 and not any(sign.isdigit() or sign in "{}↑" for sign in name)


def _read_codes(data: LocaleData) -> Names:
    """Return the names of what has a code by concept."""
    tables = {"territory": data["territories"], "language": data["languages"], "script": data["scripts"]}
    tables["currency"] = data["currency_names"]
    return {f"{label}/{code}": name for label, table in tables.items() for code, name in table.items()}


def _read_cities(data: LocaleData) -> Names:
    return {f"city/{zone}": names["city"] for zone, names in data["time_zones"].items() if names.get("city")}


def _read_units(data: LocaleData) -> Names:
    """Return unit names by concept; CLDR stores a long name only where it differs from the short one."""
    widths = data["unit_display_names"].items()
    names = {f"unit/{unit}": name_by_width.get("long") or name_by_width.get("short") for unit, name_by_width in widths}
    return {concept: name for concept, name in names.items() if name}


def _read_own(locale: str) -> LocaleData:
    """Return what CLDR stores for the locale itself, nothing inherited.

    A locale without a single territory is a shell around its parent, the same language: zh_Hans is zh, nb is no.
    """
    data = _unpickle(locale)
    return data if data["territories"] else _read_own(_find_parent(locale))


def _find_parent(locale: str) -> str:
    """Return the locale that this one inherits from, or an empty string for a language on its own."""
    from babel.core import get_global

    return str(get_global("parent_exceptions").get(locale, locale.rpartition("_")[0]))


@lru_cache(maxsize=2)  # root and one more: all of them together would hold 140 MB
def _unpickle(locale: str) -> LocaleData:
    """Return a locale's file out of Babel.

    Not `localedata.load(locale, merge_inherited=False)`: it answers with merged data where somebody loaded the locale
    before, and leaves bare data to whoever loads it next.
    """
    try:
        from babel import localedata
    except ImportError:
        raise InputError("data set cldr needs Babel: pip install 'xpe-sweep[offline]'") from None
    try:
        with open(localedata.resolve_locale_filename(locale), "rb") as file:
            data: LocaleData = pickle.load(file)
    except FileNotFoundError:
        raise InputError(f"data set cldr: this version of Babel has no locale {locale}; upgrade babel") from None
    return data


def _drop_ambiguous(names: Mapping[str, Names]) -> dict[str, Names]:
    """Drop, in all languages, every text that names two concepts in any of them, whatever their kinds."""
    concept_of: dict[str, str] = {}
    ambiguous: set[str] = set()
    for known in names.values():
        for concept, name in known.items():
            if concept_of.setdefault(name.casefold(), concept) != concept:
                ambiguous.add(name.casefold())
    return {
        language: {concept: name for concept, name in known.items() if name.casefold() not in ambiguous}
        for language, known in names.items()
    }


def _split_concepts(names: Mapping[str, Names]) -> dict[str, str]:
    """Return the split of each concept.

    Languages with few names of a kind are served first, so that they too get every split: a concept goes, in hash
    order, to the split furthest behind its share in that language (Sainte-Laguë's quotients), and stays there.
    """
    split_of: dict[str, str] = {}
    for label in LABELS:
        concepts = {language: sorted(_select(known, label), key=_rank) for language, known in names.items()}
        for language in sorted(concepts, key=lambda language: (len(concepts[language]), language)):
            counts = Counter(split_of[concept] for concept in concepts[language] if concept in split_of)
            for concept in concepts[language]:
                if concept not in split_of:
                    split_of[concept] = min(SHARES, key=lambda split: (counts[split] + 0.5) / SHARES[split])
                    counts[split_of[concept]] += 1
    return split_of


def _select(concepts: Iterable[str], label: str) -> list[str]:
    return [concept for concept in concepts if concept.startswith(f"{label}/")]


@cache
def _rank(concept: str) -> bytes:
    """Return the key of the fixed order in which every language prefers the same concepts."""
    return hashlib.sha256(concept.encode()).digest()
