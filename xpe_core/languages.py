"""Languages as people name them, and the groups that tables average over.

A group is a rule over facts of languages (`languages.csv`), of the backbone and of the task (`Facts`), never a typed
list. The seven languages of Joshi class 5 are in none of `TARGET_GROUPS`, so that every row of the published table
averages the same languages (arXiv:2508.10352, table 1). A data set may call its languages as it likes: its own codes
come first, and a code is looked up in the table whatever its spelling (`zh-CN` is in the groups of
`zho_Hans`).
"""

import difflib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache

from xpe_core.backbones.facts import load_pretrainings
from xpe_core.errors import InputError
from xpe_core.language_facts import Facts, published_facts
from xpe_core.language_table import Language, languages_by_code, load_languages
from xpe_core.language_tags import Tag, match_codes, match_siblings, parse_code, parse_name, parse_tag

__all__ = [
    "GROUPS",
    "TARGET_GROUPS",
    "Language",
    "check_free",
    "explain_languages",
    "find_language",
    "load_languages",
    "resolve_languages",
    "resolves_fully",
]

Rule = Callable[[Language, Facts], bool | None]
"""Whether a language is in a group; None where the facts that say so are not known."""


def _is_unseen(language: Language, facts: Facts) -> bool | None:
    is_seen = facts.is_seen(language.code)
    return None if is_seen is None else not is_seen


def _seen_by(pretraining: str) -> Rule:
    return lambda language, facts: language.code in load_pretrainings()[pretraining].languages


GROUPS: dict[str, Rule] = {
    "eng": lambda language, facts: language.code == "eng_Latn",
    "enarzho": lambda language, facts: language.code in {"eng_Latn", "arb_Arab", "zho_Hans"},
    "joshi5": lambda language, facts: language.joshi_class == 5,
    **{f"{name}_seen": _seen_by(name) for name in load_pretrainings()},
    "low_performing": lambda language, facts: facts.is_low_performing(language.code),
    "unseen": _is_unseen,
    "seen": lambda language, facts: facts.is_seen(language.code),
    "seen_without_joshi5": lambda language, facts: facts.is_seen(language.code) and language.joshi_class != 5,
    "all_without_joshi5": lambda language, facts: language.joshi_class != 5,
    "all": lambda language, facts: True,
}
"""Source sets and target groups by name. `xlmr_seen` is what XLM-R has seen, `seen` what the experiment's own backbone
has. In the published setting their sizes are 1, 3, 7, 92, 46, 113, 92, 85, 198 and 205.
"""

TARGET_GROUPS = ("low_performing", "unseen", "seen_without_joshi5", "all_without_joshi5")
"""The groups of the paper's table 1, in its order."""

NEAR = 0.75
"""How alike two names must be for one to be suggested for the other, as difflib counts."""


@dataclass(frozen=True)
class _Meaning:
    """What a name stands for in a data set."""

    codes: tuple[str, ...]
    is_group: bool
    note: str | None = None
    """What a person should know of it, None where it is what they wrote."""


@cache
def find_language(code: str) -> Language | None:
    """Return what the table says of a data set's own code or name of a language; None where it does not know it.

    Two codes may mean one language (`pt-BR` and `pt-PT`).
    """
    if (language := languages_by_code().get(code)) is not None:
        return language
    tag = parse_tag(code)
    if tag is None:
        return None
    found = match_codes(tag, languages_by_code())
    if len(found) > 1:  # zh is Chinese as it is usually written
        found = tuple(one for one in found if languages_by_code()[one].script == tag.likely_script)
    return languages_by_code()[found[0]] if len(found) == 1 else None


def resolve_languages(
    names: str | Sequence[str],
    available: Collection[str] | None = None,
    lacking: Collection[str] = (),
    facts: Facts | None = None,
) -> tuple[str, ...]:
    """Return the codes that `names` stands for, each once, in the table's order (codes outside the table last).

    `names` is a code of the data, a group, a family, a script or any name of a language; or several of them, as a list
    or separated by commas; what comes first in this list counts. With `available` (the languages of a data set) groups
    are cut down to it; without, it is the table. Of groups those that are `lacking` something are left out; by name
    they stay. `facts` are those of the experiment's backbone and task, by default the published ones. InputError for a
    name that is unknown or may mean several languages, a group whose facts are not known, and where nothing is left.
    """
    codes: set[str] = set()
    left_out: set[str] = set()
    for name in split_names(names):
        meaning = _find_meaning(name, _vector(available), facts or published_facts())
        codes |= set(meaning.codes) - set(lacking) if meaning.is_group else set(meaning.codes)
        left_out |= set(meaning.codes) - codes
    if left_out and not codes:
        raise InputError(
            f"languages {names!r}: those that the data set has lack a split that they are needed for: "
            f"{_shorten(sorted(left_out))}"
        )
    if not codes:
        has = _shorten(sorted(available or ()))
        raise InputError(f"languages {names!r}: the data set has none of them; it has {has}")
    in_table = [code for code in languages_by_code() if code in codes]
    return (*in_table, *sorted(codes - set(in_table)))


def explain_languages(
    names: str | Sequence[str], available: Collection[str], facts: Facts | None = None
) -> tuple[str, ...]:
    """Return what a person should know of names: those read as another code, and those that mean two things."""
    known = facts or published_facts()
    meanings = [_find_meaning(name, _vector(available), known) for name in split_names(names)]
    return tuple(meaning.note for meaning in meanings if meaning.note is not None)


