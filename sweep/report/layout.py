"""Tables as lines of a terminal. Nothing is cut, whatever the width.

A table that is too wide is set closer, with a cell's interval in a line of its own. If that is not enough it comes in
blocks of columns, each with the names of its rows. Where not even one column fits beside them it becomes a list.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from sweep.report.sheet import Sheet
from sweep.report.wrapping import measure_chunks, measure_joints, measure_whole, wrap

GAP = 2
"""Cells between two columns."""
MAX_LABEL = 30
"""Of a column of words; longer ones take several lines."""
LABEL_SHARE = 0.6
"""Of the width, that the names of rows may take before long ones are broken at their joints."""
MAX_HEAD = 16
"""A longer name over a column of numbers is broken at its joints."""
NUMBER = re.compile(r"[\d+\-\[–*]|$")
"""How a cell begins that holds a number, or none."""
LEAST_SENTENCE = 16
LEAST = 10
"""Of a list's lines: on less nothing can be read."""

Measure = Callable[[str], int]


@dataclass(frozen=True)
class _Column:
    """A column of a block: where it is in the table, and how wide."""

    index: int
    width: int


def lay_out(sheet: Sheet, width: int) -> list[Text]:
    """Return a table, without its title and notes, as lines of at most `width` cells."""
    lines: list[Text] = []
    blocks = _find_blocks(sheet, width)
    if blocks is None:
        return _list(sheet, max(width, LEAST))
    for number, columns in enumerate(blocks):
        if number:
            lines.append(Text())
        lines += _draw(sheet, columns, width)
    return lines


def _find_blocks(sheet: Sheet, width: int) -> list[list[_Column]] | None:
    """Return the columns of each block; None where no column fits beside the names of the rows."""
    indices = range(len(sheet.columns))
    labels = indices[: sheet.left]
    whole = [_width(sheet, index, measure_whole) for index in indices]
    if _total(whole) <= width:
        return [[_Column(index, whole[index]) for index in indices]]
    close = [
        max(_width(sheet, index, measure_chunks), _least_sentence(sheet, index, whole[index])) for index in indices
    ]
    if _total(close) <= width:
        return [_widen(close, whole, width)]
    numbers = indices[sheet.left :]
    needed = GAP + max((close[index] for index in numbers), default=0)
    widths = close
    label_width = _total([close[index] for index in labels])
    has_long_names = label_width > width * LABEL_SHARE and max(close[index] for index in labels) > MAX_LABEL
    if has_long_names or width - label_width < needed:
        joints = [_width(sheet, index, measure_joints) for index in indices]
        widths = _tighten(close, joints, labels, min(int(width * LABEL_SHARE), width - needed))
        label_width = _total([widths[index] for index in labels])
        if _total(widths) <= width:
            return [_widen(widths, whole, width)]
    room = width - label_width
    if not numbers or room < needed:
        return None
    blocks: list[list[int]] = [[]]
    for index in numbers:
        beside = [min(whole[one], room - GAP) for one in (*blocks[-1], index)]
        if blocks[-1] and sum(beside) + GAP * len(beside) > room:
            blocks.append([])
        blocks[-1].append(index)
    return [[_Column(index, min(widths[index], width)) for index in labels] + _fit(own, whole, room) for own in blocks]


def _fit(indices: Sequence[int], whole: Sequence[int], room: int) -> list[_Column]:
    return [_Column(index, min(whole[index], room - GAP)) for index in indices]


def _width(sheet: Sheet, index: int, measure: Measure) -> int:
    """Return the width of a column by a measure of its cells; headings of rows stand across all columns."""
    cells = [row[index] for row in sheet.rows if len(row) > 1]
    is_label = index < sheet.left
    widest = max(map(measure, cells), default=0)
    if is_label:
        widest = min(widest, max(MAX_LABEL, max(map(measure_chunks, cells), default=0)))
    head = sheet.columns[index]
    needs = measure(head) if is_label else measure_chunks(head)
    if needs > max(widest, MAX_HEAD) or measure is measure_joints:
        needs = max(min(needs, MAX_HEAD), measure_joints(head))
    return max(widest, needs, 1)


