"""Data files as other programs and people leave them: each case a small input of its own."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sweep.experiment.files import find_open_keys, load_experiment
from sweep.planning.languages import fit_to_data
from tests.cases.test_data_files import FRAME, HEAD, ROWS, WHOLE, count
from xpe_core.data import DataSource, load_dataset
from xpe_core.errors import InputError


def write_csv(path: Path, rows: Sequence[dict[str, Any]] = ROWS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("place", ["language={0}/split={1}/part-0.csv", "split={1}/lang={0}/x.csv", "lang={0}/{1}.csv"])
def test_folders_that_name_a_column_and_its_value_say_language_and_split(tmp_path: Path, place: str) -> None:
    for (language, split), part in FRAME.groupby(["language", "split"]):
        write_csv(tmp_path / place.format(language, split), part[["text", "label"]].to_dict("records"))
    (tmp_path / "_SUCCESS").touch()
    assert count(load_dataset(str(tmp_path))) == WHOLE


def test_commas_at_the_end_of_rows_are_no_cells(tmp_path: Path) -> None:
    path = tmp_path / "news.csv"
    path.write_text(HEAD + "".join(f"{','.join(row.values())},,\n" for row in ROWS))
    assert count(load_dataset(str(path))) == WHOLE
    path.write_text(f"{HEAD}x,a,eng_Latn,train,and more\ny,b,eng_Latn,train\n")
    with pytest.raises(InputError, match="5 fields where the header has 4"):
        load_dataset(str(path))


@pytest.mark.parametrize("indent", [None, 1])
def test_an_array_in_a_file_called_jsonl_is_read(tmp_path: Path, indent: int | None) -> None:
    (tmp_path / "news.jsonl").write_text(json.dumps(ROWS, indent=indent))
    assert count(load_dataset(str(tmp_path / "news.jsonl"))) == WHOLE


@pytest.mark.parametrize("beside", [{"sources": [{"name": "x"}]}, {"train": [{"x": 1}], "test": [{"x": 1}]}])
def test_rows_of_cells_are_read_whatever_tables_stand_beside_them(tmp_path: Path, beside: dict[str, Any]) -> None:
    table = {"columns": list(ROWS[0]), "data": [list(row.values()) for row in ROWS]}
    (tmp_path / "news.json").write_text(json.dumps({**table, **beside}))
    assert count(load_dataset(str(tmp_path / "news.json"))) == WHOLE
    (tmp_path / "news.json").write_text(json.dumps({**table, "columns": dict.fromkeys(ROWS[0], "string")}))
    assert count(load_dataset(str(tmp_path / "news.json"))) == WHOLE


@pytest.mark.parametrize("names", [[0, 1, None, True], [["text", "x"], ["label", "x"], "language", "split"]])
def test_columns_whose_names_are_no_texts_are_named(tmp_path: Path, names: list[object]) -> None:
    table = {"columns": names, "data": [list(row.values()) for row in ROWS]}
    (tmp_path / "news.json").write_text(json.dumps(table))
    with pytest.raises(InputError, match="no column 'text', 'label'.*its columns are "):
        load_dataset(str(tmp_path / "news.json"))


def test_a_language_whose_name_has_a_comma_is_trained_on_under_a_name_without(tmp_path: Path) -> None:
    names = {"eng_Latn": "Chinese, Traditional", "deu_Latn": "German"}
    path = write_csv(tmp_path / "news.csv", [{**row, "language": names[row["language"]]} for row in ROWS])
    _, sweep = load_experiment("quickstart", [f"dataset={path}"])
    _, chosen = fit_to_data(sweep, find_open_keys([f"dataset={path}"]))
    assert set(chosen.targets) == {"Chinese Traditional", "German"}
    said = "the language 'Chinese, Traditional' is called 'Chinese Traditional' here"
    assert said in load_dataset(str(path)).notes


def test_data_without_a_test_split_are_refused_with_the_way_to_draw_one(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "news.csv", [{**row, "split": "train"} for row in ROWS])
    with pytest.raises(InputError, match="no language has a test split, .* --set columns='split=80/10/10' draws"):
        fit_to_data(load_experiment("quickstart", [f"dataset={path}"])[1], find_open_keys([f"dataset={path}"]))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "news.csv",
            gzip.compress(HEAD.encode(), mtime=0),
            "is no text but compressed with gzip; give it a name .* in .gz",
        ),
        ("news.csv", b"PK\x03\x04\x14\x00", "is no text but a .zip file or an Excel sheet"),
        ("news.tsv", b"PAR1\x15\x04", "is no text but a Parquet file; give it a name that ends in .parquet"),
        ("news.tsv", HEAD.encode(), "no tab in its first line, .*; if it is CSV, let its name end in .csv"),
        ("news.txt", HEAD.encode(), "a .txt file has one text a line; if it is a table, give it a name"),
    ],
)
def test_a_file_under_the_ending_of_another_kind_is_named_as_what_it_is(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        load_dataset(str(tmp_path / name))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("split=0.8/0.1/0.1", "to draw the splits, give three percentages, as in split=80/10/10"),
        ("split=80/20", "to draw the splits, give three percentages, as in split=80/10/10"),
        ("language=German", "if every row has this language, put it in quotation marks: .*language='German'"),
    ],
)
def test_a_value_in_place_of_a_column_is_refused_with_its_form(tmp_path: Path, columns: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_dataset(DataSource(str(write_csv(tmp_path / "news.csv")), columns=columns))


@pytest.mark.parametrize(
    "name",
    [
        "https://huggingface.co/datasets/user/news",
        "hf://datasets/user/news@main",
        "hf://datasets/user/news/a/train.csv",
    ],
)
def test_an_address_on_the_hub_is_refused_with_the_name_to_write(name: str) -> None:
    with pytest.raises(InputError, match="is an address; write the data set's name on the hub: user/news$"):
        load_dataset(name)