def resolves_fully(names: str | Sequence[str], available: Collection[str], facts: Facts | None = None) -> bool:
    """Whether a data set has every language of `names`: of a group all that the table has of it."""
    known = facts or published_facts()
    in_table = {language.code for code in available if (language := find_language(code)) is not None}
    for name in split_names(names):
        try:
            meaning = _find_meaning(name, _vector(available), known)
        except InputError:
            return False
        whole = _find_group(name, known) or frozenset()
        if not meaning.codes or (meaning.is_group and name.casefold() != "all" and not whole <= in_table):
            return False
    return True


def check_free(name: str) -> None:
    """Raise InputError where a name for a group of one's own is a group, family, script or language already."""
    if _find_group(name, published_facts()):
        raise InputError("is a group, family or script already; choose another name")
    is_name = name.casefold() in (language.name.casefold() for language in load_languages())
    if (is_name or parse_code(name) is not None) and (language := find_language(name)) is not None:
        raise InputError(f"is a language already ({language.name}, {language.code}); choose another name")


def split_names(names: str | Sequence[str]) -> list[str]:
    """Return the single names in a list, or in a text with commas; InputError where one is empty."""
    each = [name.strip() for name in (names.split(",") if isinstance(names, str) else names)]
    if not all(each):
        raise InputError(
            f"languages {names!r}: there is no name before or after a comma; write such as eng_Latn,deu_Latn"
        )
    return each


def _vector(available: Collection[str] | None) -> tuple[str, ...]:
    return tuple(languages_by_code()) if available is None else tuple(sorted(available))


@cache
def _find_meaning(name: str, available: tuple[str, ...], facts: Facts) -> _Meaning:
    """Return what a name stands for among the codes of a data set; InputError where it is unknown or not clear."""
    group = _find_group(name, facts)
    if name in available:
        also = group is None or bool(group)
        note = f"{name} is the data set's own language of that code, not the group of that name" if also else None
        return _Meaning((name,), False, note)
    spelt = [code for code in available if _fold(code) == _fold(name)]
    if spelt:
        return _choose(name, spelt)
    if group is None:
        raise InputError(
            f"languages {name!r}: this group is not known for the backbone {facts.backbone} and the task {facts.task}; "
            "list the languages, or take a group such as joshi5 or all"
        )
    if group:
        return _Meaning(_members(name, group, available), True)
    tags = [tag] if (tag := parse_tag(name)) is not None else list(parse_name(name))
    found = [code for tag in tags for code in match_codes(tag, available)]
    if found:
        return _choose(name, list(dict.fromkeys(found)))
    raise InputError(_explain_missing(name, tags, available))


def _choose(name: str, codes: Sequence[str]) -> _Meaning:
    if len(codes) > 1:
        raise InputError(f"language {name!r} may mean {' or '.join(codes)} here; say which")
    return _Meaning((codes[0],), False, f"{name} is read as {codes[0]}")


def _members(name: str, codes: Collection[str], available: Sequence[str]) -> tuple[str, ...]:
    """Return what a data set has of a group, family or script."""
    if name.casefold() == "all":
        return tuple(available)
    return tuple(code for code in available if (found := find_language(code)) is not None and found.code in codes)


@cache
def _find_group(name: str, facts: Facts) -> frozenset[str] | None:
    """Return the codes of the table that a group, family or script stands for, none where no such name is known.

    None of a group whose facts are not known.
    """
    wanted = name.casefold()
    rule = GROUPS.get(
        wanted, lambda language, facts: wanted in (language.family.casefold(), language.script.casefold())
    )
    members = {language.code: rule(language, facts) for language in load_languages()}
    if None in members.values():
        return None
    return frozenset(code for code, is_member in members.items() if is_member)


def _fold(code: str) -> str:
    return code.casefold().replace("-", "_")


def _explain_missing(name: str, tags: Sequence[Tag], available: Sequence[str]) -> str:
    """Return why a name stands for nothing, with what may have been meant, or what there is."""
    where = "the table of languages" if available == _vector(None) else "the data set"
    siblings = [code for tag in tags for code in match_siblings(tag, available)]
    if siblings:
        return f"language {name!r} is not in {where}, which has {_shorten(list(dict.fromkeys(siblings)))} of it"
    if tags:
        language = find_language(name)
        known = f" ({language.name}, {language.code})" if language is not None and language.code != name else ""
        return f"language {name!r}{known} is not in {where}; it has {_shorten(available)}"
    if (meant := _find_near(name, available)) is not None:
        return f"unknown language {name!r}; did you mean {meant!r}?"
    return (
        f"unknown language {name!r}; allowed are names such as kat_Geor, ka or Georgian, a family, a script, or a "
        f"group: {', '.join(GROUPS)}; {where} has {_shorten(available)}"
    )


def _find_near(name: str, available: Sequence[str]) -> str | None:
    """Return the group, code, family or script that a name is a misspelling of, None where none is near."""
    names = {language.name: code for code in available if (language := find_language(code)) is not None}
    kinds = {kind for language in load_languages() for kind in (language.family, language.script)}
    choices = {one.casefold(): one for one in (*GROUPS, *available, *sorted(kinds))}
    choices |= {own.casefold(): code for own, code in names.items()}
    if nearest := difflib.get_close_matches(name.casefold(), choices, n=1, cutoff=NEAR):
        return choices[nearest[0]]
    return next((code for code in available if len(code) > 3 and name.endswith(code)), None)  # a comma was forgotten


def _shorten(codes: Sequence[str], limit: int = 8) -> str:
    more = f" and {len(codes) - limit} more" if len(codes) > limit else ""
    return ", ".join(codes[:limit]) + more