def _least_sentence(sheet: Sheet, index: int, whole: int) -> int:
    """Return the width of a column of sentences below which they would have a word a line."""
    return min(whole, LEAST_SENTENCE) if index >= sheet.left and _is_left(sheet, index) else 0


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _widen(least: Sequence[int], whole: Sequence[int], width: int) -> list[_Column]:
    """Return columns that share what is left of the width: cell by cell, to the one whose texts take most lines."""
    widths = list(least)
    for _ in range(width - _total(widths)):
        index = max(range(len(widths)), key=lambda one: whole[one] / widths[one])
        if whole[index] > widths[index]:
            widths[index] += 1
    return [_Column(index, needed) for index, needed in enumerate(widths)]


def _tighten(close: Sequence[int], joints: Sequence[int], labels: Sequence[int], room: int) -> list[int]:
    """Return the widths with names broken at joints, as wide as the room for them allows."""
    widths = list(close)
    for index in labels:
        widths[index] = min(close[index], joints[index])
    spare = room - _total([widths[index] for index in labels])
    for index in labels:
        more = max(min(close[index] - widths[index], spare), 0)
        widths[index] += more
        spare -= more
    return widths


def _draw(sheet: Sheet, columns: Sequence[_Column], width: int) -> list[Text]:
    """Return the lines of a block: its heads, a rule, and the rows."""
    heads = [(wrap(_head(sheet.columns[one.index]), one.width), _is_left(sheet, one.index), "") for one in columns]
    deepest = max(len(lines) for lines, *_ in heads)
    heads = [([""] * (deepest - len(lines)) + lines, left, style) for lines, left, style in heads]
    drawn = _join(heads, columns)
    drawn.append(Text("─" * min(_total([one.width for one in columns]), width)))
    for number, row in enumerate(sheet.rows):
        if len(row) == 1:
            drawn += [Text()] * bool(number)
            drawn += [Text(line, style="italic") for line in wrap(row[0], width)]
            continue
        cells = []
        for one in columns:
            style = "bold" if (number, one.index) in sheet.strong else ""
            cells.append((wrap(row[one.index], one.width), _is_left(sheet, one.index), style))
        drawn += _join(cells, columns)
    return drawn


def _join(cells: Sequence[tuple[list[str], bool, str]], columns: Sequence[_Column]) -> list[Text]:
    """Return the lines of one row; of cells in several lines the first one stands out, where they do."""
    joined = []
    for depth in range(max(len(lines) for lines, *_ in cells)):
        line = Text()
        for (lines, is_left, style), column in zip(cells, columns, strict=True):
            text = lines[depth] if depth < len(lines) else ""
            space = " " * (column.width - cell_len(text))
            line.append(" " * GAP if line.plain or column is not columns[0] else "")
            line.append("" if is_left else space)
            line.append(text, style=style if not depth else "")
            line.append(space if is_left else "")
        line.rstrip()
        joined.append(line)
    return joined


def _list(sheet: Sheet, width: int) -> list[Text]:
    """Return a table as a list: a row's names, and below them each column's name with the cell."""
    lines: list[Text] = []
    for row in sheet.rows:
        if len(row) == 1:
            lines += [Text(), *(Text(line, style="italic") for line in wrap(row[0], width))]
            continue
        lines += [Text(line) for line in wrap(", ".join(filter(None, row[: sheet.left])), width)]
        for index in range(sheet.left, len(row)):
            entry = f"{' '.join(sheet.columns[index].split())}: {' '.join(row[index].split())}"
            lines += [Text(f"  {line}") for line in wrap(entry, width - 2, "  ")]
    return lines


def _head(name: str) -> str:
    """Return a column's name in two lines where it is an experiment's arm."""
    return name.replace(":", ":\n") if ":" in name.strip(":") else name


def _is_left(sheet: Sheet, index: int) -> bool:
    """Whether a column holds words, which begin at its left."""
    cells = [row[index] for row in sheet.rows if len(row) > 1]
    return index < sheet.left or not all(NUMBER.match(cell) for cell in cells)
