"""What the names of groups of languages mean, in the line where they stand."""

from collections.abc import Collection, Mapping, Sequence

from sweep.analysis.targets import ALL_TARGETS
from sweep.report.wording import name_group
from xpe_core.backbones.facts import find_origin, load_pretrainings
from xpe_core.language_facts import Facts

SOURCES = {
    "eng": "English",
    "enarzho": "English, Arabic and Chinese",
    "joshi5": "the seven languages with most data in the world (Joshi class 5)",
    **{f"{one.name}_seen": f"the languages in the pretraining of {one.title}" for one in load_pretrainings().values()},
    "all": "all languages",
}
ALL = {"all": "all that are tested", ALL_TARGETS: "all that are tested, but for those left out"}


def say_group(group: str) -> str:
    """Return a group's name as a sentence has it."""
    return "all tested languages" if group == ALL_TARGETS else group


def group_lines(sizes: Mapping[str, int | str], facts: Facts, others: Sequence[str] = ()) -> list[str]:
    """Return a line a group of a table: what it means, and how many languages it has.

    `others` are names that stand beside them, such as source sets; what a group is without is explained, too.
    """
    lines = [f"{name_group(group)} ({_count(size)}): {_explain(group, facts)}." for group, size in sizes.items()]
    excluded = [group.partition("_without_")[2] for group in sizes]
    named = [name for name in dict.fromkeys([*others, *excluded]) if name in SOURCES and name not in sizes]
    lines += [f"{name}: {SOURCES[name]}." for name in named]
    if line := seen_line(sizes, facts):
        lines.append(line)
    return lines


def seen_line(groups: Collection[str], facts: Facts) -> str:
    """Return whose pretraining `seen` means, where the backbone has another name; nothing where that is clear."""
    name = facts.backbone.rstrip("/").rsplit("/", 1)[-1]
    if facts.pretraining is None:
        return f"What {name} has seen in its pretraining is not known here: no row is of seen or unseen languages."
    if not any(group.split("_")[0] in ("seen", "unseen", "low") for group in groups):
        return ""
    origin = find_origin(name)
    return f"Seen and low-performing are facts about {facts.pretraining.title}; {origin}." if origin else ""


def explain_group(group: str, facts: Facts) -> str | None:
    """Return what a group of the tables means, without what it leaves out; None of an experiment's own group."""
    head = group.partition("_without_")[0]
    if head == "low_performing" and facts.low_performing is not None:
        return facts.low_performing.meaning
    if head in ("seen", "unseen") and facts.pretraining is not None:
        return f"{'not ' if head == 'unseen' else ''}in the pretraining of {facts.pretraining.title}"
    return ALL.get(group) or ALL.get(head)


def facts_line(facts: Facts) -> str:
    """Return what the facts beside a language's name mean."""
    said = ["class: how much text there is in a language, from 0 to 5 (Joshi et al. 2020)."]
    if facts.pretraining is not None:
        said.append(f"seen, unseen: whether it is in the pretraining of {facts.pretraining.title}.")
    if facts.low_performing is not None:
        said.append(f"low, low-performing: {facts.low_performing.meaning}.")
    return " ".join([*said, "A dash or ?: not known."])


def _explain(group: str, facts: Facts) -> str:
    excluded = group.partition("_without_")[2]
    meaning = explain_group(group, facts) or "a group of this experiment"
    return f"{meaning}, without {excluded}" if excluded else meaning


def _count(size: int | str) -> str:
    return f"{size} language{'' if str(size) == '1' else 's'}"
