r"""A report's tables in LaTeX, to be pasted into a paper: what each needs stands in a comment at its top.

A table that fits on a page floats, one that fits on a few does so in parts; they are scaled down where they are wider
than the text. A longer one is a `longtable`, which breaks over pages but cannot be scaled: its columns of words are
wrapped into what the numbers leave.
"""

import re
import unicodedata
from dataclasses import replace
from itertools import pairwise

from sweep.report.sheet import Sheet

Rows = tuple[tuple[str, ...], ...]

MAX_LINES = 40
r"""Of `\small` under a caption on a page of an a4 article."""
MAX_PARTS = 4
"""Of a table that floats in parts; a longer one breaks over pages."""
SIZES = (("footnotesize", 8.0), ("scriptsize", 7.0), ("tiny", 5.0))
"""Of a long table's letters, the first in which it fits, with their heights in points."""
INTERVAL_HEIGHT = 7.0
TEXT_WIDTH = 340.0
"""In points, of a one-column a4 article at 10 points, less 5 as widths of letters are estimates."""
GAP = 6.0
"""Between two columns, in points."""
NARROW = frozenset(" .,:;'|()[]ijlt")
WIDE = frozenset("mw%&<>+−@")
LETTERS = frozenset(letter for letter in map(chr, range(0xC0, 0x180)) if letter.isalpha()) - frozenset("ĦħĸĿŀŉŦŧſ")
"""Latin letters with accents that pdflatex sets in the encoding T1."""
SPECIALS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_\allowbreak{}",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "`": r"\textasciigrave{}",
    '"': r"\textquotedbl{}",
    "\n": " ",
    "\u00a0": "~",
    "–": "--",
    "—": "---",
    "−": "$-$",
    "×": r"$\times$",
    "…": r"\dots{}",
    "‘": "`",
    "’": "'",
    "ʻ": "`",
    "ʼ": "'",
    "“": "``",
    "”": "''",
}


def to_latex(sheet: Sheet) -> str:
    """Return a table with booktabs' rules: floating, in parts if longer than a page, or breaking over pages."""
    parts = _parts(sheet.rows)
    if len(parts) > MAX_PARTS or any(_lines(part) > MAX_LINES for part in parts):
        return _long_table(sheet)
    tables = []
    start = 0
    for number, rows in enumerate(parts, start=1):
        strong = frozenset((row - start, index) for row, index in sheet.strong)
        start += len(rows)
        title = sheet.title if len(parts) == 1 else f"{sheet.title} ({number} of {len(parts)})"
        caption = sheet.caption if number == 1 or sheet.caption is None else f"{_first(sheet.caption)} (continued)."
        notes = sheet.notes if number == 1 else ()
        part = replace(sheet, title=title, rows=rows, strong=strong, notes=notes, caption=caption)
        tables.append(_floating_table(part, _label(sheet) + (f"-{number}" if number > 1 else "")))
    return "\n".join(tables)


def _first(caption: str) -> str:
    """Return a caption's first sentence, without its full stop."""
    return re.split(r"\.(?= [A-Z]|$)", caption, maxsplit=1)[0]


def _comments(sheet: Sheet) -> list[str]:
    """Return a table's notes as comments, where its caption does not hold them."""
    return [] if sheet.caption is None else [f"%% {' '.join(note.split())}" for note in sheet.notes]


def _parts(rows: Rows) -> list[Rows]:
    """Return the rows in as few parts as fit on a page each, if no section is longer than a page."""
    starts = [index for index, row in enumerate(rows) if index == 0 or len(row) == 1]
    sections = [rows[start:end] for start, end in pairwise([*starts, len(rows)])]
    parts = sections[:1] or [()]  # a table without rows is one
    for section in sections[1:]:
        if _lines(parts[-1] + section) <= MAX_LINES:
            parts[-1] += section
        else:
            parts.append(section)
    return parts


def _lines(rows: Rows) -> int:
    return sum(max(cell.count("\n") for cell in row) + 1 for row in rows)


