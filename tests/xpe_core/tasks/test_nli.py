"""Natural language inference: pairs are read, whoever wrote the files, and training may exist in one language alone."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.making.datasets import write_card
from tests.making.pairs import SIZES, write_pairs
from xpe_core.config import RunConfig
from xpe_core.data import DataSource, as_source, dataset_fingerprints, load_dataset
from xpe_core.data.labelled_data import load_labels
from xpe_core.errors import InputError
from xpe_core.tasks import TASKS

NLI = TASKS["nli"]
CLASSES = ("contradiction", "entailment", "neutral")


def source_of(name: str | Path, columns: str | None = None) -> DataSource:
    return RunConfig(task="nli", dataset=str(name), columns=columns).source


def test_a_pair_is_read_from_its_two_columns(tmp_path: Path) -> None:
    dataset = load_dataset(source_of(write_pairs(tmp_path)))
    assert dataset.label_names == CLASSES
    first = next(one for one in dataset.examples if one.language == "eng_Latn")
    line = (tmp_path / "eng_Latn" / "train.tsv").read_text().splitlines()[1]
    assert (first.text, first.text_pair, first.label) == tuple(line.split("\t"))


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("sentence1\tsentence2\tlabel", None),
        ("Premise\tHypothesis\tLabel", None),
        ("one\ttwo\tgold_label", "premise=one,hypothesis=two,label=gold_label"),
    ],
)
def test_columns_of_other_names_are_found_or_said(tmp_path: Path, header: str, columns: str | None) -> None:
    written, other = write_pairs(tmp_path / "a"), write_pairs(tmp_path / "b", header)
    assert load_dataset(source_of(other, columns)).examples == load_dataset(source_of(written)).examples


@pytest.mark.parametrize(
    ("content", "columns", "sentence"),
    [
        ("premise\tlabel\na b\tneutral\n", None, "no column 'hypothesis'"),
        ("premise\thypothesis\tlabel\na b\t\tneutral\n", None, "line 2: empty hypothesis"),
        ("premise\thypothesis\tlabel\n\tb\tneutral\n", None, "line 2: empty premise"),
        ("text\thypothesis\tlabel\na\tb\tneutral\n", "text=text", "text is no text of this task; it has premise and"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, content: str, columns: str | None, sentence: str) -> None:
    (tmp_path / "eng_Latn").mkdir()
    (tmp_path / "eng_Latn" / "train.tsv").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=sentence):
        load_dataset(source_of(tmp_path, columns))


def test_another_task_does_not_take_a_pairs_columns(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path)
    with pytest.raises(InputError, match="hypothesis is no text of this task; it has text"):
        load_dataset(RunConfig(dataset=folder, columns="hypothesis=b").source)


def test_the_same_files_are_other_data_for_another_task(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path, "text\tpremise\tlabel")
    topic = as_source(folder)
    pairs = source_of(folder, "premise=text,hypothesis=premise")
    assert dataset_fingerprints(topic) != dataset_fingerprints(DataSource(folder, texts=NLI.texts))
    assert {one.text_pair for one in load_dataset(topic).examples} == {None}
    assert None not in {one.text_pair for one in load_dataset(pairs).examples}


def test_training_in_one_language_is_enough_to_test_all(tmp_path: Path) -> None:
    data = load_labels(source_of(write_pairs(tmp_path)))
    assert data.counts["deu_Latn"] == {"test": SIZES["test"]} and data.held_out == ()
    NLI.check(data, train=["eng_Latn"], validation=["eng_Latn"], test=data.languages)
    with pytest.raises(InputError, match="'bzd_Latn' has no train split"):
        NLI.check(data, train=["bzd_Latn"], validation=[], test=[])


def test_numbers_of_classes_have_the_names_in_the_card(tmp_path: Path) -> None:
    import datasets

    names = ["entailment", "neutral", "contradiction"]  # in the order of facebook/xnli
    features = datasets.Features(
        {
            "premise": datasets.Value("string"),
            "hypothesis": datasets.Value("string"),
            "label": datasets.ClassLabel(names=names),
        }
    )
    for language in ("en", "sw"):
        for split in ("train", "validation", "test"):
            rows = [{"premise": "a", "hypothesis": f"{split} {number}", "label": number} for number in range(3)]
            file = tmp_path / language / f"{split}-00000-of-00001.parquet"
            file.parent.mkdir(exist_ok=True)
            datasets.Dataset.from_list(rows, features=features).to_parquet(str(file))
    write_card(tmp_path, {language: f"{language}/{{}}-*" for language in ("en", "sw")})
    dataset = load_dataset(source_of(tmp_path))
    assert dataset.label_names == CLASSES and {one.language for one in dataset.examples} == {"en", "sw"}
    assert all(names[int((one.text_pair or "").split()[1])] == one.label for one in dataset.examples)


@pytest.fixture(scope="module")
def public() -> Path:
    folder = Path(os.environ.get("XPE_TASKS_DIR", "")) / "nli"
    if not folder.is_dir() or not os.environ.get("XPE_TASKS_DIR"):
        pytest.skip("XPE_TASKS_DIR names no folder with nli")
    return folder


def test_xnli_and_americasnli_are_read_whole(public: Path) -> None:
    data = load_labels(source_of(public))
    assert data.label_names == CLASSES and data.num_rows_skipped == 0
    assert data.notes == ("TSV without quotation marks around cells",)
    assert data.counts["eng_Latn"] == {"train": 2490, "validation": 2490, "test": 5010}
    assert data.counts["deu_Latn"] == {"test": 5010}
    assert data.counts["swh_Latn"] == {"validation": 2490, "test": 5010}
    outside = {f"{code}_Latn" for code in ("bzd", "cni", "hch", "nah", "oto", "shp", "tar")}
    assert outside <= set(data.resolve("all", ("test",))) and data.sources("eng_Latn") == ("eng_Latn",)
    assert {data.counts[code]["test"] for code in outside} <= set(range(735, 751))


def test_xnlis_test_sets_have_as_many_pairs_of_each_class(public: Path) -> None:
    data = load_labels(source_of(public))
    for language in ("eng_Latn", "kor_Hang", "urd_Arab", "deu_Latn"):
        assert np.bincount(data.labels[data.select([language], "test")]).tolist() == [1670] * 3


def test_rows_of_json_lines_are_pairs_too(tmp_path: Path) -> None:
    rows = [
        {"premise": "a", "hypothesis": f"b {number}", "label": CLASSES[number % 3], "language": "eng", "split": "test"}
        for number in range(6)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    examples = load_dataset(source_of(tmp_path / "pairs.jsonl")).examples
    assert [one.text_pair for one in examples] == [row["hypothesis"] for row in rows]
