"""The command check-data: one screen on a data set, and every mistake in one sentence."""

import re
from pathlib import Path

import pytest

from sweep.data_check.facts import find_facts
from tests.conftest import Refuse, Run
from xpe_core.data import Dataset
from xpe_core.data.examples import Example

HEADER = "language,split,label,text"
ROWS = [
    *(f"eng,train,sports,goal number {number}" for number in range(11)),
    *(f"eng,train,travel,road number {number}" for number in range(10)),
    "eng,validation,sports,a goal in the morning",
    "eng,test,sports,a goal at night",
    "hau,test,travel,hanya",
    "hau,test,sports,wasa",
]


def write(tmp_path: Path, rows: list[str], name: str = "news.csv") -> str:
    (tmp_path / name).write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return str(tmp_path / name)


def squeeze(output: str) -> str:
    """Return the words of a screen, whatever its lines."""
    return " ".join(output.split())


def make(*examples: tuple[str, str, str, str]) -> Dataset:
    """Return a data set of language, split, label and text."""
    made = [
        Example(text, label, language, split, str(place))
        for place, (language, split, label, text) in enumerate(examples, start=1)
    ]
    return Dataset("made", made, tuple(sorted({example.label for example in made})))


def test_languages_splits_and_classes_are_counted(run_here: Run, tmp_path: Path) -> None:
    screen = squeeze(run_here("check-data", write(tmp_path, ROWS)))
    assert "25 texts in 2 languages, 2 classes" in screen
    assert re.search(r"eng .*21 1 1 23", screen) and re.search(r"hau .*- - 2 2", screen)
    assert "sports 11 1 2 14 56.0%" in screen and "travel 10 - 1 11 44.0%" in screen
    assert "the longest 21 (eng validation 22)" in screen
    assert "Nothing to look at" in screen


def test_codes_are_understood_whatever_their_spelling(run_here: Run, tmp_path: Path) -> None:
    codes = ("zh-CN", "hau", "sw", "pt-BR", "xx-own")
    rows = [
        f"{code},{split},{label},{code} {label} {split}"
        for code in codes
        for split in ("train", "test")
        for label in "xy"
    ]
    screen = squeeze(run_here("check-data", write(tmp_path, rows)))
    assert "zh-CN zho_Hans, Chinese" in screen and "hau hau_Latn, Hausa" in screen and "pt-BR por_Latn" in screen
    assert "xx-own not in the table of languages" in screen


def test_what_a_search_would_train_on_and_be_tested_on_is_said(run_here: Run, tmp_path: Path) -> None:
    path = write(tmp_path, ROWS)
    screen = squeeze(run_here("check-data", path))
    assert f"search quickstart --set dataset={path} trains on eng (21 texts), chooses by eng" in screen
    assert "is tested on 2 languages" in screen


def test_why_a_search_would_be_refused_is_said(run_here: Run, tmp_path: Path) -> None:
    screen = squeeze(run_here("check-data", write(tmp_path, [*ROWS, "hau,test,health,lafiya"])))
    assert "would be refused: dataset" in screen and "label 'health' of hau (test) stands in no train split" in screen


def test_duplicates_leaks_and_contradictions_are_counted_and_named() -> None:
    facts = find_facts(
        make(
            ("eng", "train", "a", "same"),
            ("eng", "train", "a", "same"),
            ("eng", "train", "b", "same"),
            ("eng", "test", "a", "same"),
            ("eng", "test", "a", "other"),
            ("deu", "train", "a", "other"),
        )
    )
    assert facts.repeated.select("language", "split", "text", "count").rows() == [("eng", "train", "same", 3)]
    assert facts.repeated["ids"].to_list() == [["1", "2", "3"]]
    assert facts.leaks.select("language", "split", "id").rows() == [("eng", "test", "4")]
    assert facts.contradictions.select("language", "text", "labels").rows() == [("eng", "same", ["a", "b"])]


def test_what_is_unusual_is_said_in_a_sentence_each(run_here: Run, tmp_path: Path) -> None:
    rows = [*ROWS, "eng,test,sports,goal number 3", "hau,test,health,lafiya", "eng,train,music,a song"]
    rows += ["eng,train,music,a song", "eng,train,travel,a song"]
    screen = squeeze(run_here("check-data", write(tmp_path, rows)))
    assert "1 class stands in no train split, so that nothing can be learned for it: health." in screen
    assert "2 classes stand in one language only: music (eng), health (hau)." in screen
    assert "1 class has fewer than 10 train texts in all languages together: music (2)." in screen
    assert "1 test text stands in the train split of the same language, too" in screen and "eng 26." in screen
    assert "1 text stands more than once in the same split of a language: eng train 28 and 29 and 30." in screen
    assert "1 text has several classes in one language: eng 'a song' (music and travel)." in screen


