"""What an experiment may be called: its name is a folder's, an object's and a word of many commands.

A name may be in every script. What file systems, URIs, shells or `EXPERIMENT:arm` read in ways of their own will not.
"""

import unicodedata

JOINERS = "\u200c\u200d"
"""Zero-width characters that belong to the spelling of some scripts."""
ALLOWED = " .-_+=(),"
SPARED = " +=(),"
"""What may be in a name, and is put into none."""
MAX_CHARACTERS = 100
"""Of a name: ids of runs in other tools are made of it."""
MAX_BYTES = 200
"""Of a name in UTF-8: file systems allow 255, and names of files are made of it."""


def normalise_name(name: str) -> str:
    """Return a name in the one form that all keyboards and file systems agree on (NFC)."""
    return unicodedata.normalize("NFC", name)


def find_problem(name: str) -> str | None:
    """Return why a normalised name cannot be used, as the rest of a sentence; None where it can."""
    if not name.strip(" ."):
        return "is empty"
    if strange := next((character for character in name if not _is_allowed(character)), None):
        return f"holds {strange!r}: allowed are letters and digits of any script, spaces and {' '.join(ALLOWED[1:])}"
    if name[0] in ". " or name[-1] in ". ":
        return "begins or ends with a dot or a space"
    if len(name.encode()) > MAX_BYTES or len(name) > MAX_CHARACTERS:
        size = f"has {len(name)} characters and {len(name.encode())} bytes"
        return f"{size}: allowed are {MAX_CHARACTERS} and {MAX_BYTES}"
    return None


def make_name(text: str) -> str:
    """Return a name out of any text, with dashes for all but letters, digits, dots, dashes and underscores."""
    words = "".join(one if _is_allowed(one) and one not in SPARED else " " for one in normalise_name(text))
    return "-".join(words.split()).strip(".") or "-"


def _is_allowed(character: str) -> bool:
    return character in ALLOWED or character in JOINERS or unicodedata.category(character)[0] in "LMN"
