"""Which languages a backbone has seen in its pretraining, as far as this is known.

Two of XLM-R's look wrong and are kept, because every published number rests on them: `tgl_Latn` counts as unseen,
`azb_Arab` as seen.
"""

import csv
import fnmatch
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Pretraining:
    """A pretraining whose languages are known."""

    name: str
    """As `facts.csv` has it; `NAME_seen` is the group of its languages."""
    title: str
    """What people call the model."""
    languages: frozenset[str]
    """Codes of `languages.csv`; of languages outside the table nothing is known."""


PRETRAININGS = {
    "xlm-roberta*": "xlmr",
    "xlm-r": "xlmr",
    "xlm-r-*": "xlmr",
    "xlmr": "xlmr",
    "xlmr-*": "xlmr",
    "multilingual-e5-*": "xlmr",
}
"""The pretraining of backbones by patterns of the last part of their names."""
OF_BUNDLED = {"e5-small": "xlmr"}
"""The same by the whole name: `intfloat/e5-small` is another model, an English one."""
ORIGINS = {
    "e5-small": "e5-small comes from it (through multilingual MiniLM)",
    "multilingual-e5-small": "multilingual-e5-small comes from it (through multilingual MiniLM)",
    "multilingual-e5-base": "multilingual-e5-base began as XLM-R base",
    "multilingual-e5-large": "multilingual-e5-large began as XLM-R large",
}
"""What backbones of another name have to do with their pretraining (Wang et al. 2024, arXiv:2402.05672, section 2)."""
TITLES = {"xlmr": "XLM-R"}


def find_pretraining(backbone: str) -> Pretraining | None:
    """Return what a backbone has seen, by the last part of its name or folder; None where that is not known."""
    name = backbone.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].casefold()
    by_pattern = next((one for pattern, one in PRETRAININGS.items() if fnmatch.fnmatchcase(name, pattern)), None)
    found = OF_BUNDLED.get(backbone.casefold(), by_pattern)
    return None if found is None else load_pretrainings()[found]


def find_origin(name: str) -> str | None:
    """Return what a backbone of another name has to do with its pretraining; None where the name says it."""
    return ORIGINS.get(name.casefold())


@cache
def load_pretrainings() -> dict[str, Pretraining]:
    """Return all that are known, by their names."""
    table = files("xpe_core.backbones").joinpath("facts.csv").read_text(encoding="utf-8")
    languages: dict[str, set[str]] = defaultdict(set)
    for row in csv.DictReader(table.splitlines()):
        languages[row["backbone"]].add(row["language"])
    return {name: Pretraining(name, TITLES[name], frozenset(codes)) for name, codes in languages.items()}
