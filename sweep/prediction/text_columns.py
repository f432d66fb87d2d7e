"""Which columns of a table the texts to be classified stand in: as told, or as the reader of data sets finds them."""

from collections.abc import Mapping, Sequence

from xpe_core.data import Table, find_text
from xpe_core.errors import InputError
from xpe_core.tasks.texts import TEXT, TextField

Fields = Sequence[TextField]
"""The texts that an item has, one or two."""
ONE_TEXT: Fields = (TEXT,)


def choose_columns(table: Table, column: str | None, fields: Fields) -> tuple[list[str], list[str]]:
    """Return the columns that an item's texts stand in, and what to say of the choice.

    Raises InputError where there is no such column, it stands twice, or several may be meant.
    """
    if len(fields) == 1:
        found, notes = choose_column(table, column, fields[0])
        return [found], notes
    said = _read_columns(column, fields)
    chosen = [choose_column(table, said.get(field.name), field, f"{field.name}=", alone=False) for field in fields]
    columns = [found for found, _ in chosen]
    if len(set(columns)) < len(columns):
        raise InputError(f"--column: {' and '.join(field.name for field in fields)} are both {columns[0]!r}")
    return columns, [note for _, notes in chosen for note in notes]


def _read_columns(column: str | None, fields: Fields) -> Mapping[str, str]:
    """Return the column of each text that `first=a,second=b` says; InputError where it says something else."""
    names = [field.name for field in fields]
    said = dict(part.partition("=")[::2] for part in column.split(",")) if column else {}
    if not said.keys() <= set(names) or not all(said.values()):
        form = ",".join(f"{name}=NAME" for name in names)
        raise InputError(f"--column {column}: an item has {len(names)} texts; write --column {form}")
    return said


def choose_column(
    table: Table, column: str | None, field: TextField = TEXT, prefix: str = "", alone: bool = True
) -> tuple[str, list[str]]:
    """Return the column that a text stands in, and what to say of the choice.

    `prefix` stands before its name in the option; `alone`: the only column of a table is it, whatever its name.
    Raises InputError where there is no such column, it stands twice, or several may be meant.
    """
    try:
        found = find_text(table, column, field, alone)
    except InputError as error:
        said = error.say(lambda setting: f"--column {prefix}{setting.value.removeprefix(f'{field.name}=')}")
        way = (
            f"; name it with --column {prefix}NAME"
            if column is None and "no column" in said and "--column" not in said
            else ""
        )
        raise InputError(f"{said}{way}") from None
    if found in (column, field.name):
        return found, []
    usual = (field.name, *field.synonyms)
    if table.has_header and column is None and found.strip().lower().replace(" ", "_") not in usual:
        said = f"its first line is taken for a column's name, {found!r}; a file with texts alone ends in .txt"
    else:
        said = f"{field.name if prefix else 'texts'} {'is' if prefix else 'are'} read from the column {found!r}"
    return found, [f"{table.path}: {said}"]
