"""Which column of a table says what: as told, by its own name, or by the one name that is usual for it."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from xpe_core.data.files import DataFile, is_language, read_split
from xpe_core.data.labels import clean
from xpe_core.data.opening import find_kind
from xpe_core.data.source import SHARES, DataSource
from xpe_core.data.table import EMPTY_LINE, Table
from xpe_core.errors import InputError, Setting
from xpe_core.tasks.texts import TEXT, TextField

OWN_NAMES = {
    "label": ("label", "category"),
    "language": ("language",),
    "split": ("split",),
    "id": ("index_id", "id"),
    "answers": ("answers",),
    "title": ("title",),
}
"""Names that are taken without a word, the first that is there; a text has its own alone."""
SYNONYMS = {
    "label": (
        *("intent", "topic", "class", "labels", "categories", "target", "label_text", "sentiment", "stars", "genre"),
        *("news_category", "label_name"),
    ),
    "language": ("lang", "locale", "language_code", "lang_code", "iso_code"),
    "split": ("partition", "data_split", "subset", "fold"),
    "id": (),
    "answers": (),
    "title": (),
}
"""Names that are taken, and said, where one of them stands alone."""
NEEDED = {"class": ("label", "language", "split"), "span": ("answers", "language", "split")}
"""Beside the texts, by what an answer is."""
OPTIONAL = {"class": ("id",), "span": ("id", "title")}


@dataclass(frozen=True)
class Reading:
    """How the rows of a file become examples: for each text, label, ... a column or the value of every row."""

    columns: dict[str, str]
    constants: dict[str, str]
    notes: tuple[str, ...]
    draws: bool = False
    """The splits are drawn."""


def find_columns(table: Table, file: DataFile, source: DataSource) -> Reading:
    """Return a table's reading; InputError where a column is missing, stands twice, or cannot be told."""
    columns: dict[str, str] = {}
    constants: dict[str, str] = {}
    notes: list[str] = []
    guessed: list[str] = []
    missing: list[str] = []
    texts = {field.name: field for field in source.texts}
    for name in (*texts, *NEEDED[source.asks], *OPTIONAL[source.asks]):
        said = source.said.get(name)
        if said is not None:
            if not said.constant and (column := _match(said.value, table.columns)):
                columns[name] = column
            elif said.constant or _is_value(name, said.value):
                constants[name] = said.value
                notes += [f"{name} of all rows: {said.value}"] * (not SHARES.fullmatch(said.value))
            else:
                raise InputError(_miss_said(table, name, said.value))
        elif name in ("language", "split") and (value := _say_certain(name, file)):
            constants[name] = value
        elif column := _find_own(name, table, file):
            columns[name] = column
        elif column := _find_synonym(name, table, texts.get(name)):
            columns[name] = column
            guessed.append(f"{name}={column}")
        elif name == "language" and file.language:
            constants[name] = file.language
        elif name not in OPTIONAL[source.asks]:
            missing.append(name)
    if missing:
        raise _miss(table, file, missing, [*texts, *NEEDED[source.asks]])
    for name, column in columns.items():
        if column in table.twice:
            raise InputError(f"{table.path}: the column {column!r} stands twice, and {name} is read from it; keep one")
    draws = bool(SHARES.fullmatch(constants.get("split", "")))
    if "split" in constants and not draws:
        constants["split"] = read_split(constants["split"]) or constants["split"]
    if guessed:
        notes.append(f"columns were guessed: {','.join(guessed)}")
    return Reading(columns, constants, tuple(notes), draws)


def find_text(table: Table, column: str | None = None, field: TextField = TEXT, alone: bool = True) -> str:
    """Return the column of a table that holds a text; InputError where it is missing or stands twice.

    `alone`: the only column of a table is that of the text, whatever its name.
    """
    own = _match(column, table.columns) if column is not None else None
    if column is not None and own is None and table.columns:
        raise InputError(f"{table.path}: no column {column!r}; its columns are {_list(table.columns)}")
    found = own or _find_own(field.name, table, None) or _find_synonym(field.name, table, field)
    if found is None and alone and len(table.columns) == 1:
        found = table.columns[0]
    if found is None and not table.columns:
        raise InputError(_say_empty(table))
    if found is None:
        raise InputError(f"{table.path}: no column {field.name!r}; its columns are {_list(table.columns)}")
    if found in table.twice:
        raise InputError(f"{table.path}: the column {found!r} stands twice; keep one of them")
    return found


def _match(name: str, columns: Sequence[str]) -> str | None:
    """Return the column of this name, in any Unicode form and case, and with any blanks."""
    if name in columns:
        return name
    found = [column for column in columns if clean(column).casefold() == clean(name).casefold()]
    return found[0] if len(found) == 1 else None


