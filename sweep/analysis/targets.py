"""The rows of a table: which of the tested languages are averaged together, and which are in no row.

A language that the experiment trains on is in no row, or the row would not say what is transferred. The published table
leaves out Joshi class 5 instead, whatever is trained on (arXiv:2508.10352, table 1); so does whatever stands beside it.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from sweep.experiment.config import UNKNOWN_SOURCES
from sweep.experiment.groups import Groups
from xpe_core.errors import InputError
from xpe_core.language_facts import Facts, published_facts
from xpe_core.languages import GROUPS, find_language, resolve_languages, split_names

ALL_TARGETS = "all_targets"
"""The group of all tested languages but those that are left out; people read `all tested`."""
NO_EXCLUSION = "none"
TRAINED = "trained"
"""As an exclusion set: the languages that the experiment trains on."""
PUBLISHED = "joshi5"
"""The exclusion set of the published table."""
PUBLISHED_SOURCES = ("eng", "enarzho", "joshi5", "xlmr_seen")
"""The source sets of the published table."""
PUBLISHED_DATA = re.compile(r"sib[-_]?200", re.IGNORECASE)

Codes = Mapping[str, frozenset[str]]
"""Languages trained on, by source set."""


@dataclass(frozen=True)
class Exclusion:
    """Languages that are in no row."""

    name: str
    """As `--exclude` takes it: groups, codes, `trained`, `none`."""
    languages: frozenset[str]


@dataclass(frozen=True)
class TableRows:
    """What the rows of an experiment's tables average over."""

    trained: Codes
    """Tested languages that are trained on, by the source set's name in tables."""
    exclusions: Mapping[str, Exclusion]
    """Which languages are in no row, by source set: the same for all, wherever that leaves something to average."""
    own: Groups
    """The experiment's own groups."""
    facts: Facts = field(default_factory=published_facts)
    """What is known of languages for the experiment's backbone and task."""

    @property
    def name(self) -> str:
        """What is left out, as `--exclude` takes it."""
        names = {exclusion.name for exclusion in self.exclusions.values()}
        return names.pop() if len(names) == 1 else TRAINED if names else NO_EXCLUSION

    @property
    def excluded(self) -> frozenset[str]:
        """Languages that are in no row of any source set."""
        return frozenset.intersection(*[exclusion.languages for exclusion in self.exclusions.values()] or [frozenset()])

    @property
    def names(self) -> list[str]:
        """All rows that there may be, in their order."""
        each = [target_groups((), exclusion, self.own, self.facts) for exclusion in self.exclusions.values()]
        return [*dict.fromkeys(name for groups in each for name in groups if name != ALL_TARGETS), ALL_TARGETS]

    def groups(self, source_set: str, languages: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the rows of a source set with which of `languages` are in them; rows without any are left out."""
        exclusion = self.exclusions.get(source_set, Exclusion(NO_EXCLUSION, frozenset()))
        groups = target_groups(languages, exclusion, self.own, self.facts)
        return {name: codes for name, codes in groups.items() if codes}

    def explain(self, languages: Sequence[str]) -> list[str]:
        """Return, in sentences, which of the tested languages are in no row and why, and what else is not as usual."""
        if len(set(self.exclusions.values())) < 2:
            left_out = next((self._left_out(name, languages) for name in self.exclusions), None)
            said = [f"Tested, and not in any row: {left_out}."] if left_out else []
        else:
            said = [
                "All that is tested is trained on by some source set, so each leaves out its own languages: rows of "
                "different source sets average different languages."
            ]
            each = {name: self._left_out(name, languages) for name in self.exclusions}
            said += [f"Not in any row of {name}: {left_out}." for name, left_out in each.items() if left_out]
        return said

    def _left_out(self, source_set: str, languages: Sequence[str]) -> str | None:
        exclusion = self.exclusions[source_set]
        everything = frozenset().union(*self.trained.values())
        reasons: dict[str, list[str]] = {}
        for code in languages:
            if code in exclusion.languages:
                others = ", ".join(name for name in exclusion.name.split(",") if name != TRAINED)
                reasons.setdefault("trained on" if code in everything else others, []).append(code)
        return "; ".join(f"{_shorten(codes)} ({reason})" for reason, codes in reasons.items()) or None


def find_rows(
    dataset: str,
    source_sets: Mapping[str, str],
    tested: Collection[str],
    validated: Mapping[str, Collection[str]],
    own: Groups | None = None,
    exclude: str | None = None,
    facts: Facts | None = None,
) -> TableRows:
    """Return what the rows of an experiment's tables average over.

    `source_sets` are those trained on by their names in tables, `validated` the languages that runs of each were
    validated on; `exclude` is what `--exclude` says, None where nobody says it. `facts` are those of the experiment's
    backbone and task, by default the published ones. InputError for an unknown name in `exclude`.
    """
    known = facts or published_facts()
    trained = {
        name: find_sources(source_set, tested, validated.get(name, ()), known) & frozenset(tested)
        for name, source_set in source_sets.items()
    }
    if exclude is not None:
        exclusions = dict.fromkeys(trained, read_exclusion(exclude, trained, tested, known))
    else:
        exclusions = choose_exclusions(dataset, trained, tested)
    return TableRows(trained, exclusions, own or {}, known)


def is_published(dataset: str) -> bool:
    """Whether a data set is that of the published table, SIB-200, as its name or folder says."""
    parts = list(PurePosixPath(dataset.replace("\\", "/")).parts)
    while len(parts) > 1 and parts[-1] in ("data", "annotated"):  # the layout of its own repository
        parts.pop()
    return bool(parts) and PUBLISHED_DATA.search(parts[-1]) is not None


def find_sources(
    source_set: str, tested: Collection[str], validated: Collection[str] = (), facts: Facts | None = None
) -> frozenset[str]:
    """Return the languages that a source set stands for among those tested or validated on.

    What is trained on is validated on, too, so with `validated` (of this source set's runs) others are left out. Names
    that stand for none of these languages are passed over.
    """
    if source_set == UNKNOWN_SOURCES:
        return frozenset()
    known = {*tested, *validated}
    codes: set[str] = set()
    for name in split_names(source_set):
        codes |= _find(name, known, facts)
    return frozenset(codes & set(validated) if validated else codes)


def choose_exclusions(dataset: str, trained: Codes, tested: Collection[str]) -> dict[str, Exclusion]:
    """Return the languages that are in no row where nobody says which.

    On SIB-200, and where the published source sets stand side by side, these are Joshi class 5 and what is trained on
    by source sets that are not the published ones (Joshi class 5 alone, where this leaves none); elsewhere what any
    source set trains on, so that all rows average the same languages. Where this leaves none, each source set leaves
    out its own, and one that trains on all nothing.
    """
    everything = frozenset[str]().union(*trained.values())
    # a folder of any name is meant for the published table where its source sets stand side by side
    is_its_shape = len(trained) > 1 and "xlmr_seen" in trained and trained.keys() <= set(PUBLISHED_SOURCES)
    if is_published(dataset) or is_its_shape:
        own = frozenset[str]().union(*(codes for name, codes in trained.items() if name not in PUBLISHED_SOURCES))
        joshi5 = _find(PUBLISHED, tested)
        for exclusion in (Exclusion(f"{PUBLISHED},{TRAINED}", joshi5 | own), Exclusion(PUBLISHED, joshi5)):
            if (own - joshi5 or exclusion.name == PUBLISHED) and not set(tested) <= exclusion.languages:
                return dict.fromkeys(trained, exclusion)
    if not set(tested) <= everything:
        is_joshi5 = list(trained) == [PUBLISHED] and _find(PUBLISHED, tested) == everything
        return dict.fromkeys(trained, Exclusion(PUBLISHED if is_joshi5 else TRAINED, everything))
    if len(trained) == 1:
        return dict.fromkeys(trained, Exclusion(NO_EXCLUSION, frozenset()))
    own_only = {name: frozenset() if set(tested) <= codes else codes for name, codes in trained.items()}
    return {name: Exclusion(TRAINED, codes) for name, codes in own_only.items()}


def read_exclusion(text: str, trained: Codes, tested: Collection[str], facts: Facts | None = None) -> Exclusion:
    """Return what `--exclude` says; InputError for an unknown name."""
    if text == NO_EXCLUSION:
        return Exclusion(text, frozenset())
    codes: set[str] = set()
    for name in split_names(text):
        if name == TRAINED:
            codes |= frozenset[str]().union(*trained.values())
            continue
        found = _find(name, tested, facts)
        if not found:
            resolve_languages(name, facts=facts)  # says so where it is no name at all
        codes |= found
    return Exclusion(text, frozenset(codes))


def target_groups(
    languages: Sequence[str],
    exclusion: Exclusion | str = PUBLISHED,
    own: Groups | None = None,
    facts: Facts | None = None,
) -> dict[str, tuple[str, ...]]:
    """Return the rows of a table with which of `languages` are in them; the exclusion's are in none.

    The rows are those of arXiv:2508.10352, table 1, low-performing, unseen, seen, all, without those of which the
    facts are not known; then `own` groups by their names, and `all_targets`, which is there where a language would be
    in no row, or what is trained on is left out.
    """
    known = facts or published_facts()
    if isinstance(exclusion, str):
        exclusion = read_exclusion(exclusion, {}, languages, known)
    left = [code for code in languages if code not in exclusion.languages]
    in_table = {code: language for code in left if (language := find_language(code)) is not None}
    names = [name for name in exclusion.name.split(",") if name.strip() not in (TRAINED, NO_EXCLUSION)]
    suffix = f"_without_{','.join(names)}" if names else ""
    rules = {"low_performing": known.low_performing, "unseen": known.pretraining, f"seen{suffix}": known.pretraining}
    rows = {name: name.removesuffix(suffix) for name, source in rules.items() if source is not None}
    if exclusion.name != TRAINED:
        rows[f"all{suffix}"] = "all"
    groups = {
        row: tuple(code for code, language in in_table.items() if GROUPS[group](language, known))
        for row, group in rows.items()
    }
    for name, members in (own or {}).items():
        codes = frozenset().union(*(_find(member, languages, known) for member in members))
        groups[name] = tuple(code for code in left if code in codes)
    if exclusion.name == TRAINED or len(in_table) < len(left):
        groups[ALL_TARGETS] = tuple(left)
    return groups


def _find(name: str, languages: Collection[str], facts: Facts | None = None) -> frozenset[str]:
    """Return the languages that a name stands for, none where it stands for none of these, or it is not clear which."""
    try:
        return frozenset(resolve_languages(name, languages, facts=facts))
    except InputError:
        return frozenset()


def _shorten(codes: Sequence[str], limit: int = 12) -> str:
    return ", ".join(codes[:limit]) + (f" and {len(codes) - limit} more" if len(codes) > limit else "")
