"""Reading data: SIB-200 itself, a user's own, and what is refused."""

import json
import os
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import LANGUAGES, SIZES, write_dataset
from xpe_core.data import fingerprint_dataset, load_dataset
from xpe_core.errors import InputError
from xpe_core.languages import load_languages

SIB200 = os.environ.get("XPE_SIB200_DIR")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(write_dataset(tmp_path))


@pytest.mark.skipif(not SIB200, reason="XPE_SIB200_DIR does not name a folder with SIB-200")
def test_sib200_has_701_99_and_204_rows_in_each_of_205_languages() -> None:
    assert SIB200
    counts = Counter((example.language, example.split) for example in load_dataset(SIB200).examples)
    expected = {"train": 701, "validation": 99, "test": 204}
    codes = [language.code for language in load_languages()]
    assert counts == {(code, split): size for code in codes for split, size in expected.items()}


def test_quotation_marks_in_a_tsv_are_text_like_any_other(folder: Path) -> None:
    file = folder / "eng_Latn" / "test.tsv"
    file.write_text('index_id\tcategory\ttext\n1\tsports\t"An open quote\n2\ttravel\tand "another"\n', encoding="utf-8")
    texts = [example.text for example in load_dataset(str(folder)).examples if example.example_id in ("1", "2")]
    assert texts == ['"An open quote', 'and "another"']


def test_a_folder_is_read_by_language_split_and_place(dataset: str) -> None:
    loaded = load_dataset(dataset)
    assert loaded.label_names == ("sports", "travel", "health")
    assert [example.language for example in loaded.examples] == [
        language for language in LANGUAGES for _ in range(sum(SIZES.values()))
    ]
    assert [example.example_id for example in loaded.examples[:2]] == ["train0", "train1"]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_one_file_with_four_columns_is_a_data_set(tmp_path: Path, suffix: str) -> None:
    rows = [
        {"text": "Hello, you", "label": "a", "language": "eng_Latn", "split": "train"},
        {"text": "Guten Tag", "label": "b", "language": "deu_Latn", "split": "dev"},
    ]
    frame, file = pd.DataFrame(rows), tmp_path / f"own.{suffix}"
    writers = {"parquet": frame.to_parquet, "csv": lambda path: frame.to_csv(path, index=False)}
    writers.get(suffix, lambda path: frame.to_json(path, orient="records", lines=True))(file)
    loaded = load_dataset(str(file))
    assert [(one.text, one.label, one.language, one.split) for one in loaded.examples] == [
        ("Guten Tag", "b", "deu_Latn", "validation"),
        ("Hello, you", "a", "eng_Latn", "train"),
    ]
    assert loaded.label_names == ("a", "b")


def test_text_of_a_csv_is_not_taken_for_a_number(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text("text,label,language,split\n007,01,eng_Latn,train\n1e3,true,eng_Latn,test\n")
    assert load_dataset(str(file)).examples[0][:2] == ("007", "01")


@pytest.mark.parametrize("name", ["own.csv", "own.jsonl"])
def test_a_file_in_another_encoding_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes("text,label,language,split\ncafé,a,fra_Latn,train\n".encode("latin-1"))
    with pytest.raises(InputError, match=f"{name}: cannot be read as"):
        load_dataset(str(file))


def test_a_folder_in_another_encoding_is_refused(folder: Path) -> None:
    file = folder / "eng_Latn" / "train.tsv"
    file.write_bytes("index_id\tcategory\ttext\n1\tsports\tcafé\n".encode("latin-1"))
    with pytest.raises(InputError, match=f"{file}: cannot be read as UTF-8"):
        load_dataset(str(folder))


def test_other_files_and_folders_beside_the_data_do_not_matter(folder: Path) -> None:
    before = fingerprint_dataset(str(folder))
    (folder / ".git" / "objects").mkdir(parents=True)
    (folder / "eng_Latn" / "notes.md").write_text("of no interest")
    assert fingerprint_dataset(str(folder)) == before


def test_a_snapshot_in_the_hubs_cache_is_read_without_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "datasets--Somebody--sib200"
    data = repository / "snapshots" / commit / "data"
    data.mkdir(parents=True)
    write_dataset(data)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert len(load_dataset("Somebody/sib200").examples) == len(LANGUAGES) * sum(SIZES.values())


def test_a_changed_text_is_another_fingerprint(folder: Path) -> None:
    before = fingerprint_dataset(str(folder))
    assert fingerprint_dataset(str(folder)) == before
    file = folder / "kat_Geor" / "test.tsv"
    file.write_text(file.read_text().replace("spkat", "spkta", 1))
    assert fingerprint_dataset(str(folder)) != before


def test_a_hub_that_cannot_be_reached_is_said_with_the_offline_way() -> None:
    with pytest.raises(InputError, match="'Nobody/nothing' is not in the hub's cache.*dataset=cldr"):
        load_dataset("Nobody/nothing")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no-such-thing", "'no-such-thing' is neither a folder nor a file"),
        ("/no/such/folder", "'/no/such/folder' is neither a folder nor a file"),
        ("missing.csv", "'missing.csv' is neither a folder nor a file"),
    ],
)
def test_an_unknown_data_set_is_refused_with_what_is_allowed(name: str, message: str) -> None:
    with pytest.raises(InputError, match=f"{message}.*allowed are 'cldr'"):
        load_dataset(name)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no <language>/train.tsv"):
        load_dataset(str(tmp_path))


def test_a_missing_column_is_named_with_the_file(folder: Path) -> None:
    file = folder / "eng_Latn" / "train.tsv"
    file.write_text(file.read_text().replace("category", "kind"))
    with pytest.raises(InputError, match=f"{file}: no column 'category'; its columns are index_id, kind, text"):
        load_dataset(str(folder))


def test_a_missing_column_of_a_table_is_named(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(json.dumps({"text": "x", "label": "a", "language": "eng_Latn"}))
    with pytest.raises(
        InputError,
        match="no column 'split', and its name says no split; its columns are text, label, language; .*split=80/10/10",
    ):
        load_dataset(str(file))


@pytest.mark.parametrize(("line", "message"), [("1\tsports\t ", "line 2: empty text"), ("1\tx", "2 fields where the")])
def test_a_bad_row_is_named_by_its_line(folder: Path, line: str, message: str) -> None:
    (folder / "eng_Latn" / "train.tsv").write_text(f"index_id\tcategory\ttext\n{line}\n")
    with pytest.raises(InputError, match=message):
        load_dataset(str(folder))


def test_a_label_that_the_list_of_labels_lacks_is_refused(folder: Path) -> None:
    (folder / "deu_Latn" / "labels.txt").write_text("sports\ntravel\n")
    with pytest.raises(InputError, match="label 'health' is not in .*labels.txt"):
        load_dataset(str(folder))


@pytest.mark.parametrize("rows", ["", "x,a,eng_Latn,train\ny,a,eng_Latn,test\n"])
def test_a_data_set_without_two_labels_is_refused(tmp_path: Path, rows: str) -> None:
    file = tmp_path / "own.csv"
    file.write_text(f"text,label,language,split\n{rows}")
    with pytest.raises(InputError, match="needed are two or more"):
        load_dataset(str(file))


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text("text,label,language,split\nx,a,eng_Latn,holdout\n")
    with pytest.raises(InputError, match="row 1: unknown split 'holdout'; allowed are train, validation, test"):
        load_dataset(str(file))


def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "own.parquet"
    file.write_text("not parquet")
    with pytest.raises(InputError, match="cannot be read as parquet"):
        load_dataset(str(file))
