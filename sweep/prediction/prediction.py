"""The command `predict`: texts from somewhere, through a trained adapter, to somewhere."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sweep.experiment.classes import read_with_classes
from sweep.prediction.text_columns import Fields
from sweep.prediction.texts import TextRow, Texts, as_cells, open_texts, read_standard_input, split_line
from sweep.prediction.writing import AnswerLines, Write, choose_format, open_output
from sweep.report.steps import show_steps
from xpe_core.classifier import TextClassifier, cut_windows, load, window_sizes
from xpe_core.errors import InputError
from xpe_core.steps import long_step
from xpe_core.tasks import TASKS
from xpe_core.tasks.texts import Text

BROKEN_PIPE = 141
"""The exit status where nobody reads on, as a shell gives it to a process that the signal ends."""


@dataclass(frozen=True)
class Request:
    """Which texts an adapter classifies, and how the answers are written, as the command line has it."""

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
        classifier = load(adapter, request.device, request.precision, request.backbone)
        if request.texts and request.form is None and request.on_screen:
            _print_table(classifier, texts, request.with_probabilities)
            return
        columns = None if table is None else table.columns
        names = [field.name for field in fields]
        lines = AnswerLines(form, classifier.label_names, request.with_probabilities, columns, names)
        _say([*(table.notes if table else ()), *lines.notes])
        _answer(classifier, texts, table, lines, write)


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


def _answer(
    classifier: TextClassifier, texts: Sequence[Text], table: Texts | None, lines: AnswerLines, write: Write
) -> None:
    """Write the answers, window by window."""
    write(lines.header())
    with long_step("Classifying", None if table is None else table.num_rows, "texts") as step:
        for window in _windows(texts, table, classifier.texts):
            probabilities = classifier.probabilities([text for text, _ in window])
            write(lines.lines([cells for _, cells in window], probabilities))
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


def _print_table(classifier: TextClassifier, texts: Sequence[Text], with_probabilities: bool) -> None:
    table = Table(box=None, pad_edge=False)
    classes = classifier.label_names if with_probabilities else ()
    for name in ("label", "probability", *classes):
        table.add_column(name, justify="left" if name == "label" else "right")
    for field in classifier.texts:
        table.add_column(field.name, overflow="fold")
    probabilities = classifier.probabilities(texts)
    for text, row, answer in zip(texts, probabilities, classifier.choose(probabilities), strict=True):
        others = [f"{value:.4f}" for value in row] if with_probabilities else []
        table.add_row(answer.label, f"{answer.probability:.4f}", *others, *as_cells(text))
    Console().print(table, markup=False)
