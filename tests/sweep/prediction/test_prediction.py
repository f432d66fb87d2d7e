"""The command predict: texts from everywhere, answers to everywhere, and every mistake in one sentence."""

import csv
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

import xpe_core
from sweep.prediction import texts as texts_module
from sweep.prediction.texts import read_standard_input
from tests.conftest import Refuse, Run, RunWithNotes
from tests.xpe_core.test_classifier import NAMES, WORDS, make_adapter, make_backbone
from xpe_core.adapters import write_adapter, write_peft
from xpe_core.errors import InputError
from xpe_core.trained import window_sizes

TEXTS = [WORDS[0], "", f"{WORDS[7]} {WORDS[8]}", f'"{WORDS[20]}, é 語', WORDS[0]]

CLASSES = ["--classes", "sports,travel,health"]

Give = Callable[[bytes], None]


@pytest.fixture
def adapter(base: dict[str, Any], tmp_path: Path) -> str:
    write_adapter(make_adapter(base), tmp_path / "one.safetensors")
    return str(tmp_path / "one.safetensors")


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Give]:
    """Give a function that puts bytes on standard input."""
    with ExitStack() as files:

        def put(content: bytes) -> None:
            (tmp_path / "stdin").write_bytes(content)
            monkeypatch.setattr(sys, "stdin", files.enter_context((tmp_path / "stdin").open("rb")))

        yield put


def lines_of(adapter: str, texts: list[str]) -> list[str]:
    """Return the lines that are expected of texts."""
    answers = xpe_core.load(adapter).predict(texts)
    return [f"{answer.label}\t{answer.probability:.4f}\t{text}" for answer, text in zip(answers, texts, strict=True)]


def test_texts_of_the_command_line_are_answered_a_line_each(adapter: str, run_here: Run) -> None:
    output = run_here("predict", adapter, "--text", TEXTS[0], "--text", TEXTS[2])
    assert output.splitlines() == lines_of(adapter, [TEXTS[0], TEXTS[2]])


@pytest.mark.parametrize("ends", ["", "\n"])
def test_every_line_of_standard_input_has_one_answer(adapter: str, run_here: Run, give: Give, ends: str) -> None:
    give(("\n".join(TEXTS) + ends).encode())
    assert run_here("predict", adapter).splitlines() == lines_of(adapter, TEXTS)


def test_classes_that_have_no_names_are_given_some(base: dict[str, Any], run_here: Run, tmp_path: Path) -> None:
    unnamed = replace(make_adapter(base), label_names=("LABEL_0", "LABEL_1", "LABEL_2"))
    write_peft(replace(unnamed, config=unnamed.config.with_values(pooling="first")), tmp_path / "folder")
    folder = str(tmp_path / "folder")
    (found, label) = (run_here("predict", folder, "--text", "a", *more).split("\t")[0] for more in ([], CLASSES))
    assert found.startswith("LABEL_") and label == CLASSES[1].split(",")[int(found[-1])]


def test_no_lines_have_no_answers(adapter: str, run_here: Run, give: Give) -> None:
    give(b"")
    assert run_here("predict", adapter) == ""


def test_a_byte_order_mark_and_the_ends_of_other_systems_are_no_text(adapter: str, run_here: Run, give: Give) -> None:
    give(f"\ufeff{WORDS[0]}\r\n{WORDS[1]}\r\n".encode())
    assert run_here("predict", adapter).splitlines() == lines_of(adapter, WORDS[:2])


def write_texts(path: Path, texts: list[str]) -> None:
    frame = polars.DataFrame({"number": range(len(texts)), "text": texts})
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".csv":
        frame.write_csv(path)
    elif path.suffix == ".jsonl":
        frame.write_ndjson(path)
    elif path.suffix == ".TSV":  # without quoting
        path.write_text("number\ttext\n" + "".join(f"{number}\t{text}\n" for number, text in enumerate(texts)))
    else:
        path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")


def test_every_line_of_a_text_file_has_one_answer(adapter: str, run_here: Run, tmp_path: Path) -> None:
    write_texts(tmp_path / "texts.txt", TEXTS)
    output = run_here("predict", adapter, "--file", str(tmp_path / "texts.txt"))
    assert output.splitlines() == lines_of(adapter, TEXTS)


@pytest.mark.parametrize("suffix", [".TSV", ".csv", ".jsonl", ".parquet"])
def test_every_kind_of_table_is_read_and_keeps_its_columns(
    adapter: str, run_with_notes: RunWithNotes, tmp_path: Path, suffix: str
) -> None:
    write_texts(tmp_path / f"texts{suffix}", TEXTS)
    output, notes = run_with_notes("predict", adapter, "--file", str(tmp_path / f"texts{suffix}"))
    answers = (line.split("\t") for line in lines_of(adapter, TEXTS))
    rows = [f"{label}\t{value}\t{number}\t{text}" for number, (label, value, text) in enumerate(answers)]
    assert output.splitlines() == ["label\tprobability\tnumber\ttext", *rows]
    assert "1 text is empty" in notes