def _floating_table(sheet: Sheet, label: str) -> str:
    columns = "l" * sheet.left + "r" * (len(sheet.columns) - sheet.left)
    lines = [
        r"% \usepackage[T1]{fontenc} \usepackage{booktabs,graphicx}",
        *_comments(sheet),
        r"\begin{table}",
        r"\centering\small\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{_caption(sheet)}}}",
        rf"\label{{{label}}}",
        r"\medskip",
        rf"\sbox0{{\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _heading(sheet),
        r"\midrule",
        *_rows(sheet, r"\midrule"),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi",
        r"\end{table}",
    ]
    return "\n".join([*lines, ""])


def _long_table(sheet: Sheet) -> str:
    width = len(sheet.columns)
    size, shares = _fit(sheet)
    columns = "".join(rf">{{\raggedright\arraybackslash}}p{{{share:.3f}\linewidth}}" for share in shares)
    lines = [
        r"% \usepackage[T1]{fontenc} \usepackage{array,booktabs,longtable}",
        *_comments(sheet),
        # no head stands alone on the last lines of a page
        r"\par\ifdim\dimexpr\pagegoal-\pagetotal\relax<12\baselineskip\newpage\fi",
        rf"\begingroup\{size}\setlength{{\tabcolsep}}{{3pt}}\setlength{{\LTcapwidth}}{{\linewidth}}",
        rf"\begin{{longtable}}{{{columns}{'r' * (width - sheet.left)}}}",
        rf"\caption{{{_caption(sheet)}}}\label{{{_label(sheet)}}} \\",
        r"\toprule",
        _heading(sheet),
        r"\midrule",
        r"\endfirsthead",
        rf"\multicolumn{{{width}}}{{l}}{{\tablename\ \thetable{{}}, continued}} \\",
        r"\toprule",
        _heading(sheet),
        r"\midrule",
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *_rows(sheet, r"\addlinespace"),  # a rule might stand alone at the top of a page
        r"\end{longtable}",
        r"\endgroup",
    ]
    return "\n".join([*lines, ""])


def _fit(sheet: Sheet) -> tuple[str, list[float]]:
    """Return the size of a long table's letters, and the shares of the text's width that its columns of words get."""
    tried = [(size, *_word_widths(sheet, height)) for size, height in SIZES]
    size, _, widths = next((one for one in tried if one[1] >= 0), tried[-1])
    return size, [width / TEXT_WIDTH for width in widths]


def _word_widths(sheet: Sheet, height: float) -> tuple[float, list[float]]:
    """Return what the numbers and the longest words leave, and the widths of the columns of words, in points.

    They get what they need, or share what is left; none is narrower than its longest word.
    """
    full = [row for row in sheet.rows if len(row) > 1]
    needs = [max(_text_width(line) * height for line in name.split("\n")) for name in sheet.columns]
    needs = [max(need, *(_cell_width(row[index], height) for row in full)) for index, need in enumerate(needs)]
    columns = list(zip(sheet.columns, *full, strict=True))[: sheet.left]
    pieces = [[word for cell in column for word in re.split(r"(?<=[-_])|\s", cell)] for column in columns]
    longest = [height * max(map(_text_width, words)) for words in pieces]
    left = TEXT_WIDTH - sum(needs[sheet.left :]) - GAP * len(needs) - sum(longest)
    spare = [need - word for need, word in zip(needs, longest, strict=False)]
    part = min(1.0, max(left, 0.0) / max(sum(spare), 1.0))
    return left, [word + part * more for word, more in zip(longest, spare, strict=True)]


def _cell_width(text: str, height: float) -> float:
    """Return about how wide a cell's first line is in points, whose interval is smaller."""
    value, bounds = _split(text.partition("\n")[0])
    return height * _text_width(value) + INTERVAL_HEIGHT * _text_width(bounds)


