"""Data files as people have them: each case a small input of its own, and what must come out of it."""

import bz2
import gzip
import json
import lzma
import re
import shutil
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from rich.console import Console

from sweep.cluster.launcher import Parcel
from sweep.driver.tuner import run_experiment
from sweep.experiment.config import make_sweep
from sweep.experiment.files import load_experiment
from sweep.planning.plan import prepare
from sweep.records.parquet import read_rows
from sweep.report.planned import print_plan
from sweep.storage import Folder
from tests.conftest import ONE_THREAD
from tests.making.datasets import LOCALES, make_lines_on_hub, make_masakhanews, make_massive, make_on_hub, write_card
from xpe_core.config import RunConfig
from xpe_core.data import DataSource, dataset_fingerprints, fingerprint_dataset, load_dataset, open_rows
from xpe_core.data.dataset import Dataset
from xpe_core.data.hub import _fetch
from xpe_core.data.tokens import load_tokens
from xpe_core.errors import InputError

ROWS: list[dict[str, Any]] = [
    {"text": f"text {number} of {language} {split}", "label": "ab"[number % 2], "language": language, "split": split}
    for language in ("deu_Latn", "eng_Latn")
    for split in ("train", "dev", "test")
    for number in range(4)
]
FRAME = pd.DataFrame(ROWS)
HEAD = "text,label,language,split\n"
ONE_EACH = f"{HEAD}x,a,eng_Latn,train\ny,b,eng_Latn,train\n"


def count(data: Dataset) -> dict[tuple[str, str], int]:
    return dict(Counter((example.language, example.split) for example in data.examples))


WHOLE = {(row["language"], {"dev": "validation"}.get(row["split"], row["split"])): 4 for row in ROWS}


def write_language(folder: Path, language: str, rows: Sequence[str], name: str = "{}.tsv", **ending: str) -> Path:
    """Write the same TSV rows as a language's three splits."""
    (folder / language).mkdir(parents=True, exist_ok=True)
    end = ending.get("end", "\n")
    content = ending.get("start", "") + end.join(["category\ttext", *rows, ""])
    for split in ("train", "dev", "test"):
        (folder / language / name.format(split)).write_bytes(content.encode())
    return folder


def texts(source: DataSource | Path) -> list[str]:
    data = load_dataset(source if isinstance(source, DataSource) else str(source))
    return [example.text for example in data.examples if example.split == "train"]


# ---- formats


def write_csv(path: Path) -> None:
    FRAME.to_csv(path, index=False)


FORMATS: dict[str, Callable[[Path], Any]] = {
    "DATA.CSV": write_csv,
    "news.tsv": lambda path: FRAME.to_csv(path, index=False, sep="\t"),
    "news.jsonl": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "news.ndjson": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "array.json": lambda path: FRAME.to_json(path, orient="records"),
    "columns.json": lambda path: FRAME.to_json(path),
    "split.json": lambda path: FRAME.to_json(path, orient="split"),
    "lines.json": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "one_key.json": lambda path: path.write_text(json.dumps({"version": 1, "data": ROWS})),
    "news.parquet": lambda path: FRAME.to_parquet(path),
    "categories.parquet": lambda path: FRAME.astype("category").to_parquet(path),
    "news.arrow": lambda path: pa.feather.write_feather(pa.Table.from_pandas(FRAME), path),
    "semicolons.csv": lambda path: FRAME.to_csv(path, index=False, sep=";"),
    "excel.csv": lambda path: path.write_text("sep=;\r\n" + FRAME.to_csv(index=False, sep=";")),
    "unicode.csv": lambda path: path.write_bytes(FRAME.to_csv(index=False, sep="\t").encode("utf-16")),
    "notepad.csv": lambda path: path.write_bytes(FRAME.to_csv(index=False).encode("utf-8-sig")),
    "macintosh.csv": lambda path: path.write_bytes(FRAME.to_csv(index=False).replace("\n", "\r").encode()),
    "with_index.csv": lambda path: FRAME.to_csv(path),
    "news.csv.gz": lambda path: path.write_bytes(gzip.compress(FRAME.to_csv(index=False).encode())),
    "news.csv.bz2": lambda path: path.write_bytes(bz2.compress(FRAME.to_csv(index=False).encode())),
    "news.tsv.xz": lambda path: path.write_bytes(lzma.compress(FRAME.to_csv(index=False, sep="\t").encode())),
    "news.csv.zst": lambda path: path.write_bytes(
        pa.compress(FRAME.to_csv(index=False).encode(), "zstd", asbytes=True)
    ),
    "news.zip": lambda path: write_zip(path, {"inner/news.csv": FRAME.to_csv(index=False)}),
    "news.parquet.gz": lambda path: path.write_bytes(gzip.compress(FRAME.to_parquet())),
}