def test_a_quoted_field_may_have_line_ends_and_the_table_of_answers_has_none(
    adapter: str, run_here: Run, tmp_path: Path
) -> None:
    text = f"{WORDS[0]}\n{WORDS[1]}\t{WORDS[2]}"
    write_texts(tmp_path / "texts.csv", [text])
    output = run_here("predict", adapter, "--file", str(tmp_path / "texts.csv"))
    (label, _, _, shown) = output.splitlines()[1].split("\t")
    assert (label, shown) == (
        xpe_core.load(adapter).predict([text])[0].label,
        text.replace("\n", " ").replace("\t", " "),
    )
    (row,) = csv.DictReader(
        io.StringIO(run_here("predict", adapter, "--format", "csv", "--file", str(tmp_path / "texts.csv")), newline="")
    )
    assert row["text"] == text


@pytest.mark.parametrize("form", ["tsv", "csv", "jsonl"])
def test_the_probabilities_of_all_classes_are_written_under_their_names(
    adapter: str, run_here: Run, tmp_path: Path, form: str
) -> None:
    write_texts(tmp_path / "texts.txt", TEXTS)
    to = tmp_path / f"answers.{form}"
    assert run_here("predict", adapter, "--file", f"{tmp_path}/texts.txt", "--to", str(to), "--probabilities") == ""
    if form == "jsonl":
        rows = [json.loads(line) for line in to.read_text(encoding="utf-8").splitlines()]
        found = [[row["probabilities"][name] for name in NAMES] for row in rows]
    else:
        quoting: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if form == "tsv" else {}
        rows = list(csv.DictReader(io.StringIO(to.read_text(encoding="utf-8"), newline=""), **quoting))
        found = [[float(row[name]) for name in NAMES] for row in rows]
    expected = xpe_core.load(adapter).probabilities(TEXTS)
    assert np.abs(np.array(found) - expected).max() < 1e-4
    assert [row["text"] for row in rows] == TEXTS
    assert [row["label"] for row in rows] == [NAMES[place] for place in expected.argmax(-1)]
    assert [float(row["probability"]) for row in rows] == pytest.approx(expected.max(-1), abs=1e-4)


def test_a_file_of_answers_stands_there_whole_or_not_at_all(
    adapter: str, refuse: Refuse, run_here: Run, tmp_path: Path
) -> None:
    to = tmp_path / "out" / "answers.tsv"
    to.parent.mkdir()
    (tmp_path / "texts.txt").write_bytes(b"good\n" * 300 + b"bad \xff\n")
    said = refuse("predict", adapter, "--file", str(tmp_path / "texts.txt"), "--to", str(to))
    assert said.startswith(f"error: --file {tmp_path}/texts.txt: ") and "line 301 holds the byte 0xff" in said
    assert list(to.parent.iterdir()) == []
    to.write_text("of yesterday")
    refuse("predict", adapter, "--file", str(tmp_path / "texts.txt"), "--to", str(to))
    assert [file.read_text() for file in to.parent.iterdir()] == ["of yesterday"]
    run_here("predict", adapter, "--text", WORDS[0], "--to", str(to))
    assert [file.name for file in to.parent.iterdir()] == ["answers.tsv"]
    assert to.read_text().splitlines() == lines_of(adapter, WORDS[:1])
    assert to.stat().st_mode & 0o777 == (tmp_path / "texts.txt").stat().st_mode & 0o777


