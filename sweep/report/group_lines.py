"""What the names of groups of languages mean, in the line where they stand."""

from collections.abc import Collection, Mapping, Sequence

from sweep.analysis.targets import ALL_TARGETS
from sweep.report.wording import name_group

SOURCES = {
    "eng": "English",
    "enarzho": "English, Arabic and Chinese",
    "joshi5": "the seven languages with most data in the world (Joshi class 5)",
    "xlmr_seen": "the languages in the pretraining of XLM-R",
    "all": "all languages",
}
MEANINGS = {
    "low_performing": "below 60 % when all of XLM-R large is trained",
    "unseen": "not in the pretraining of XLM-R",
    "seen": "in the pretraining of XLM-R",
    "all": "all that are tested",
    ALL_TARGETS: "all that are tested, but for those left out",
}
DESCENDANTS = {
    "e5-small": "e5-small comes from it (through multilingual MiniLM)",
    "multilingual-e5-small": "multilingual-e5-small comes from it (through multilingual MiniLM)",
    "multilingual-e5-base": "multilingual-e5-base began as XLM-R base",
    "multilingual-e5-large": "multilingual-e5-large began as XLM-R large",
}
"""What other backbones have to do with XLM-R (Wang et al. 2024, arXiv:2402.05672, section 2)."""
FACTS_LINE = (
    "class: how much text there is in a language, from 0 to 5 (Joshi et al. 2020). seen, unseen: whether it is in the "
    "pretraining of XLM-R. low, low-performing: below 60 % when all of XLM-R large is trained. A dash or ?: not known."
)
"""What the facts beside a language's name mean."""


def say_group(group: str) -> str:
    """Return a group's name as a sentence has it."""
    return "all tested languages" if group == ALL_TARGETS else group


def group_lines(sizes: Mapping[str, int | str], backbone: str, others: Sequence[str] = ()) -> list[str]:
    """Return a line a group of a table: what it means, and how many languages it has.

    `others` are names that stand beside them, such as source sets; what a group is without is explained, too.
    """
    lines = [f"{name_group(group)} ({_count(size)}): {_explain(group)}." for group, size in sizes.items()]
    excluded = [group.partition("_without_")[2] for group in sizes]
    named = [name for name in dict.fromkeys([*others, *excluded]) if name in SOURCES and name not in sizes]
    lines += [f"{name}: {SOURCES[name]}." for name in named]
    if line := seen_line(sizes, backbone):
        lines.append(line)
    return lines


def seen_line(groups: Collection[str], backbone: str) -> str:
    """Return whose pretraining `seen` means, where the backbone is not XLM-R; nothing where no group speaks of it."""
    if not any(group.split("_")[0] in ("seen", "unseen", "low") for group in groups):
        return ""
    name = backbone.rstrip("/").rsplit("/", 1)[-1]
    if name.lower().startswith(("xlm-roberta", "xlm-r")):
        return ""
    known = DESCENDANTS.get(name.lower(), f"what {name} has seen is not known here")
    return f"Seen and low-performing are facts about XLM-R; {known}."


def _explain(group: str) -> str:
    head, _, excluded = group.partition("_without_")
    meaning = MEANINGS.get(group) or MEANINGS.get(head, "a group of this experiment")
    return f"{meaning}, without {excluded}" if excluded else meaning


def _count(size: int | str) -> str:
    return f"{size} language{'' if str(size) == '1' else 's'}"
