"""Files and classes as people have them, through the command predict: each with its own small input."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars
import pytest

import xpe_core
from tests.conftest import Refuse, Run, RunWithNotes
from tests.xpe_core.test_classifier import WORDS, make_adapter
from xpe_core.adapters import write_adapter, write_peft


@pytest.fixture
def unnamed(base: dict[str, Any], tmp_path: Path) -> str:
    """Write a folder of peft's whose three classes have no names."""
    adapter = make_adapter(base)
    config = adapter.config.with_values(pooling="first")
    write_peft(replace(adapter, config=config, label_names=("LABEL_0", "LABEL_1", "LABEL_2")), tmp_path / "unnamed")
    return str(tmp_path / "unnamed")


def read_label(output: str) -> str:
    return output.split("\t")[0]


def test_blanks_after_the_commas_of_classes_are_no_part_of_a_name(unnamed: str, run_here: Run) -> None:
    place = int(read_label(run_here("predict", unnamed, "--text", WORDS[0])).removeprefix("LABEL_"))
    names = ["Politik", "Sport", "Wirtschaft"]
    output = run_here("predict", unnamed, "--text", WORDS[0], "--classes", "Politik, Sport, Wirtschaft")
    assert read_label(output) == names[place]


@pytest.mark.parametrize("way", ["quoted", "file", "path"])
def test_a_class_whose_name_has_a_comma_can_be_said(unnamed: str, run_here: Run, tmp_path: Path, way: str) -> None:
    place = int(read_label(run_here("predict", unnamed, "--text", WORDS[0])).removeprefix("LABEL_"))
    names = ["Politik, Inland", "Sport, Reise", "Wirtschaft"]
    file = tmp_path / "labels.txt"
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*names, "", ""]).encode())
    said = {"quoted": '"Politik, Inland", "Sport, Reise",Wirtschaft', "file": f"@{file}", "path": str(file)}[way]
    output = run_here("predict", unnamed, "--text", WORDS[0], "--classes", said)
    assert read_label(output) == names[place]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("Politik, Inland,Sport,Wirtschaft", "3 classes; --classes names 4 (Politik | Inland | Sport | Wirtschaft)"),
        ("Politik,Sport", "its head has 3 classes; --classes names 2 (Politik | Sport); a name with a comma stands in"),
        ("Politik;Sport;Wirtschaft", "3 classes; --classes names 1 (Politik;Sport;Wirtschaft)"),
        ("Politik,Sport,Politik", "the class 'Politik' stands there twice"),
        ("Politik,,Sport", "there is an empty name between two commas"),
    ],
)
def test_classes_that_do_not_fit_the_adapter_are_refused_with_both_numbers(
    unnamed: str, refuse: Refuse, said: str, sentence: str
) -> None:
    assert sentence in refuse("predict", unnamed, "--text", WORDS[0], "--classes", said)


@pytest.fixture
def adapter(base: dict[str, Any], tmp_path: Path) -> str:
    write_adapter(make_adapter(base), tmp_path / "one.safetensors")
    return str(tmp_path / "one.safetensors")


def answers_of(adapter: str, texts: list[str]) -> list[str]:
    return [answer.label for answer in xpe_core.load(adapter).predict(texts)]


Rows = list[dict[str, str]]


@pytest.fixture
def answer(adapter: str, run_with_notes: RunWithNotes, tmp_path: Path) -> Callable[..., tuple[Rows, str]]:
    """Give a function that writes a file, answers it into a CSV file, and returns its rows and what was said."""

    def run(name: str, content: bytes, *options: str) -> tuple[Rows, str]:
        (tmp_path / name).write_bytes(content)
        to = tmp_path / "answers.csv"
        output, notes = run_with_notes("predict", adapter, "--file", str(tmp_path / name), "--to", str(to), *options)
        assert output == ""
        with to.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file)), notes

    return run


