"""A report's tables as files: Markdown, CSV, LaTeX (`latex`). Every file is written whole."""

import re
from collections.abc import Callable, Sequence

from sweep.report.latex import to_latex
from sweep.report.sheet import Sheet
from sweep.storage import Folder


def to_markdown(sheet: Sheet) -> str:
    """Return a table in GitHub's Markdown, with its title and notes."""
    lines = [f"### {escape_markdown(sheet.title)}", ""]
    lines.append("| " + " | ".join(map(escape_markdown, sheet.columns)) + " |")
    marks = [":--" if index < sheet.left else "--:" for index in range(len(sheet.columns))]
    lines.append("| " + " | ".join(marks) + " |")
    for number, row in enumerate(sheet.rows):
        cells = [f"**{escape_markdown(row[0])}**"] if len(row) == 1 else _cells(sheet, number, row)
        lines.append("| " + " | ".join([*cells, *[""] * (len(sheet.columns) - len(cells))]) + " |")
    lines += ["", *(f"{escape_markdown(note)}\n" for note in sheet.notes)]
    return "\n".join(lines).rstrip() + "\n"


def to_csv(sheet: Sheet) -> str:
    """Return the data frame behind a table: scores in [0, 1], not rounded."""
    return sheet.frame.write_csv()


FORMATS: dict[str, tuple[str, Callable[[Sheet], str]]] = {
    "markdown": ("md", to_markdown),
    "csv": ("csv", to_csv),
    "latex": ("tex", to_latex),
}


def name_file(panel: str) -> str:
    """Return what stands in names of files for a backbone and data set: letters that all file systems take."""
    return panel.replace("/", "-")


def write_sheets(sheets: Sequence[Sheet], kind: str, folder: Folder, prefix: str = "") -> list[str]:
    """Write one file a table into a folder, and return their names, which may begin with a `prefix` and a dash."""
    suffix, convert = FORMATS[kind]
    files: dict[str, str] = {}
    for sheet in sheets:
        part = "" if sheet.part is None or kind == "csv" else f"-{sheet.part}"  # CSV holds all parts
        files[f"{prefix}{'-' if prefix else ''}{sheet.name}{part}.{suffix}"] = convert(sheet)
    for name, content in files.items():
        folder.write(name, content.encode())
    return list(files)


def _cells(sheet: Sheet, number: int, row: Sequence[str]) -> list[str]:
    """Return a row's cells; of one that stands out the value is bold."""
    cells = []
    for index, text in enumerate(row):
        value, bracket, rest = text.partition(" [")
        shown = escape_markdown(text)
        if (number, index) in sheet.strong:
            shown = f"**{escape_markdown(value)}**{escape_markdown(bracket + rest)}"
        cells.append(shown)
    return cells


def escape_markdown(text: str) -> str:
    """Return text that Markdown shows as it is, also in a table's cell."""
    escaped = re.sub(r"([\\|*_<>`\[\]])", r"\\\1", text)
    return escaped.replace("\n", "<br>")
