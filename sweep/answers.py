"""Answers as lines of tsv, csv or jsonl, on standard output or in a file that appears when it is whole."""

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np

from xpe_core.errors import InputError

FORMATS = ("tsv", "csv", "jsonl")

Write = Callable[[str], None]


def choose_format(name: str | None, to: Path | None) -> str:
    """Return the format that is asked for, or that the file's name says; InputError where it is none of FORMATS."""
    if name is not None and name not in FORMATS:
        raise InputError(f"--format {name}: must be one of {', '.join(FORMATS)}")
    if name is not None:
        return name
    suffix = "" if to is None else to.suffix.removeprefix(".")
    return suffix if suffix in FORMATS else "tsv"


class AnswerLines:
    """Lines of one format."""

    def __init__(self, form: str, label_names: Sequence[str], with_probabilities: bool) -> None:
        self._form = form
        self._label_names = label_names
        self._with_probabilities = with_probabilities

    def header(self) -> str:
        """Return the first line: columns of CSV, and of a table whose columns are classes."""
        if self._form == "jsonl" or (self._form == "tsv" and not self._with_probabilities):
            return ""
        classes = self._label_names if self._with_probabilities else ()
        return self._join([["label", "probability", *classes, "text"]])

    def lines(self, texts: Sequence[str], probabilities: np.ndarray) -> str:
        """Return a line a text, given the probabilities [N, C]; in `tsv` tabs and line ends in texts become spaces."""
        best = probabilities.argmax(-1).tolist()
        if self._form == "jsonl":
            return "".join(map(self._to_json, texts, probabilities.tolist(), best))
        digits = 4 if self._form == "tsv" else 6
        rows = []
        for text, row, place in zip(texts, probabilities.tolist(), best, strict=True):
            classes = [f"{value:.{digits}f}" for value in row] if self._with_probabilities else []
            rows.append([self._label_names[place], f"{row[place]:.{digits}f}", *classes, text])
        return self._join(rows)

    def _to_json(self, text: str, row: Sequence[float], place: int) -> str:
        values: dict[str, Any] = {"label": self._label_names[place], "probability": round(row[place], 6), "text": text}
        if self._with_probabilities:
            values["probabilities"] = dict(zip(self._label_names, (round(value, 6) for value in row), strict=True))
        return json.dumps(values, ensure_ascii=False) + "\n"

    def _join(self, rows: Sequence[Sequence[str]]) -> str:
        if self._form == "tsv":
            return "".join("\t".join(map(_flatten, row)) + "\n" for row in rows)
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows(rows)
        return buffer.getvalue()


def _flatten(text: str) -> str:
    """Return a text without what would end a field or a line."""
    return " ".join(text.replace("\t", " ").splitlines()) if not text.isprintable() else text


@contextmanager
def open_output(to: Path | None) -> Iterator[Write]:
    """Give a function that writes; a file appears under its name when everything is written, and not at all before.

    Raises InputError where it cannot be written, and BrokenPipeError where nobody reads standard output any more.
    """
    if to is None:
        yield _write_out
        return
    if to.is_dir() or not to.parent.is_dir():
        what = "it is a folder" if to.is_dir() else f"there is no folder {to.parent}"
        raise InputError(f"--to {to}: {what}")
    with _refused(f"--to {to}"):
        file = NamedTemporaryFile("w", dir=to.parent, prefix=f".{to.name}.", delete=False, encoding="utf-8", newline="")

    def write(text: str) -> None:
        with _refused(f"--to {to}"):
            file.write(text)

    try:
        yield write
        with _refused(f"--to {to}"):
            file.close()
            os.chmod(file.name, 0o666 & ~_read_umask())  # a temporary file is its owner's alone
            os.replace(file.name, to)
    except BaseException:
        with suppress(OSError):  # a full disk refuses what is still buffered, too
            file.close()
        Path(file.name).unlink(missing_ok=True)
        raise


def _write_out(text: str) -> None:
    with _refused("standard output"):
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()


@contextmanager
def _refused(where: str) -> Iterator[None]:
    """Turn what the system says into a sentence, but let a broken pipe through."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"{where}: cannot be written: {error.strerror}") from None


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