Answer = Callable[..., tuple[Rows, str]]
A, B, C = WORDS[0], f"{WORDS[7]} {WORDS[8]}", f"{WORDS[20]} {WORDS[21]}"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("last.csv", f"id,text\n1,{A}\n2,{B}\n\n\n"),
        ("last.jsonl", f'{{"id": "1", "text": "{A}"}}\n{{"id": "2", "text": "{B}"}}\n\n'),
        ("last.tsv", f"id\ttext\n1\t{A}\n2\t{B}\n\n"),
        ("mark.TSV", f"\ufeffid\ttext\r\n1\t{A}\r\n2\t{B}\r\n"),
        ("returns.csv", f"id,text\r\r\n1,{A}\r\r\n2,{B}\r\r\n"),
        ("semicolons.CSV", f"id;text\n1;{A}\n2;{B}\n"),
        ("array.json", f'[{{"id": "1", "text": "{A}"}}, {{"id": "2", "text": "{B}"}}]'),
        ("twice.csv", f"id,label_2,label_2,text\n1,x,y,{A}\n2,x,y,{B}\n"),
    ],
)
def test_a_table_is_read_as_training_reads_it_and_every_row_has_one_answer(
    adapter: str, answer: Answer, name: str, content: str
) -> None:
    rows, notes = answer(name, content.encode())
    assert [row["text"] for row in rows] == [A, B]
    assert [row["id"] for row in rows] == ["1", "2"]
    assert [row["label"] for row in rows] == answers_of(adapter, [A, B])
    assert ("left out" in notes) == (name.startswith("last"))


def test_a_bare_carriage_return_and_a_very_long_text_are_text(adapter: str, answer: Answer) -> None:
    texts = [f"{A}\r{B}", f"{A} " * 40_000]
    rows, _ = answer("odd.tsv", f"id\ttext\n1\t{texts[0]}\n2\t{texts[1]}\n".encode())
    assert [row["text"] for row in rows] == texts
    assert [row["label"] for row in rows] == answers_of(adapter, texts)


def test_a_quoted_tsv_is_read_as_pandas_writes_it(answer: Answer) -> None:
    rows, notes = answer("quoted.tsv", f'id\ttext\n1\t"{A}\n""{B}"""\n2\t{C}\n'.encode())
    assert [row["text"] for row in rows] == [f'{A}\n"{B}"', C]
    assert "quotation marks around cells" in notes


def test_a_compressed_file_and_bytes_in_parquet_are_read(adapter: str, answer: Answer, tmp_path: Path) -> None:
    rows, _ = answer("texts.jsonl.gz", gzip.compress(f'{{"text": "{A}"}}\n{{"text": "{B}"}}\n'.encode()))
    assert [row["label"] for row in rows] == answers_of(adapter, [A, B])
    polars.DataFrame({"text": [A.encode(), B.encode()]}).write_parquet(tmp_path / "bytes.parquet")
    rows, _ = answer("again.parquet", (tmp_path / "bytes.parquet").read_bytes())
    assert [row["text"] for row in rows] == [A, B]


@pytest.mark.parametrize(
    ("header", "options", "said"),
    [
        ("id,sentence", [], "texts are read from the column 'sentence'"),
        ("id,Text", [], "texts are read from the column 'Text'"),
        ("id,wording", ["--column", "wording"], ""),
        ("text,wording", ["--column", "wording"], ""),
    ],
)
def test_the_column_of_the_texts_is_named_or_told_by_its_usual_name(
    adapter: str, answer: Answer, header: str, options: list[str], said: str
) -> None:
    rows, notes = answer("texts.csv", f"{header}\n1,{A}\n2,{B}\n".encode(), *options)
    assert [row["label"] for row in rows] == answers_of(adapter, [A, B])
    assert [row[header.split(",")[0]] for row in rows] == ["1", "2"]
    assert said in notes and bool(said) == bool(notes)


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl"])
def test_other_columns_are_kept_and_a_name_that_is_taken_is_said(
    adapter: str, run_with_notes: RunWithNotes, tmp_path: Path, form: str
) -> None:
    (tmp_path / "gold.csv").write_text(f"label,text,sports\nx,{A},7\ny,{B},\n")
    arguments = ["predict", adapter, "--file", f"{tmp_path}/gold.csv", "--to", f"{tmp_path}/out.{form}"]
    _, notes = run_with_notes(*arguments, "--probabilities")
    assert "the file has a column 'label' of its own: the answer's is called 'predicted_label'" in notes
    text = (tmp_path / f"out.{form}").read_text()
    if form == "jsonl":
        rows = [json.loads(line) for line in text.splitlines()]
    else:
        rows = list(csv.DictReader(io.StringIO(text), delimiter="\t" if form == "tsv" else ","))
        assert "the file has a column 'sports' of its own: the answer's is called 'probability_of_sports'" in notes
        assert {"probability_of_sports", "travel", "health"} < rows[0].keys()
    assert [row["label"] for row in rows] == ["x", "y"]
    assert [row["predicted_label"] for row in rows] == answers_of(adapter, [A, B])
    assert [row["sports"] for row in rows] == ["7", ""]


