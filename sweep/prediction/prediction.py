"""The command `predict`: texts from somewhere, through a trained adapter, to somewhere."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from rich.console import Console
from rich.table import Table

from sweep.experiment.classes import read_with_classes
from sweep.prediction.text_columns import Fields
from sweep.prediction.texts import TextRow, Texts, as_cells, open_texts, read_standard_input, split_line
from sweep.prediction.writing import Answers, ClassLines, Lines, SpanLines, Write, choose_format, open_output
from sweep.report.steps import show_steps
from xpe_core.adapters import Adapter
from xpe_core.answerer import load_answerer
from xpe_core.classifier import load
from xpe_core.errors import InputError
from xpe_core.steps import long_step
from xpe_core.tasks import TASKS
from xpe_core.tasks.texts import Text
from xpe_core.trained import cut_windows, window_sizes

BROKEN_PIPE = 141
"""The exit status where nobody reads on, as a shell gives it to a process that the signal ends."""


@dataclass(frozen=True)
class Request:
    """Which texts an adapter is asked about, and how the answers are written, as the command line has it."""

    adapter: str
    texts: Sequence[str] = ()
    file: Path | None = None
    """Texts, or a table with them; without it and `texts` these come from standard input, as from `-`."""
    column: str | None = None
    """The table's column with the texts, or both of pairs; None: what its name or content says."""
    to: Path | None = None
    """The answers' file; None: standard output."""
    form: str | None = None
    """tsv, csv or jsonl; None: as `to` ends."""
    with_probabilities: bool = False
    backbone: str | None = None
    device: str | None = None
    precision: str | None = None
    label_names: Sequence[str] | None = None

    @property
    def table(self) -> Path | None:
        """The file, None where that is standard input."""
        return None if self.file == Path("-") else self.file

    @property
    def on_screen(self) -> bool:
        """Whether the answers go to a terminal."""
        return self.to is None and sys.stdout.isatty()


def predict(request: Request) -> int:
    """Answer texts as they come and return the exit status."""
    form = _check(request)
    # a bar beside answers on the same screen would be in their way
    hides_steps = request.table is None or request.on_screen
    try:
        with nullcontext() if hides_steps else show_steps(Console(stderr=True)):
            _classify(request, form)
    except BrokenPipeError:
        # what is still buffered has nowhere to go when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return 130
    return 0


def _check(request: Request) -> str:
    """Return the form of the answers; InputError where options contradict one another."""
    file, to = request.table, request.to
    if request.texts and request.file is not None:
        raise InputError("--text and --file cannot be given together")
    if request.column is not None and file is None:
        raise InputError(f"--column {request.column}: only a --file has columns")
    form = choose_format(request.form, to)
    if file is not None and to is not None and to.exists() and file.exists() and to.samefile(file):
        raise InputError(f"--to {to}: is the file that is read; the answers need another name")
    return form


def _classify(request: Request, form: str) -> None:
    """Write the answers; to a few texts on a terminal in a table."""
    with open_output(request.to) as write:
        adapter = read_with_classes(request.adapter, request.label_names)
        fields = TASKS[adapter.config.task].texts
        texts = _pair(request.texts, fields)
        table = None if request.table is None else _open(request.table, request.column, fields)
        columns = None if table is None else table.columns
        if TASKS[adapter.config.task].asks == "span":
            _answer_questions(adapter, request, texts, table, form, write)
            return
        classifier = load(adapter, request.device, request.precision, request.backbone)
        names = [field.name for field in fields]
        lines = ClassLines(form, classifier.label_names, request.with_probabilities, columns, names)
        _answer(_Asked("Classifying", fields, texts, table, classifier.probabilities), lines, request, write)


def _answer_questions(
    adapter: Adapter, request: Request, texts: Sequence[Text], table: Texts | None, form: str, write: Write
) -> None:
    """Write the answers where they are spans of passages."""
    if request.with_probabilities:
        raise InputError("--probabilities: this adapter answers with spans of passages, and has no classes")
    answerer = load_answerer(adapter, request.device, request.precision, request.backbone)
    lines = SpanLines(form, None if table is None else table.columns, [field.name for field in answerer.texts])
    _answer(_Asked("Answering", answerer.texts, texts, table, answerer.answer), lines, request, write)


@dataclass(frozen=True)
class _Asked(Generic[Answers]):
    """What is answered, and by what."""

    title: str
    fields: Fields
    texts: Sequence[Text]
    """Of the command line; none where they are in a table, or come from standard input."""
    table: Texts | None
    answer: Callable[[Sequence[Text]], Answers]


def _pair(texts: Sequence[str], fields: Fields) -> Sequence[Text]:
    """Return the items that the texts of a command line are: each one, or each two of them."""
    if len(fields) == 1:
        return texts
    if len(texts) % len(fields):
        names = " and ".join(f"--text {field.name.upper()}" for field in fields)
        raise InputError(f"--text: {len(texts)} texts are no pairs; write {names}")
    return [tuple(texts[start : start + len(fields)]) for start in range(0, len(texts), len(fields))]


def _open(file: Path, column: str | None, fields: Fields) -> Texts:
    with long_step(f"Reading {file.name}"):
        return open_texts(file, column, fields)


def _answer(asked: _Asked[Answers], lines: Lines[Answers], request: Request, write: Write) -> None:
    """Write the answers, window by window; to a few texts on a terminal in a table."""
    if request.texts and request.form is None and request.on_screen:
        _print_table(asked, lines)
        return
    table = asked.table
    _say([*(table.notes if table else ()), *lines.notes])
    write(lines.header())
    with long_step(asked.title, None if table is None else table.num_rows, "texts") as step:
        for window in _windows(asked.texts, table, asked.fields):
            answers = asked.answer([text for text, _ in window])
            write(lines.lines([cells for _, cells in window], answers))
            step.done += len(window)


def _windows(texts: Sequence[Text], table: Texts | None, fields: Fields) -> Iterator[list[TextRow]]:
    if table is not None:
        return cut_windows(table.rows)
    windows = cut_windows(texts) if texts else _read_lines(fields)
    return ([(text, list(as_cells(text))) for text in window] for window in windows)


def _read_lines(fields: Fields) -> Iterator[list[Text]]:
    for window in read_standard_input(window_sizes()):
        yield [split_line(line, fields, "standard input") for line in window]


def _say(notes: Iterable[str]) -> None:
    """Print sentences beside the answers, where none of them is taken for one."""
    console = Console(stderr=True)
    for note in notes:
        console.print(note, style="dim", markup=False, highlight=False, soft_wrap=True)


def _print_table(asked: _Asked[Answers], lines: Lines[Answers]) -> None:
    table = Table(box=None, pad_edge=False)
    first, *others = lines.names.values()
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right")
    for field in asked.fields:
        table.add_column(field.name, overflow="fold")
    for text, cells in zip(asked.texts, lines.cells(asked.answer(asked.texts)), strict=True):
        table.add_row(*cells, *as_cells(text))
    Console().print(table, markup=False)