def _text_width(text: str) -> float:
    """Return about how wide a text is as a multiple of its letters' height, in Computer Modern at 7 and 8 points."""
    width = 0.0
    for letter in text:
        wide = letter in WIDE or letter.isupper()
        width += 0.36 if letter in NARROW else 0.84 if wide else 0.57 * len(_known(letter))
    return width


def _split(line: str) -> tuple[str, str]:
    """Return what stands before an interval, and the interval with its brackets."""
    found = re.fullmatch(r"(.*?)(\[[^\[\]]*\])", line)
    return (found[1], found[2]) if found else (line, "")


def _label(sheet: Sheet) -> str:
    return f"tab:{sheet.name}" if sheet.part is None else f"tab:{sheet.name}-{sheet.part}"


def _caption(sheet: Sheet) -> str:
    if sheet.caption is not None:
        return _numbers(escape(sheet.caption))
    sentences = (text if text.endswith(".") else f"{text}." for text in (sheet.title, *sheet.notes))
    return _numbers(escape(" ".join(sentences)))


def _heading(sheet: Sheet) -> str:
    cells = []
    for index, name in enumerate(sheet.columns):
        inner = r" \\ ".join(_start(_numbers(escape(line))) for line in name.split("\n"))
        side = "l" if index < sheet.left else "r"
        cells.append(rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{inner}\end{{tabular}}" if "\n" in name else inner)
    return " & ".join(cells) + r" \\"


def _rows(sheet: Sheet, between: str) -> list[str]:
    """Return the rows, with something between their sections; second lines of cells are rows of their own."""
    lines = []
    for index, row in enumerate(sheet.rows):
        if len(row) == 1 and index:
            lines.append(between)
        if len(row) == 1:
            # the star: no page ends with a heading
            lines.append(rf"\multicolumn{{{len(sheet.columns)}}}{{l}}{{\textit{{{escape(row[0])}}}}} \\*")
            continue
        second = [cell.partition("\n")[2] for cell in row]
        cells = [_cell(cell, (index, column) in sheet.strong) for column, cell in enumerate(row)]
        lines.append(" & ".join(cells) + (r" \\*[-3pt]" if any(second) else r" \\"))
        if any(second):
            counts = (rf"{{\tiny {_numbers(escape(text))}}}" if text else "" for text in second)
            lines.append(" & ".join(counts) + r" \\[1pt]")
    return lines


def _cell(text: str, is_strong: bool) -> str:
    """Return a cell's first line, whose numbers have minus signs, and whose interval is small."""
    value, bounds = _split(text.partition("\n")[0])
    shown = _start(_sign(_numbers(escape(value))))
    shown = rf"\textbf{{{shown}}}" if is_strong else shown
    return shown + (rf"{{\scriptsize {_sign(escape(bounds))}}}" if bounds else "")


def _start(text: str) -> str:
    r"""Return the text of a cell, which a `\\` before it must not take for its own star or length."""
    return "{}" + text if text[:1] in ("[", "*") else text


def escape(text: str) -> str:
    """Return text that plain pdflatex sets as it is; a letter that it does not have, as its number."""
    escaped = "".join(SPECIALS.get(letter, letter) for letter in "".join(map(_known, text)))
    return re.sub(r"-(?=-)", r"-{}", escaped) if "--" in text else escaped  # an option's dashes are two


def _known(letter: str) -> str:
    """Return a letter, or what stands for it where pdflatex does not have it."""
    if letter in SPECIALS or letter in LETTERS or " " <= letter <= "~":
        return letter
    plain = "".join(part for part in unicodedata.normalize("NFKD", letter) if " " <= part <= "~")
    return plain or f"[U+{ord(letter):04X}]"


def _numbers(escaped: str) -> str:
    """Return text whose products and percentages are set as such."""
    crossed = re.sub(r"(\d|seeds|pairs) x(?= |$)", r"\1 $\\times$", escaped)
    return re.sub(r"(\d) \\%", r"\1~\\%", crossed)


def _sign(text: str) -> str:
    return re.sub(r"(?<![\w.])([+-])(\d[\d.]*)", r"$\1\2$", text)
