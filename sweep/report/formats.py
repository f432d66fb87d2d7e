"""A report's tables as files: Markdown, CSV, LaTeX with booktabs. Every file is written whole."""

import re
from collections.abc import Callable, Sequence

from sweep.report.sheet import Sheet
from sweep.storage import Folder

LATEX_SPECIALS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    "\n": " ",
}


def to_markdown(sheet: Sheet) -> str:
    """Return a table in GitHub's Markdown, with its title and notes."""
    lines = [f"### {_escape_markdown(sheet.title)}", ""]
    lines.append("| " + " | ".join(map(_escape_markdown, sheet.columns)) + " |")
    marks = [":--" if place < sheet.left else "--:" for place in range(len(sheet.columns))]
    lines.append("| " + " | ".join(marks) + " |")
    for row in sheet.rows:
        cells = [f"**{_escape_markdown(row[0])}**"] if len(row) == 1 else list(map(_escape_markdown, row))
        lines.append("| " + " | ".join([*cells, *[""] * (len(sheet.columns) - len(cells))]) + " |")
    lines += ["", *(f"{_escape_markdown(note)}\n" for note in sheet.notes)]
    return "\n".join(lines).rstrip() + "\n"


def to_csv(sheet: Sheet) -> str:
    """Return the data frame behind a table: accuracies in [0, 1], not rounded."""
    return sheet.frame.write_csv()


def to_latex(sheet: Sheet) -> str:
    r"""Return a `table` with booktabs' rules, to be pasted under `\usepackage{booktabs}`."""
    width = len(sheet.columns)
    lines = [
        r"\begin{table}",
        r"\centering",
        r"\small",
        rf"\caption{{{_escape_latex(sheet.title)}. {' '.join(map(_escape_latex, sheet.notes))}}}",
        rf"\label{{tab:{sheet.name}}}",
        rf"\begin{{tabular}}{{{'l' * sheet.left}{'r' * (width - sheet.left)}}}",
        r"\toprule",
        " & ".join(map(_escape_latex, sheet.columns)) + r" \\",
    ]
    for place, row in enumerate(sheet.rows):
        if len(row) == 1 or place == 0:
            lines.append(r"\midrule")
        if len(row) == 1:
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\textit{{{_escape_latex(row[0])}}}}} \\")
        else:
            lines.append(" & ".join(map(_latex_cell, row)) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


FORMATS: dict[str, tuple[str, Callable[[Sheet], str]]] = {
    "markdown": ("md", to_markdown),
    "csv": ("csv", to_csv),
    "latex": ("tex", to_latex),
}


def write_sheets(sheets: Sequence[Sheet], kind: str, folder: Folder) -> list[str]:
    """Write one file a table into a folder, and return their names."""
    suffix, convert = FORMATS[kind]
    files: dict[str, str] = {}
    for sheet in sheets:
        part = "" if sheet.part is None or kind == "csv" else f"-{sheet.part}"  # CSV holds all parts
        files[f"{sheet.name}{part}.{suffix}"] = convert(sheet)
    for name, content in files.items():
        folder.write(name, content.encode())
    return list(files)


def _escape_markdown(text: str) -> str:
    escaped = re.sub(r"([\\|*_<>`\[\]])", r"\\\1", text)
    return escaped.replace("\n", "<br>")


def _escape_latex(text: str) -> str:
    return "".join(LATEX_SPECIALS.get(letter, letter) for letter in text)


def _latex_cell(text: str) -> str:
    """Return a cell whose numbers have minus signs, and whose interval and second line are small."""
    value, _, rest = text.partition("\n")
    value, bracket, bounds = _escape_latex(value).partition(" [")
    parts = [_sign(value)]
    if bracket:
        parts.append(r"{\scriptsize [" + _sign(bounds) + "}")
    if rest:
        counts = re.sub(r"(\d) x (\d)", r"\1 $\\times$ \2", _escape_latex(rest))
        parts.append(r"{\tiny " + counts + "}")
    return " ".join(parts)


def _sign(text: str) -> str:
    return re.sub(r"(?<![\w.])([+-])(\d[\d.]*)", r"$\1\2$", text)