def write_zip(path: Path, members: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("name", FORMATS)
def test_one_file_is_read_in_every_format(tmp_path: Path, name: str) -> None:
    FORMATS[name](tmp_path / name)
    data = load_dataset(str(tmp_path / name))
    assert count(data) == WHOLE
    assert data.label_names == ("a", "b")
    assert data.examples[0].text == "text 0 of deu_Latn train"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("news.xlsx", "a .xlsx file is not read; save the sheet as CSV UTF-8"),
        ("news.docx", "a .docx file is not read; save its texts as a table"),
        ("news.data", "a .data file is not read; allowed are .tsv, .csv"),
        ("news.csv.gz", "is no whole .gz file"),
        ("news.zip", "is no whole .zip file"),
        ("news.parquet", "cannot be read as parquet"),
        ("news.arrow", "cannot be read as arrow"),
        ("news.jsonl", "cannot be read as JSON: line 1, column 1"),
        ("news.json", "cannot be read as JSON: line 1, column 1"),
    ],
)
def test_a_file_that_is_none_of_these_is_refused_with_the_way_out(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_text("none of these")
    with pytest.raises(InputError, match=f"{re.escape(name)}: {message}"):
        load_dataset(str(tmp_path / name))


def test_a_zip_with_two_files_is_refused(tmp_path: Path) -> None:
    write_zip(tmp_path / "two.zip", {"a.csv": ONE_EACH, "b.csv": ONE_EACH})
    with pytest.raises(InputError, match="two.zip: holds 2 files"):
        load_dataset(str(tmp_path / "two.zip"))


def test_bytes_of_windows_are_named_by_line_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_bytes(f"{ONE_EACH}café,a,fra_Latn,train\n".encode("cp1252"))
    with pytest.raises(InputError, match="line 4 holds the byte 0xe9; save it as UTF-8 .*iconv"):
        load_dataset(str(tmp_path / "own.csv"))


# ---- folders, parts, patterns


def test_files_are_found_in_any_spelling_of_their_split(tmp_path: Path) -> None:
    write_language(tmp_path, "hau", ["a\tx", "b\ty"])
    for language, name in (("eng", "valid"), ("swa", "val"), ("yor", "VALIDATION"), ("ibo", "dev")):
        write_language(tmp_path, language, ["a\tx", "b\ty"])
        if name != "dev":
            (tmp_path / language / "dev.tsv").rename(tmp_path / language / f"{name}.TSV")
    found = count(load_dataset(str(tmp_path)))
    assert found == {(lang, split): 2 for lang in ("hau", "eng", "swa", "yor", "ibo") for split in SPLITS}


SPLITS = ("train", "validation", "test")
PLACES = {
    "folder by language": "{language}/{split}.csv",
    "folder by split": "{split}/{language}.csv",
    "below data": "data/{language}/{split}.jsonl.gz",
    "somewhere below": "raw/v1/{language}/{split}.json",
    "language and split in one name": "{language}_{split}.tsv",
    "split and language in one name": "{split}.{language}.parquet",
    "parts": "{language}/{split}-00000-of-00001.parquet",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
def test_folders_and_names_say_language_and_split(tmp_path: Path, place: str) -> None:
    for language in ("eng_Latn", "zh-CN", "sw"):
        for split in ("train", "dev", "test"):
            file = tmp_path / place.format(language=language, split=split)
            file.parent.mkdir(parents=True, exist_ok=True)
            frame = FRAME[FRAME["split"] == split][["text", "label"]]
            content = {
                ".csv": lambda frame=frame: frame.to_csv(index=False).encode(),
                ".tsv": lambda frame=frame: frame.to_csv(index=False, sep="\t").encode(),
                ".json": lambda frame=frame: frame.to_json(orient="records").encode(),
                ".gz": lambda frame=frame: gzip.compress(frame.to_json(orient="records", lines=True).encode()),
                ".parquet": lambda frame=frame: frame.to_parquet(),
            }[file.suffix]()
            file.write_bytes(content)
    expected = {(language, split): 8 for language in ("eng_Latn", "zh-CN", "sw") for split in SPLITS}
    assert count(load_dataset(str(tmp_path))) == expected


def test_files_by_split_have_their_languages_in_a_column(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        rows = FRAME[FRAME["split"] == split.replace("val", "dev")].drop(columns="split")
        for part in range(2):
            rows.iloc[part::2].to_parquet(tmp_path / f"{split}-0000{part}-of-00002.parquet")
    assert count(load_dataset(str(tmp_path))) == WHOLE


def test_files_by_language_are_read_as_a_folder_and_as_a_pattern(tmp_path: Path) -> None:
    for language in ("eng", "zh-CN"):
        FRAME.drop(columns="language").to_csv(tmp_path / f"{language}.csv", index=False)
    (tmp_path / "notes.md").write_text("of no interest")
    expected = {(language, split): 8 for language in ("eng", "zh-CN") for split in SPLITS}
    assert count(load_dataset(str(tmp_path))) == expected
    assert count(load_dataset(f"{tmp_path}/*.csv")) == expected
    assert count(load_dataset(str(tmp_path / "eng.csv"))) == {("eng", split): 8 for split in SPLITS}


def test_several_files_with_all_columns_are_one_data_set(tmp_path: Path) -> None:
    for number in range(3):
        FRAME.iloc[number::3].to_csv(tmp_path / f"news{number}.csv", index=False)
    assert count(load_dataset(f"{tmp_path}/news*.csv")) == WHOLE
    with pytest.raises(InputError, match="no file has such a name"):
        load_dataset(f"{tmp_path}/other*.csv")


def test_a_language_is_found_behind_what_all_names_begin_with(tmp_path: Path) -> None:
    for language in ("hau", "yor_Latn"):
        for split in ("train", "dev", "test"):
            (tmp_path / f"my_news_{language}_{split}.csv").write_text("text,label\nx,a\ny,b\n")
    assert count(load_dataset(str(tmp_path))) == {(one, split): 2 for one in ("hau", "yor_Latn") for split in SPLITS}
    for file in tmp_path.glob("*_hau_*"):
        file.unlink()
    for file in tmp_path.glob("*_yor_*"):
        file.rename(tmp_path / file.name.replace("_yor_Latn", ""))
    with pytest.raises(InputError, match="my_news_train.csv: no column 'language', and its name says no language"):
        load_dataset(str(tmp_path))  # `my` would be Burmese


def test_a_pattern_holds_wherever_a_worker_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, sweep = load_experiment("quickstart", ["dataset=data/*.csv"])
    assert sweep.base["dataset"] == str(tmp_path / "data" / "*.csv")
    with pytest.raises(InputError, match="with --cluster give the whole folder"):
        Parcel(tmp_path).add_value("dataset", "data/*.csv")


def test_json_by_language_or_split_is_one_table(tmp_path: Path) -> None:
    rows = [{"text": "x", "label": "a"}, {"text": "y", "label": "b"}]
    file = tmp_path / "own.json"
    for content in (
        {language: [{**row, "split": split} for split in SPLITS for row in rows] for language in ("eng", "sw")},
        {split: [{**row, "language": language} for language in ("eng", "sw") for row in rows] for split in SPLITS},
        {language: dict.fromkeys(SPLITS, rows) for language in ("eng", "sw")},
    ):
        file.write_text(json.dumps(content))
        assert count(load_dataset(str(file))) == {
            (language, split): 2 for language in ("eng", "sw") for split in SPLITS
        }


def test_one_split_in_two_files_is_refused(tmp_path: Path) -> None:
    write_language(tmp_path, "eng", ["a\tx", "b\ty"])
    (tmp_path / "eng" / "train.csv").write_text("text,label\nx,a\n")
    with pytest.raises(InputError, match="train.csv and .*train.tsv are both the train split of eng; keep one"):
        load_dataset(str(tmp_path))


def test_what_says_no_split_is_left_out_and_said(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        FRAME[FRAME["split"] == split].drop(columns="split").to_csv(tmp_path / f"{split}.csv", index=False)
    (tmp_path / "unlabelled.csv").write_text("text\nx\n")
    assert load_dataset(str(tmp_path)).notes == ("not read, since the names say no split: unlabelled.csv",)


# ---- TSV with and without quotation marks


def test_cells_in_quotation_marks_over_many_lines_are_read_as_pandas_writes_them(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        (tmp_path / "eng").mkdir(exist_ok=True)
        news = ['A town "in limbo".\nIt waits,\n\n"and hopes".', "plain\ttabs", 'with "marks"']
        frame = pd.DataFrame({"category": ["a", "b", "a"], "headline": "h", "text": news})
        frame.to_csv(tmp_path / "eng" / f"{split}.tsv", sep="\t", index=False)
    assert texts(tmp_path) == news
    assert load_dataset(str(tmp_path)).notes == ("TSV with quotation marks around cells, as pandas writes it",)


def test_quotation_marks_that_fit_no_other_way_are_text(tmp_path: Path) -> None:
    write_language(tmp_path, "eng", ['a\t"An open quote', 'b\tand "another"', 'a\t"whole"'])
    assert texts(tmp_path) == ['"An open quote', 'and "another"', '"whole"']
    assert load_dataset(str(tmp_path)).notes == ("TSV without quotation marks around cells",)


def test_sib200s_own_columns_are_in_quotation_marks_only_where_nothing_else_fits(tmp_path: Path) -> None:
    (tmp_path / "eng").mkdir()
    for split in ("train", "dev", "test"):
        rows = 'index_id\tcategory\ttext\n1\ta\t"He said ""so"""\n2\tb\tplain\n'
        (tmp_path / "eng" / f"{split}.tsv").write_text(rows)
    assert texts(tmp_path) == ['"He said ""so"""', "plain"]
    for split in ("train", "dev", "test"):
        (tmp_path / "eng" / f"{split}.tsv").write_text('index_id\tcategory\ttext\n1\ta\t"One\ntwo"\n2\tb\tplain\n')
    assert texts(tmp_path) == ["One\ntwo", "plain"]  # no other reading fits


def test_data_that_older_versions_read_otherwise_are_another_data_set(tmp_path: Path, backbone: str) -> None:
    plain = load_tokens(str(write_language(tmp_path / "plain", "eng", ["a\tx", "b\ty"])), backbone, 16)
    rows = ['a\t"He said ""so"""', "b\ty"]
    quoted = load_tokens(str(write_language(tmp_path / "quoted", "eng", rows)), backbone, 16)
    from xpe_core.backbones.files import fingerprint_files
    from xpe_core.digests import digest

    def older(name: str) -> str:
        return digest([1, fingerprint_dataset(str(tmp_path / name)), fingerprint_files(backbone), 16])

    assert plain.fingerprint == older("plain")
    assert quoted.fingerprint != older("quoted")


# ---- text in lines


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_byte_order_marks_and_line_ends_are_no_text(tmp_path: Path, start: str, end: str) -> None:
    write_language(tmp_path, "eng", ["a\tx one", "b\ty two"], start=start, end=end)
    (tmp_path / "eng" / "labels.txt").write_bytes(f"{start}b{end}a{end}{end}".encode())
    assert texts(tmp_path) == ["x one", "y two"]
    assert load_dataset(str(tmp_path)).label_names == ("b", "a")


@pytest.mark.parametrize("sign", ["\r", "\u2028", "\x85", "\x0b", "\x0c", "\0", "\x1c"])
def test_signs_that_end_a_line_elsewhere_are_text(tmp_path: Path, sign: str) -> None:
    write_language(tmp_path, "eng", [f"a\tx{sign}one", "b\ty two", "", ""])
    assert texts(tmp_path) == [f"x{sign}one", "y two"]
    (tmp_path / "own.csv").write_bytes(f'{HEAD}x{sign}one,a,eng,train\n"y\r\ntwo{sign}\n!",b,eng,train\n'.encode())
    assert texts(tmp_path / "own.csv") == [f"x{sign}one", f"y\r\ntwo{sign}\n!"]
    rows = [{"text": f"x{sign}one", "label": label, "language": "eng", "split": "train"} for label in "ab"]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    assert texts(tmp_path / "own.jsonl") == [f"x{sign}one"] * 2


def test_quotation_marks_in_a_csv_are_text_where_they_cannot_be_else(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(
        f'{HEAD}"so" they said,a,eng,train\nhe "too",b,eng,train\n"a ""b""",b,eng,train\n'
    )
    assert texts(tmp_path / "own.csv") == ["so they said", 'he "too"', 'a "b"']
    (tmp_path / "own.csv").write_text(f'{HEAD}x,a,eng,train\n"so they said,b,eng,train\nz,a,eng,train\n')
    with pytest.raises(InputError, match="own.csv, line 3: a cell in quotation marks begins here and does not end"):
        load_dataset(str(tmp_path / "own.csv"))


def test_empty_lines_and_rows_of_empty_cells_are_no_rows(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(f"\n{ONE_EACH}\n,,,\n   \n\n")
    assert texts(tmp_path / "own.csv") == ["x", "y"]
    first, second = (json.dumps({"text": "x", "label": label, "language": "eng", "split": "train"}) for label in "ab")
    (tmp_path / "own.jsonl").write_text(f"\n{first}\n\n{second}\n\n")
    assert texts(tmp_path / "own.jsonl") == ["x", "x"]


LONG = "word " * 600_000
"""3 MB: more than a field of `csv` or a row of pyarrow's JSON may have."""


@pytest.mark.parametrize("name", ["train.tsv", "own.tsv", "own.csv", "own.jsonl", "own.json", "own.parquet"])
def test_a_text_of_any_length_is_read(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"text": [LONG.strip(), "y"], "label": ["a", "b"], "language": "eng", "split": "train"})
    writers: dict[str, Callable[[Path], Any]] = {
        ".tsv": lambda path: frame.to_csv(path, sep="\t", index=False),
        ".csv": lambda path: frame.to_csv(path, index=False),
        ".jsonl": lambda path: frame.to_json(path, orient="records", lines=True),
        ".json": lambda path: frame.to_json(path, orient="records"),
        ".parquet": frame.to_parquet,
    }
    writers[Path(name).suffix](tmp_path / name)
    assert texts(tmp_path / name)[0] == LONG.strip()


def test_texts_that_look_like_nothing_stay_texts(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(f"{HEAD}NA,null,eng,train\nnull,None,eng,train\nnan,NaN,eng,train\n")
    data = load_dataset(str(tmp_path / "own.csv"))
    assert [example.text for example in data.examples] == ["NA", "null", "nan"]
    assert data.label_names == ("NaN", "None", "null")


# ---- columns


@pytest.mark.parametrize("name", ["own.csv", "own.tsv", "own.jsonl", "own.parquet", "folder"])
def test_a_column_that_stands_twice_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if name == "folder":
        write_language(file, "eng", ["a\tx", "b\ty"])
        (file / "eng" / "train.tsv").write_text("category\ttext\ttext\na\tx\tz\n")
    elif name == "own.jsonl":
        file.write_text('{"text": "x", "label": "a", "language": "eng", "split": "train", "text": "z"}\n')
    elif name == "own.parquet":
        columns = [pa.array([value]) for value in ("x", "a", "eng", "train", "z")]
        pa.parquet.write_table(pa.table(columns, names=["text", "label", "language", "split", "text"]), file)
    else:
        content = f"{HEAD.strip()},text\nx,a,eng,train,z\n"
        file.write_text(content if name == "own.csv" else content.replace(",", "\t"))
    with pytest.raises(InputError, match="the column 'text' stands twice, and text is read from it; keep one"):
        load_dataset(str(file))


def test_columns_that_nobody_needs_may_be_anything(tmp_path: Path) -> None:
    row = {"text": "x", "label": "a", "language": "eng", "split": "train"}
    others: list[Any] = ["r0", 1, None, [1], {"x": 1}, 2.5]
    lines = [json.dumps({**row, "label": "ab"[place % 2], "note": other}) for place, other in enumerate(others)]
    (tmp_path / "own.jsonl").write_text("\n".join(lines))
    assert len(texts(tmp_path / "own.jsonl")) == 6
    (tmp_path / "own.csv").write_text("x,x,text,label,language,split,,\n1,2,x,a,eng,train,,\n1,2,y,b,eng,train,,\n")
    assert texts(tmp_path / "own.csv") == ["x", "y"]


def test_strings_that_are_bytes_are_decoded(tmp_path: Path) -> None:
    text = "ფასი"
    frame = pd.DataFrame({"text": [text.encode()] * 2, "label": [b"business", b"sport"], "language": b"kat_Geor"})
    frame.assign(split=b"train").to_parquet(tmp_path / "impala.parquet")
    data = load_dataset(str(tmp_path / "impala.parquet"))
    assert data.label_names == ("business", "sport")
    assert data.examples[0][:3] == (text, "business", "kat_Geor")


def test_usual_names_of_columns_are_found_and_said(tmp_path: Path) -> None:
    names = {"text": "utt", "label": "intent", "language": "locale", "split": "partition"}
    FRAME.rename(columns=names).assign(annot_utt="[x]", id="7").to_csv(tmp_path / "own.csv", index=False)
    data = load_dataset(str(tmp_path / "own.csv"))
    assert count(data) == WHOLE
    assert data.notes == ("columns were guessed: text=utt,label=intent,language=locale,split=partition",)


def test_columns_are_read_as_they_are_said(tmp_path: Path) -> None:
    names = {"text": "Titel, kurz", "label": "Thema", "language": "Sprache", "split": "Teil"}
    FRAME.rename(columns=names).to_csv(tmp_path / "own.csv", index=False)
    columns = "label=Thema, text=Titel\\, kurz,language=Sprache,split=Teil"
    assert count(load_dataset(DataSource(str(tmp_path / "own.csv"), columns=columns))) == WHOLE
    with pytest.raises(InputError, match=r"no column 'Tema', as columns says \(label=Tema\); .*did you mean 'Thema'"):
        load_dataset(DataSource(str(tmp_path / "own.csv"), columns=columns.replace("Thema", "Tema")))
    with pytest.raises(
        InputError, match="no column 'text', 'label', 'language', 'split'.*columns='text=NAME,label=NAME"
    ):
        load_dataset(str(tmp_path / "own.csv"))


def test_columns_have_one_spelling_in_a_configuration() -> None:
    mapping = RunConfig(columns={"label": "intent", "text": "a, b"})
    assert mapping.data.columns == "text=a\\, b,label=intent"
    assert RunConfig(columns=" label = intent , text = a\\, b ").run_id == mapping.run_id
    assert RunConfig(columns="").run_id == RunConfig().run_id
    with pytest.raises(ValueError, match="'txt=a' is not understood; it must look like text=sentence"):
        RunConfig(columns="txt=a")


def test_two_usual_names_are_asked_about(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("review,tweet,label,language,split\nx,y,a,eng,train\n")
    with pytest.raises(InputError, match="text may be in review or tweet; say which: columns='text=review'"):
        load_dataset(str(tmp_path / "own.csv"))


def test_what_all_rows_have_in_common_can_be_said(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    FRAME[["text", "label"]].to_csv(file, index=False)
    data = load_dataset(DataSource(str(file), columns="language=sw,split=test"))
    assert count(data) == {("sw", "test"): 24}
    assert data.notes == ("language of all rows: sw", "split of all rows: test")
    assert count(load_dataset(DataSource(str(file), columns="language='xx_new',split=dev"))) == {
        ("xx_new", "validation"): 24
    }
    with pytest.raises(InputError, match="no column 'language', 'split', and its name says no language and no split"):
        load_dataset(str(file))


def test_splits_are_drawn_without_leaks_when_that_is_said(tmp_path: Path) -> None:
    rows = [
        {"id": number, "text": f"{language} {number // 2}", "label": "ab"[number // 2 % 2], "language": language}
        for language in ("eng", "sw")
        for number in range(200)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "own.csv", index=False)
    source = DataSource(str(tmp_path / "own.csv"), columns="split=80/10/10")
    data = load_dataset(source)
    assert data.notes == ("splits are drawn by the texts, 80/10/10 percent",)
    for language in ("eng", "sw"):
        sizes = {split: number for (one, split), number in count(data).items() if one == language}
        assert sizes == pytest.approx({"train": 160, "validation": 20, "test": 20}, abs=4)
    for key in ("text", "example_id"):  # a text that stands twice, and a translation, are in one split
        splits: dict[str, set[str]] = {}
        for example in data.examples:
            splits.setdefault(getattr(example, key), set()).add(example.split)
        assert all(len(found) == 1 for found in splits.values())
    pd.DataFrame(rows[::-1]).to_csv(tmp_path / "own.csv", index=False)
    assert sorted(load_dataset(source).examples) == sorted(data.examples)


# ---- labels


def test_one_label_is_one_class_however_it_is_written(tmp_path: Path) -> None:
    labels = ["Sport ", "Sport", " Sport", "a  b", "a b", "caf\u00e9", "cafe\u0301", "a\u00a0b"]
    write_language(tmp_path, "eng", [f"{label}\tx" for label in labels])
    data = load_dataset(str(tmp_path))
    assert data.label_names == ("Sport", "a b", "café")
    assert "one label in several spellings" in data.notes[1] and "'café' (in several Unicode forms)" in data.notes[1]


def test_numbers_are_one_label_in_every_spelling(tmp_path: Path) -> None:
    rows = [{"text": "x", "label": label, "language": "eng", "split": "train"} for label in (1, 1.0, "1", 2.0, "02")]
    (tmp_path / "own.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert load_dataset(str(tmp_path / "own.jsonl")).label_names == ("02", "1", "2")


def test_labels_that_differ_in_case_are_two_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(ONE_EACH + "z,A,eng_Latn,test\n")
    data = load_dataset(str(tmp_path / "own.csv"))
    assert data.label_names == ("A", "a", "b")
    assert data.notes == ("labels that differ in case only are different ones: A, a",)


def test_every_language_may_list_labels_of_its_own(tmp_path: Path) -> None:
    write_language(tmp_path, "eng", ["b\tx", "a\ty"])
    write_language(tmp_path, "hau", ["c\tx", "b\ty"])
    (tmp_path / "eng" / "labels.txt").write_text("b\na\n")
    (tmp_path / "hau" / "labels.txt").write_text("b \nc\n\n")
    assert load_dataset(str(tmp_path)).label_names == ("b", "a", "c")
    (tmp_path / "hau" / "labels.txt").write_text("b\n")
    with pytest.raises(InputError, match="label 'c' is not in .*hau/labels.txt"):
        load_dataset(str(tmp_path))


# ---- bad rows


def test_bad_rows_are_refused_with_their_number_and_first_places(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(ONE_EACH + ",a,eng,train\n ,b,eng,dev\nz,,eng,train\nz,a,eng,nowhere\nz,a\n")
    message = "5 bad rows: .*line 4, row 3: empty text; .*row 4: empty text; .*row 5: empty label and 2 more; .*=skip"
    with pytest.raises(InputError, match=message):
        load_dataset(str(tmp_path / "own.csv"))


@pytest.mark.parametrize(
    ("name", "bad", "problem"),
    [
        ("own.jsonl", '{"text": null, "label": "a", "language": "eng", "split": "train"}', "line 3: empty text"),
        ("own.jsonl", '{"text": ["x"], "label": "a", "language": "eng", "split": "train"}', "line 3: .*single values"),
        ("own.jsonl", '{"text": "\\ud83d", "label": "a", "language": "eng", "split": "train"}', "half of a character"),
        ("own.csv", "z,a,eng", "line 4, row 3: 3 fields where the header has 4"),
        ("own.tsv", "z\ta\teng", "line 4: 3 fields where the header has 4"),
    ],
)
def test_bad_rows_are_left_out_and_counted_when_that_is_said(tmp_path: Path, name: str, bad: str, problem: str) -> None:
    rows = [dict(zip(HEAD.strip().split(","), line.split(","), strict=True)) for line in ONE_EACH.splitlines()[1:]]
    content = {
        "own.jsonl": "".join(f"{json.dumps(row)}\n" for row in rows),
        "own.csv": ONE_EACH,
        "own.tsv": ONE_EACH.replace(",", "\t"),
    }[name]
    (tmp_path / name).write_text(f"{content}{bad}\n")
    with pytest.raises(InputError, match=problem):
        load_dataset(str(tmp_path / name))
    data = load_dataset(DataSource(str(tmp_path / name), on_bad_rows="skip"))
    assert (len(data.examples), data.num_rows_skipped) == (2, 1)
    assert re.search(f"1 bad row is left out, the first: .*{problem}", data.notes[-1])


def test_rows_left_out_are_in_the_plan_and_in_every_run(
    dataset: str, base: dict[str, Any], local_ray: None, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(dataset, folder)
    with (folder / "eng_Latn" / "train.tsv").open("a", encoding="utf-8") as file:
        file.write("train99\tsports\t \ntrain100\ttravel\n")
    own = {**base, "dataset": str(folder), "max_steps": 4, "eval_steps": 4, "encoder_ratio": 0.0}
    own["source_set"] = "eng_Latn"
    values: dict[str, Any] = {"kind": "grid", "base": own, "arms": {"spt": {}}, "seeds": [1], "resources": ONE_THREAD}
    with pytest.raises(
        InputError, match="2 bad rows: .*line 50: empty text; .*line 51: 2 fields where the header has 3"
    ):
        prepare("skipping", make_sweep(**values))
    values["base"]["on_bad_rows"] = "skip"
    plan = prepare("skipping", make_sweep(**values))
    console = Console(record=True, width=200)
    print_plan(console, plan, Folder(tmp_path / "skipping"))
    assert "4 languages, 312 texts, 3 classes)" in console.export_text(clear=False)
    assert "2 bad rows are left out, the first:" in console.export_text()
    runs = read_rows(run_experiment(plan, tmp_path / "results"), "runs")
    assert runs is not None
    assert runs["num_rows_skipped"].to_pylist() == [2]
    assert runs["on_bad_rows"].to_pylist() == ["skip"]


# ---- what a data set is


def test_a_file_that_was_moved_or_renamed_is_the_same_data_set(tmp_path: Path, backbone: str) -> None:
    file, moved = tmp_path / "here" / "news.csv", tmp_path / "there" / "other.csv"
    file.parent.mkdir()
    moved.parent.mkdir()
    file.write_text(ONE_EACH)
    shutil.copy(file, moved)
    assert fingerprint_dataset(str(file)) == fingerprint_dataset(str(moved))
    assert load_tokens(str(file), backbone, 16).fingerprint == load_tokens(str(moved), backbone, 16).fingerprint
    moved.write_text(ONE_EACH.replace("x", "z"))
    assert fingerprint_dataset(str(file)) != fingerprint_dataset(str(moved))


def test_names_count_where_they_are_content(tmp_path: Path) -> None:
    for name in ("eng.csv", "sw.csv"):
        (tmp_path / name).write_text("text,label,split\nx,a,train\ny,b,train\n")
    assert fingerprint_dataset(str(tmp_path / "eng.csv")) != fingerprint_dataset(str(tmp_path / "sw.csv"))
    own = DataSource(str(tmp_path / "eng.csv"), columns="language=yo")
    assert fingerprint_dataset(own) == fingerprint_dataset(DataSource(str(tmp_path / "sw.csv"), columns="language=yo"))
    assert fingerprint_dataset(own) != fingerprint_dataset(str(tmp_path / "eng.csv"))


def test_what_older_versions_called_a_file_is_known(tmp_path: Path, backbone: str) -> None:
    import hashlib

    (tmp_path / "own.csv").write_text(ONE_EACH)
    older = hashlib.sha256(f"{tmp_path.name}/own.csv".encode() + ONE_EACH.encode()).hexdigest()[:16]
    assert dataset_fingerprints(str(tmp_path / "own.csv"))[1:] == (older,)
    assert len(load_tokens(str(tmp_path / "own.csv"), backbone, 16).older_fingerprints) == 1


# ---- whole data sets


def test_a_massive_shaped_data_set_is_read(tmp_path: Path) -> None:
    data = load_dataset(make_massive(tmp_path, sizes=(60, 60, 61)))
    assert len(data.label_names) == 60
    expected = {("train", 60), ("validation", 60), ("test", 61)}
    assert count(data) == {(locale, split): size for locale in LOCALES for split, size in expected}


def test_a_masakhanews_shaped_data_set_is_read(tmp_path: Path) -> None:
    data = load_dataset(make_masakhanews(tmp_path, ("eng", "hau", "yor")))
    assert data.label_names[0] == "business" and len(data.label_names) == 7
    assert {example.label for example in data.examples if example.language == "hau"} == set(data.label_names[:6])
    assert count(data)["hau", "train"] == 28
    assert '\n"It is so," they said.\n' in data.examples[0].text


def test_configs_of_the_hub_are_languages_or_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    name = make_on_hub(tmp_path)
    data = load_dataset(name)
    assert data.label_names == ("negative", "neutral", "positive")
    sizes = {"train": 18, "validation": 9, "test": 12}
    assert count(data) == {(language, split): size for language in ("en", "sw", "yo") for split, size in sizes.items()}
    assert count(load_dataset(DataSource(name, "yo, en"))) == {
        (language, split): size for language in ("en", "yo") for split, size in sizes.items()
    }
    with pytest.raises(InputError, match=f"dataset {name} has no config 'fr'; it has en, sw, yo"):
        load_dataset(DataSource(name, "fr"))
    name = make_lines_on_hub(tmp_path, locales=LOCALES[:5])
    data = load_dataset(name)
    assert count(data) == {(locale, split): 60 for locale in LOCALES[:5] for split in SPLITS}
    assert data.notes == ("its 5 configs are read as languages",)


def test_a_card_names_the_classes_behind_numbers(tmp_path: Path) -> None:
    classes = {"class_label": {"names": {"0": "negative", "1": "positive"}}}
    for language in ("en", "sw"):
        for split in SPLITS:
            (tmp_path / f"{split}_of_{language}.csv").write_text("text,label,lang\nx,0,zz\ny,1,zz\n")
    features: list[dict[str, object]] = [{"name": "text", "dtype": "string"}, {"name": "label", "dtype": classes}]
    write_card(tmp_path, {language: f"{{}}_of_{language}.csv" for language in ("en", "sw")}, features)
    data = load_dataset(str(tmp_path))
    assert data.label_names == ("negative", "positive")
    assert count(data) == {(language, split): 2 for language in ("en", "sw") for split in SPLITS}
    (tmp_path / "test_of_sw.csv").write_text("text,label\nx,-1\ny,1\n")
    with pytest.raises(InputError, match="test_of_sw.csv, line 2, row 1: label '-1' is none of the 2 classes"):
        load_dataset(str(tmp_path))


def test_a_data_set_of_the_hub_that_only_a_script_makes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    name = make_on_hub(tmp_path, "somebody/scripted", ("en",))
    snapshot = next(tmp_path.glob("*/snapshots/*"))
    shutil.rmtree(snapshot / "en")
    (snapshot / "scripted.py").write_text("raise SystemExit")
    with pytest.raises(InputError, match=f"'{name}' is made by a script .scripted.py., which is not run"):
        load_dataset(name)


def test_what_datasets_built_before_is_read_out_of_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    build = tmp_path / "Somebody___built" / "default" / "0.0.0" / "0123"
    build.mkdir(parents=True)
    (build / "dataset_info.json").write_text("{}")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    for split in SPLITS:
        rows = datasets.Dataset.from_list([{"text": "x", "label": 0}, {"text": "y", "label": 1}], features=features)
        with datasets.arrow_writer.ArrowWriter(path=str(build / f"built-{split}.arrow"), features=features) as writer:
            for row in rows:
                writer.write(row)
            writer.finalize()
    source = DataSource("Somebody/built", columns="language=sw")
    data = load_dataset(source)
    assert data.label_names == ("no", "yes")
    assert count(data) == {("sw", split): 2 for split in SPLITS}
    make_on_hub(tmp_path / "hub", "Somebody/built")
    for file in (tmp_path / "hub").rglob("*.parquet"):  # as after load_dataset, which left the card alone there
        file.unlink()
    _fetch.cache_clear()
    assert load_dataset(source).examples == data.examples


# ---- one file as a stream


def test_a_stream_has_all_columns_and_the_place_of_each_row(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text('text,n\n"a\nb",1\n\nc,2,3\nd,\n')
    table = open_rows(tmp_path / "own.csv")
    assert table.columns == ("text", "n")
    rows = list(table)
    assert [dict(row.values) for row in rows] == [{"text": "a\nb", "n": "1"}, {}, {}, {"text": "d", "n": ""}]
    assert [row.problem for row in rows] == [None, "an empty line", "3 fields where the header has 2", None]
    assert table.where(rows[-1]).endswith("own.csv, line 6, row 3")


def test_unicode_forms_of_column_names_are_one(tmp_path: Path) -> None:
    header = unicodedata.normalize("NFD", "überschrift,label,language,split")
    (tmp_path / "own.csv").write_text(f"{header}\nx,a,eng,train\ny,b,eng,train\n")
    source = DataSource(str(tmp_path / "own.csv"), columns=unicodedata.normalize("NFC", "text=überschrift"))
    assert texts(source) == ["x", "y"]