def _say_certain(name: str, file: DataFile) -> str | None:
    """Return what the file's folder and name say of its language or split for certain, whatever a column says."""
    if name == "split":
        return file.split
    return file.language if file.sure else None


def _is_value(name: str, value: str) -> bool:
    """Whether a word that is no column can be what every row has."""
    if name == "split":
        return bool(read_split(value) or SHARES.fullmatch(value))
    return name == "language" and is_language(value)


def _find_own(name: str, table: Table, file: DataFile | None) -> str | None:
    names = OWN_NAMES.get(name, (name,))
    if name == "label" and file is not None and file.sure:
        names = names[::-1]  # SIB-200's files have `category`, and may have a `label` beside it
    return next((own for own in names if own in table.columns), None) or _fold(names, table)


def _fold(names: Sequence[str], table: Table) -> str | None:
    """Return the one column that has one of these names without regard to case and blanks."""
    found = [column for column in table.columns if column.strip().lower().replace(" ", "_") in names]
    return found[0] if len(found) == 1 else None


def _find_synonym(name: str, table: Table, field: TextField | None) -> str | None:
    synonyms = SYNONYMS[name] if field is None else field.synonyms
    found = [column for column in table.columns if column.strip().lower().replace(" ", "_") in synonyms]
    if len(found) > 1:
        raise InputError(
            f"{table.path}: {name} may be in {' or '.join(found)}",
            way="say which: {}",
            settings=(Setting("columns", f"{name}={found[0]}"),),
        )
    return found[0] if found else None


def _miss_said(table: Table, name: str, said: str) -> str:
    near = difflib.get_close_matches(said, table.columns, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    has = f"its columns are {_list(table.columns)}{hint}"
    way = ""
    if name == "split" and re.fullmatch(r"[\d.,/:% ]+", said):
        way = "; to draw the splits, give three percentages, as in split=80/10/10"
    elif name in ("language", "label") and not near:
        way = f"; if every row has this {name}, put it in quotation marks: columns=\"{name}='{said}'\""
    return f"{table.path}: no column {said!r}, as columns says ({name}={said}); {has}{way}"


def _miss(table: Table, file: DataFile, missing: Sequence[str], needed: Sequence[str]) -> InputError:
    """Return the error that names all missing columns, and the setting that says where they are."""
    if not table.columns:
        return InputError(_say_empty(table), f"needed are the columns {', '.join(needed)}")
    names = [repr("category" if name == "label" and file.sure else name) for name in missing]
    lacking = " and ".join(f"no {name}" for name in ("language", "split") if name in missing)
    lacking = f", and its name says {lacking}" if lacking else ""
    if len(table.columns) == 1 and (way := _guess_kind(table)):
        return InputError(f"{table.path}: no column {', '.join(names)}", way=way)
    examples = {"language": file.hint or "eng_Latn", "split": "test"}
    ways = [f"{name}={value} for all rows" for name, value in examples.items() if name in missing]
    ways += ["split=80/10/10 to draw the splits"] if "split" in missing else []
    way = "say where with {}" + (f" (or {', '.join(ways)})" if ways else "")
    has = f"its columns{' by its first line' * (table.has_header and needed[0] in missing)} are {_list(table.columns)}"
    setting = Setting("columns", ",".join(f"{name}=NAME" for name in missing))
    return InputError(f"{table.path}: no column {', '.join(names)}{lacking}", has, way, (setting,))


def _say_empty(table: Table) -> str:
    """Return the sentence for a table without a column: what is wrong with its first row, if it has one."""
    bad = next((row for row in table if row.problem not in (None, EMPTY_LINE)), None)
    return f"{table.path}: holds no rows with named cells" + (
        f"; {table.unit} {bad.number}: {bad.problem}" if bad else ""
    )


def _guess_kind(table: Table) -> str | None:
    """Return what to do with a table of one column that looks like one of another kind, None where it does not."""
    if find_kind(table.path) == "txt":
        return "a .txt file has one text a line; if it is a table, give it a name that ends in .tsv or .csv"
    if find_kind(table.path) == "tsv" and re.search("[,;|]", table.columns[0]):
        return f"there is no tab in its first line, {table.columns[0][:60]!r}; if it is CSV, let its name end in .csv"
    return None


def _list(names: Sequence[str], limit: int = 12) -> str:
    shown = [name if len(name) <= 40 else f"{name[:40]}..." for name in names[:limit]]
    return (", ".join(shown) + (f" and {len(names) - limit} more" if len(names) > limit else "")) or "none"
