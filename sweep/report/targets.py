"""Where `report --to` writes: a folder of tables, or the page as one file."""

import os
from pathlib import Path, PurePosixPath

from sweep.storage import Folder
from sweep.storage.folder import split_uri
from sweep.storage.object_storage import is_object_storage, without_query
from xpe_core.errors import InputError

PAGE = "report.html"
"""What the page is called where only its folder is given."""
PAGE_ENDINGS = (".html", ".htm")
FILE_ENDINGS = (
    *(".csv", ".tsv", ".tex", ".md", ".markdown", ".txt", ".json", ".jsonl", ".parquet", ".xlsx", ".xls", ".ods"),
    *(".pdf", ".docx", ".png", ".svg", ".yaml", ".yml", ".zip", ".gz"),
)
"""Endings of what is meant to be a file, and would be made a folder."""


def choose_form(form: str | None, to: str | None) -> str:
    """Return the format that is asked for, or that a page's name says; the terminal where nothing does."""
    if form is None:
        return "html" if to is not None and _ending(to) in PAGE_ENDINGS else "terminal"
    return form


def choose_target(to: str, form: str) -> tuple[Folder, str]:
    """Return the folder that is written into, and the name of the page in it; InputError where it is none."""
    ending = _ending(to)
    if not is_object_storage(to) and os.path.isdir(os.path.expanduser(to)):
        return Folder(to), PAGE
    if form == "html" and ending in PAGE_ENDINGS:
        return _split(to)
    if ending in (*PAGE_ENDINGS, *FILE_ENDINGS):
        allowed = "a folder, or a file .html" if form == "html" else "a folder, as a report has many tables"
        name = without_query(to)[: -len(ending)]
        raise InputError(f"--to {to}: with --format {form} it must be {allowed}; such as --to {name}")
    if not is_object_storage(to) and os.path.exists(os.path.expanduser(to)):
        raise InputError(f"--to {to}: is a file; name a folder")
    return Folder(to), PAGE


def _split(to: str) -> tuple[Folder, str]:
    if is_object_storage(to):
        return split_uri(to)
    path = Path(to).expanduser()
    return Folder(path.parent), path.name


def _ending(to: str) -> str:
    return PurePosixPath(without_query(to)).suffix.lower()