def test_a_broken_byte_is_named_by_its_line(adapter: str, refuse: Refuse, give: Give) -> None:
    give(b"one\ntwo \xe9\nthree\n")
    assert refuse("predict", adapter) == "error: standard input, line 2: the byte 0xe9 is no UTF-8\n"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.txt", None, "there is no such file"),
        (
            "a.tsv",
            b"number\twords\n1\ta\n",
            "no column 'text'; its columns are number, words; name it with --column NAME",
        ),
        ("a.csv", b"", "holds no rows with named cells"),
        ("a.csv", b"number,text\n1,a\n2,b,c\n", "line 3, row 2: 3 fields where the header has 2"),
        ("a.csv", b'text\n"a b\n', "line 2: a cell in quotation marks begins here"),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "cannot be read as JSON: line 2"),
        ("a.jsonl", b'{"text": ["a"]}\n', "line 1: 'text' holds a list or an object where a text must stand"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "\\ud83d"}\n', "line 2: 'text' holds half of a character"),
        ("a.jsonl", b"[" * 100_000, "cannot be read as JSON: line 1"),
        ("a.parquet", b"PAR1 or not", "cannot be read as parquet"),
        ("a.json", b"[]", "holds no rows with named cells"),
        ("a.xlsx", b"PK", "a .xlsx file is not read; save the sheet as CSV UTF-8 and give that"),
    ],
)
def test_a_file_that_is_no_list_of_texts_is_said_in_a_sentence(
    adapter: str, refuse: Refuse, tmp_path: Path, name: str, content: bytes | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert sentence in refuse("predict", adapter, "--file", str(tmp_path / name))


def test_a_parquet_file_that_is_damaged_inside_is_said_in_a_sentence(
    adapter: str, refuse: Refuse, tmp_path: Path
) -> None:
    file = tmp_path / "a.parquet"
    polars.DataFrame({"text": [f"{WORDS[0]} {number}" for number in range(500)]}).write_parquet(
        file, compression="zstd"
    )
    content = file.read_bytes()
    file.write_bytes(content[:40] + bytes(byte ^ 255 for byte in content[40:400]) + content[400:])
    assert "a.parquet: cannot be read as parquet" in refuse("predict", adapter, "--file", str(file))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--text", "a", "--file", "b.txt"], "--text and --file cannot be given together"),
        (["--text", "a", "--format", "xml"], "--format xml: must be one of tsv, csv, jsonl"),
        (["--text", "a", "--to", "{here}"], "it is a folder"),
        (["--text", "a", "--to", "{here}/none/answers.tsv"], "there is no folder {here}/none"),
        (["--text", "a", "--device", "tpu7"], "device='tpu7': must be cpu, cuda"),
        (["--text", "a", "--precision", "float16"], "precision='float16'"),
        (["--text", "a", "--backbone", "{here}/nowhere"], "backbone {here}/nowhere"),
        (["--text", "a", "--backbone", "{wider}"], "is for a backbone of hidden size 32"),
        (["--file", "{here}"], "it is a folder"),
    ],
)
def test_an_option_that_cannot_be_is_said_in_a_sentence(
    adapter: str, refuse: Refuse, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    wider = make_backbone(tmp_path / "wider", 64) if "{wider}" in arguments else ""
    before = sorted(tmp_path.iterdir())
    said = refuse("predict", adapter, *(part.format(here=tmp_path, wider=wider) for part in arguments))
    assert sentence.format(here=tmp_path) in said
    assert sorted(tmp_path.iterdir()) == before


def test_an_adapter_that_there_is_not_is_said_in_a_sentence(refuse: Refuse, tmp_path: Path) -> None:
    said = refuse("predict", f"{tmp_path}/none.safetensors", "--text", "a")
    assert said == f"error: adapter {tmp_path}/none.safetensors: there is no such file or folder\n"


def test_a_slow_writers_lines_are_answered_before_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as source, open(writing, "wb", buffering=0) as writer:

        def end() -> None:
            writer.write("é".encode()[1:])
            writer.close()

        monkeypatch.setattr(sys, "stdin", source)
        windows = read_standard_input(window_sizes())
        writer.write(b"one\ntwo\nhalf a ")
        assert next(windows) == ["one", "two"]
        writer.write(b"line\n")
        assert next(windows) == ["half a line"]
        writer.write("é".encode()[:1])
        threading.Timer(0.1, end).start()
        assert list(windows) == [["é"]]


def test_a_fast_writers_lines_fill_windows(monkeypatch: pytest.MonkeyPatch, give: Give) -> None:
    monkeypatch.setattr(texts_module, "READ_BYTES", 7)
    give(b"".join(b"%d\n" % number for number in range(10)))
    windows = list(read_standard_input(iter([2, 4, 8])))
    assert [len(window) for window in windows] == [2, 4, 4]
    assert sum(windows, []) == [str(number) for number in range(10)]
    give(b"a\n\xff\n")
    with pytest.raises(InputError, match="standard input, line 2"):
        list(read_standard_input(iter([1, 1])))


def test_answers_stream_out_a_broken_pipe_ends_quietly_and_ray_is_never_imported(adapter: str) -> None:
    code = (
        "import sys\nfrom sweep.run import main\ntry:\n    main()\n"
        "finally:\n    assert not {'ray', 'optuna'} & set(sys.modules), 'a library of the sweep is imported'\n"
    )
    command = [sys.executable, "-c", code, "predict", adapter, "--device", "cpu"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(f"{WORDS[0]}\n".encode())
        process.stdin.flush()
        assert process.stdout.readline().decode() == lines_of(adapter, WORDS[:1])[0] + "\n"
        process.stdout.close()
        process.stdin.write(f"{WORDS[1]}\n".encode())
        process.stdin.close()
        assert (process.stderr.read(), process.wait()) == (b"", 141)