def test_bad_rows_are_counted_and_named_and_the_others_are_shown(run_here: Run, tmp_path: Path) -> None:
    path = write(tmp_path, [*ROWS, "eng,train,sports,", "eng,train"])
    screen = squeeze(run_here("check-data", path))
    assert "25 texts in 2 languages" in screen
    assert "A search refuses these data:" in screen and "2 bad rows" in screen and "on_bad_rows=skip" in screen
    assert "line 27, row 26: empty text" in screen
    assert "A search refuses" not in squeeze(run_here("check-data", path, "--set", "on_bad_rows=skip"))


@pytest.mark.parametrize(
    ("rows", "arguments", "sentence"),
    [
        (None, [], "news.csv"),
        (["eng,train,sports,a", "eng,test,sports,b"], [], "labels sports; needed are two or more"),
        (ROWS, ["--set", "columns='text=words'"], "no column 'words'"),
        (ROWS, ["--set", "colums=text=words"], "did you mean 'columns'?"),
        (ROWS, ["--set", "columns"], "must look like key=value"),
        (ROWS, ["--set", "max_length=many"], "max_length"),
        (ROWS, ["--backbone", "{here}/none"], "backbone {here}/none"),
        (ROWS, ["more.csv"], "a pattern stands in quotes ('data/*.csv')"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(
    refuse: Refuse, tmp_path: Path, rows: list[str] | None, arguments: list[str], sentence: str
) -> None:
    path = str(tmp_path / "news.csv") if rows is None else write(tmp_path, rows)
    said = refuse("check-data", path, *(argument.format(here=tmp_path) for argument in arguments))
    assert sentence.format(here=tmp_path) in said


def test_columns_of_other_names_and_a_pattern_are_read(run_here: Run, tmp_path: Path) -> None:
    for part in (0, 1):
        lines = ["sprache,split,klasse,satz", *ROWS[part::2]]
        (tmp_path / f"part-{part}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    columns = "columns='text=satz,label=klasse,language=sprache'"
    screen = squeeze(run_here("check-data", f"{tmp_path}/part-*.csv", "--set", columns))
    assert "25 texts in 2 languages, 2 classes" in screen


def test_many_languages_are_one_line_unless_all_are_asked_for(run_here: Run, tmp_path: Path) -> None:
    codes = [f"a{first}{second}" for first in "abcdefgh" for second in "abcde"]
    rows = [
        f"{code},{split},{label},{code} {label} {split}"
        for code in codes
        for split in ("train", "test")
        for label in "xy"
    ]
    path = write(tmp_path, rows)
    screen = squeeze(run_here("check-data", path))
    assert "40: aaa, aab, aac, aad, aae, aba and 34 more" in screen and "2 - 2 4" in screen
    every = squeeze(run_here("check-data", path, "--all"))
    assert all(re.search(rf"{code} .*?2 - 2 4", every) for code in codes)


def test_many_classes_are_the_largest_and_the_smallest(run_here: Run, tmp_path: Path) -> None:
    rows = [f"eng,train,c{label:02},{label} {number}" for label in range(30) for number in range(12 + label)]
    path = write(tmp_path, rows)
    screen = squeeze(run_here("check-data", path))
    assert "c29 41" in screen and "18 more (--all)" in screen and "c00 12" in screen and "c10" not in screen
    assert "c10" in run_here("check-data", path, "--all")
    assert "No language has a test split: nothing can be tested on them." in screen


def test_tokens_are_counted_with_a_backbone(run_here: Run, tmp_path: Path, backbone: str) -> None:
    path = write(tmp_path, ROWS)
    screen = squeeze(run_here("check-data", path, "--backbone", backbone, "--set", "max_length=6"))
    # three words and two special tokens, but for one text of five words, one of four, and two of one
    assert "half of the texts up to 5, 95 % up to 6, the longest 7." in screen
    assert "4.0% of the texts are longer than max_length 6" in screen


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_nothing_is_cut_at_any_width(
    run_here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    long = "a class with a long name of many words"
    rows = [*ROWS, *(f"eng,train,{long},{number}" for number in range(1200))]
    output = run_here("check-data", write(tmp_path, rows))
    lines = [line for line in output.splitlines() if not line.startswith("python ")]  # one line, to be copied
    assert "…" not in output and max(map(len, lines)) <= width
    assert all(number in output.split() for number in ("1,221", *(("1,223", "98.0%") if width >= 60 else ())))
    assert ("left out" in output) == (width < 60)
    assert "".join(long.split()) in "".join(re.sub(r"[\d,.%-]+", "", output).split())
