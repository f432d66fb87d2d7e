"""The words of an answer, as scores compare them: without case, punctuation and articles.

English is that of SQuAD's own evaluation script (v1.1, arXiv:1606.05250). Other languages are those of MLQA's
(arXiv:1910.07475), which XQuAD is scored by, too: punctuation of all of Unicode, articles by language, and Chinese by
characters. Japanese and Cantonese are read by characters likewise.
"""

import re
import string
import sys
import unicodedata
from functools import cache

from xpe_core.languages import find_language

ARTICLES = {
    "eng": r"\b(a|an|the)\b",
    "spa": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "vie": r"\b(của|là|cái|chiếc|những)\b",
    "deu": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "ara": r"\sال^|ال",
}
MACROLANGUAGES = {"arb": "ara"}
BY_CHARACTERS = ("zho", "jpn", "yue")
CHARACTER = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")


def find_words(text: str, language: str) -> tuple[str, ...]:
    """Return the words of an answer in a language, by whatever code it has."""
    code = _find_code(language)
    marks = string.punctuation if code == "eng" else _list_marks()
    text = "".join(character for character in text.lower() if character not in marks)
    if code in ARTICLES:
        text = re.sub(ARTICLES[code], " ", text)
    if code in BY_CHARACTERS:
        text = CHARACTER.sub(lambda found: f" {found[0]} ", text)
    return tuple(text.split())


@cache
def _find_code(language: str) -> str:
    """Return the three letters of ISO 639 of a language; what no list knows is its own."""
    known = find_language(language)
    letters = re.split("[_-]", language if known is None else known.code)[0]
    return MACROLANGUAGES.get(letters, letters)


@cache
def _list_marks() -> frozenset[str]:
    every = map(chr, range(sys.maxunicode + 1))
    return frozenset(one for one in every if unicodedata.category(one).startswith("P")).union(string.punctuation)