def test_a_first_line_that_is_taken_for_a_name_is_said(answer: Answer) -> None:
    rows, notes = answer("texts.csv", f"{A}\n{B}\n".encode())
    assert len(rows) == 1
    assert f"its first line is taken for a column's name, {A!r}; a file with texts alone ends in .txt" in notes


def test_an_empty_text_within_a_table_is_answered_and_counted(adapter: str, answer: Answer) -> None:
    rows, notes = answer("texts.csv", f"id,text\n1,{A}\n2,\n3,{B}\n".encode())
    assert [(row["id"], row["text"]) for row in rows] == [("1", A), ("2", ""), ("3", B)]
    assert "1 text is empty (line 3, row 2), and answered nevertheless" in notes


def test_a_column_that_stands_twice_is_refused_where_the_texts_are_in_it(
    adapter: str, refuse: Refuse, tmp_path: Path
) -> None:
    (tmp_path / "texts.csv").write_text(f"text,text\n{A},{B}\n")
    assert "the column 'text' stands twice" in refuse("predict", adapter, "--file", f"{tmp_path}/texts.csv")


def test_rows_that_cannot_be_read_are_named_and_counted_before_anything_is_answered(
    adapter: str, refuse: Refuse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.csv").write_text("id,text\n" + f"1,{A}\n" * 400 + "2\n3,b,c\n")
    said = refuse("predict", adapter, "--file", f"{tmp_path}/texts.csv")
    assert "line 402, row 401: 1 fields where the header has 2" in said and "2 rows cannot be read" in said


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--to", "{here}/answers.xlsx"], "a .xlsx file is not written; allowed are .tsv, .csv and .jsonl"),
        (["--to", "{here}/answers.json"], "a .json file is not written; allowed are .tsv, .csv and .jsonl"),
        (["--to", "{here}/answers.csv.gz"], "a .gz file is not written"),
        (["--to", "{here}/texts.csv"], "is the file that is read"),
        (["--column", "words"], "no column 'words'; its columns are id, text"),
    ],
)
def test_an_output_that_is_not_written_and_a_column_that_is_not_there_are_refused(
    adapter: str, refuse: Refuse, tmp_path: Path, options: list[str], sentence: str
) -> None:
    (tmp_path / "texts.csv").write_text(f"id,text\n1,{A}\n")
    before = sorted(tmp_path.iterdir())
    arguments = [option.format(here=tmp_path) for option in options]
    assert sentence in refuse("predict", adapter, "--file", f"{tmp_path}/texts.csv", *arguments)
    assert sorted(tmp_path.iterdir()) == before and (tmp_path / "texts.csv").read_text() == f"id,text\n1,{A}\n"


def test_numbers_and_lists_of_a_table_are_written_to_json_lines_as_they_were(
    adapter: str, run_here: Run, tmp_path: Path
) -> None:
    rows = [
        {"id": 7, "text": A, "share": 0.5, "new": True, "tags": ["a"]},
        {"id": 8, "text": B, "late": None, "zip": "007"},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run_here("predict", adapter, "--file", f"{tmp_path}/in.jsonl", "--to", f"{tmp_path}/out.jsonl")
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    for row, written in zip(rows, answers, strict=True):
        assert row.items() <= written.items() if "tags" not in row else all(written[key] == row[key] for key in row)
