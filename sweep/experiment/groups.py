"""Groups of languages that an experiment file names itself: `groups: {african: [hau, yor, ibo]}`.

A group stands for its languages wherever languages are asked for, and is a row of the tables. Runs know the languages
only, so that a run is the same one whatever file it was asked for in.
"""

import re
from collections.abc import Mapping, Sequence

from xpe_core.errors import InputError
from xpe_core.languages import check_free, split_names

NAME = re.compile(r"[^\s,:=]+")
OF_TABLES = ("all_targets", "seen", "trained", "none", "unknown")
"""Names that tables and options use already."""

Groups = Mapping[str, Sequence[str]]


def expand_groups(values: object) -> object:
    """Return an experiment's values, as a file has them, with languages in the places of its groups.

    ValueError where a group's name is taken, or it has no languages.
    """
    if not isinstance(values, Mapping) or not isinstance(values.get("groups"), Mapping):
        return values
    groups = read_groups(values["groups"])
    changed = {**values, "groups": groups}
    for key in ("base", "space"):
        if isinstance(own := values.get(key), Mapping) and "source_set" in own:
            changed[key] = {**own, "source_set": _expand_field(own["source_set"], groups)}
    if isinstance(arms := values.get("arms"), Mapping):
        changed["arms"] = {arm: _expand_arm(own, groups) for arm, own in arms.items()}
    if isinstance(zipped := values.get("zipped"), list | tuple):
        changed["zipped"] = [_expand_lists(lists, groups) for lists in zipped]
    if isinstance(sets := values.get("source_sets"), list | tuple):
        changed["source_sets"] = [_expand(one, groups) for one in sets]
    if isinstance(evaluation := values.get("evaluation"), Mapping) and "languages" in evaluation:
        changed["evaluation"] = {**evaluation, "languages": _expand(evaluation["languages"], groups)}
    if isinstance(targets := values.get("targets"), Mapping) and "languages" in targets:
        changed["targets"] = {**targets, "languages": _expand(targets["languages"], groups)}
    if values.get("selection_languages") is not None:
        changed["selection_languages"] = _expand(values["selection_languages"], groups)
    return changed


def read_groups(groups: Mapping[object, object]) -> dict[str, tuple[str, ...]]:
    """Return the groups with their languages sorted, groups among them expanded."""
    listed: dict[str, list[str]] = {}
    for name, members in groups.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ValueError(f"groups: {name!r} is no name; write such as african, without blanks, commas, : and =")
        if name in OF_TABLES or name.startswith(("seen_", "all_")):
            raise ValueError(f"groups.{name}: tables and options use this name already; choose another name")
        if (
            not members
            or not isinstance(members, str | list | tuple)
            or not all(isinstance(one, str) for one in members)
        ):
            raise ValueError(f"groups.{name}: must be a list of languages such as [hau, yor], not {members!r}")
        try:
            check_free(name)
            listed[name] = split_names(members)
        except InputError as error:
            raise ValueError(f"groups.{name}: {error}") from None
    return {name: tuple(sorted(_find_members(name, listed, ()))) for name in listed}


def _find_members(name: str, listed: Mapping[str, Sequence[str]], within: tuple[str, ...]) -> set[str]:
    """Return a group's languages; `within`: the groups that are being expanded."""
    if name in within:
        raise ValueError(
            f"groups.{name}: holds itself ({' -> '.join((*within, name))}); it must come down to languages"
        )
    members: set[str] = set()
    for one in listed[name]:
        members |= _find_members(one, listed, (*within, name)) if one in listed else {one}
    return members


def name_source_set(source_set: str, groups: Groups) -> str:
    """Return the name of the group whose languages a source set is, else the source set."""
    languages = set(source_set.split(","))
    return next((name for name, members in groups.items() if set(members) == languages), source_set)


def _expand(names: object, groups: Groups) -> object:
    """Return names with languages in the places of groups, sorted and each once; as they are where none is a group."""
    if not isinstance(names, str | list | tuple) or not all(isinstance(name, str) for name in names):
        return names  # refused by the field's own type
    each = [name.strip() for name in (names.split(",") if isinstance(names, str) else names)]
    if not set(each) & groups.keys():
        return names
    expanded = sorted({code for name in each for code in groups.get(name, (name,))})
    return ",".join(expanded) if isinstance(names, str) else expanded


def _expand_field(value: object, groups: Groups) -> object:
    """Return a field of `base`, or a dimension of `space`."""
    if isinstance(value, Mapping):
        choices = value.get("choice")
        return {**value, "choice": [_expand(one, groups) for one in choices]} if isinstance(choices, list) else value
    return _expand(value, groups)


def _expand_arm(values: object, groups: Groups) -> object:
    if not isinstance(values, Mapping) or "source_set" not in values:
        return values
    return {**values, "source_set": _expand(values["source_set"], groups)}


def _expand_lists(lists: object, groups: Groups) -> object:
    if not isinstance(lists, Mapping) or not isinstance(lists.get("source_set"), list | tuple):
        return lists
    return {**lists, "source_set": [_expand(one, groups) for one in lists["source_set"]]}
