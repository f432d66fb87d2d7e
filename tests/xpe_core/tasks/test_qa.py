"""Question answering: words and scores are those of the published scripts, and SQuAD's JSON is read in any form."""

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.making.datasets import write_card
from tests.making.questions import ARTICLES, LANGUAGES, PARAGRAPHS, QUESTIONS, make_articles, write_questions
from tests.making.squad_script import exact_match_score, f1_score, normalize_answer
from xpe_core.config import RunConfig
from xpe_core.data import DataSource, load_dataset
from xpe_core.data.examples import Answer
from xpe_core.data.labelled_data import load_labels
from xpe_core.errors import InputError
from xpe_core.tasks import TASKS
from xpe_core.tasks.metrics import METRICS
from xpe_core.tasks.qa.words import find_words

QA = TASKS["qa"]
ANSWERS = [
    ("The Denver Broncos", ["Denver Broncos", "The Denver Broncos", "Denver"]),
    ("Carolina Panthers.", ["Denver Broncos"]),
    ("a 24–10 win", ["24–10", "24-10"]),
    ("Levi's Stadium in the San Francisco Bay Area", ["Santa Clara, California", "Levi's Stadium"]),
    ("the the a", ["the"]),
    ("gold gold gold", ["golden gold"]),
    ("€ 5", ["5"]),
]
"""Predictions, and the answers that are right."""


def source_of(name: str | Path, columns: str | None = None) -> DataSource:
    return RunConfig(task="qa", readout="span", dataset=str(name), columns=columns).source


def to_words(language: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the predictions and references of ANSWERS as metrics take them."""
    predictions, references = np.empty(len(ANSWERS), dtype=object), np.empty(len(ANSWERS), dtype=object)
    for place, (answer, right) in enumerate(ANSWERS):
        predictions[place] = find_words(answer, language)
        references[place] = tuple(find_words(one, language) for one in right)
    return predictions, references


def test_english_scores_are_those_of_squads_script() -> None:
    f1 = [max(f1_score(answer, one) for one in right) for answer, right in ANSWERS]
    exact = [float(max(exact_match_score(answer, one) for one in right)) for answer, right in ANSWERS]
    predictions, references = to_words("eng_Latn")
    assert METRICS["f1"].scores(predictions, references).tolist() == pytest.approx(f1)
    assert METRICS["exact_match"].scores(predictions, references).tolist() == exact
    assert 0 < sum(exact) < sum(f1) < len(ANSWERS)


@pytest.mark.parametrize("answer", [answer for answer, _ in ANSWERS])
def test_english_words_are_those_of_squads_script(answer: str) -> None:
    assert " ".join(find_words(answer, "eng_Latn")) == normalize_answer(answer) == " ".join(find_words(answer, "en"))


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("deu_Latn", "Der „Große“ Preis, das Rennen", "große preis rennen"),
        ("spa_Latn", "¿La casa de los Reyes?", "casa de reyes"),
        ("vie_Latn", "Những con mèo của tôi", "con mèo tôi"),
        ("arb_Arab", "في البيت الكبير", "في بيت كبير"),
        ("zho_Hans", "在2016年，NFL 冠军。", "在 2016 年 nfl 冠 军"),
        ("zh", "冠军", "冠 军"),
        ("jpn_Jpan", "とても高い", "と て も 高 い"),
        ("rus_Cyrl", "«Война и мир» — роман", "война и мир роман"),
        ("tha_Thai", "กรุงเทพ มหานคร", "กรุงเทพ มหานคร"),
        ("hin_Deva", "नई दिल्ली।", "नई दिल्ली"),
        ("xyz_Zzzz", "The “Word”", "the word"),
    ],
)
def test_words_of_other_languages_are_those_of_mlqas_script(language: str, text: str, words: str) -> None:
    assert " ".join(find_words(text, language)) == words


def test_squads_json_is_read_a_row_a_question(tmp_path: Path) -> None:
    dataset = load_dataset(source_of(write_questions(tmp_path), "split=test"))
    assert len(dataset.examples) == len(LANGUAGES) * ARTICLES * PARAGRAPHS * QUESTIONS and dataset.label_names == ()
    asked = make_articles("eng_Latn")[0]["paragraphs"][0]
    first = next(one for one in dataset.examples if one.language == "eng_Latn")
    assert (first.text, first.text_pair) == (asked["qas"][0]["question"], asked["context"])
    assert [answer._asdict() for answer in first.answers] == [
        {"text": answer["text"], "start": answer["answer_start"]} for answer in asked["qas"][0]["answers"]
    ]


def test_the_hubs_rows_are_the_same_examples(tmp_path: Path) -> None:
    import datasets

    for language in LANGUAGES:
        rows = [
            {
                "id": asked["id"],
                "context": paragraph["context"],
                "question": asked["question"],
                "answers": {
                    "text": [answer["text"] for answer in asked["answers"]],
                    "answer_start": [answer["answer_start"] for answer in asked["answers"]],
                },
            }
            for article in make_articles(language)
            for paragraph in article["paragraphs"]
            for asked in paragraph["qas"]
        ]
        file = tmp_path / "hub" / language / "validation-00000-of-00001.parquet"
        file.parent.mkdir(parents=True)
        datasets.Dataset.from_list(rows).to_parquet(str(file))
    of_hub = load_dataset(source_of(tmp_path / "hub")).examples
    published = load_dataset(source_of(write_questions(tmp_path / "json"), "split=validation")).examples
    keys = [
        [(one.language, one.example_id, *one[:2], one.text_pair, one.answers) for one in x] for x in (of_hub, published)
    ]
    assert keys[0] == keys[1]


@pytest.mark.parametrize("config", [None, "xquad.zh", "xquad.en,xquad.zh"])
def test_configs_that_end_in_a_language_are_languages(tmp_path: Path, config: str | None) -> None:
    import datasets

    answers = {"text": ["b"], "answer_start": [2]}
    for language in ("ar", "en", "zh"):
        file = tmp_path / f"xquad.{language}" / "validation-00000-of-00001.parquet"
        file.parent.mkdir()
        row = {"id": "1", "context": "a b", "question": language, "answers": answers}
        datasets.Dataset.from_list([row]).to_parquet(str(file))
    write_card(tmp_path, {f"xquad.{language}": f"xquad.{language}/valid*" for language in ("ar", "en", "zh")})
    source = RunConfig(
        task="qa", readout="span", dataset=str(tmp_path), dataset_config=config, columns="split=test"
    ).source
    examples = load_dataset(source).examples
    expected = ["ar", "en", "zh"] if config is None else [name.partition(".")[2] for name in config.split(",")]
    # the card lists the one file of a config under all three splits
    assert [(one.language, one.text) for one in examples[::3]] == [(code, code) for code in expected]


def test_drawn_splits_keep_articles_together_in_all_languages(tmp_path: Path) -> None:
    examples = load_dataset(source_of(write_questions(tmp_path), "split=50/17/33")).examples
    splits = {group: {one.split for one in examples if one.group == group} for group in {one.group for one in examples}}
    assert len(splits) == ARTICLES and all(len(found) == 1 for found in splits.values())
    assert Counter(split for (split,) in splits.values()) == {"train": 6, "validation": 2, "test": 4}


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"answers": {"text": ["b"], "answer_start": [0]}}, "'b' does not stand at character 0 of the passage"),
        ({"answers": {"text": ["b"], "answer_start": [-1]}}, "'b' does not stand at character -1 of the passage"),
        ({"answers": {"text": ["a"], "answer_start": [-3]}}, "'a' does not stand at character -3 of the passage"),
        ({"answers": {"text": ["b"], "answer_start": [True]}}, "answers must be as"),
        ({"answers": {"text": [], "answer_start": []}}, "the question has no answer: every question must have one"),
        ({"answers": []}, "the question has no answer: .* on_bad_rows=skip leaves out those of SQuAD 2"),
        ({"answers": "b"}, "answers must be as"),
        ({"answers": [{"text": "b"}]}, "answers must be as"),
        ({"context": " "}, "empty context"),
        ({"question": ""}, "empty question"),
    ],
)
def test_a_row_that_is_no_question_is_one_sentence(tmp_path: Path, row: dict[str, object], sentence: str) -> None:
    whole = {"question": "q", "context": "a b", "answers": {"text": ["b"], "answer_start": [2]}, **row}
    (tmp_path / "eng.jsonl").write_text(json.dumps(whole), encoding="utf-8")
    with pytest.raises(InputError, match=sentence):
        load_dataset(source_of(tmp_path / "eng.jsonl", "split=test"))


def test_blanks_before_a_passage_move_its_answers(tmp_path: Path) -> None:
    whole = {"question": "q", "context": "  a b", "answers": {"text": ["b"], "answer_start": [4]}}
    (tmp_path / "eng.jsonl").write_text(json.dumps(whole), encoding="utf-8")
    (example,) = load_dataset(source_of(tmp_path / "eng.jsonl", "split=test")).examples
    assert (example.text_pair, example.answers[0].start) == ("a b", 2)


def test_a_language_without_a_split_is_refused(tmp_path: Path) -> None:
    data = load_labels(source_of(write_questions(tmp_path), "split=test"), task="qa")
    QA.check(data, train=[], validation=[], test=LANGUAGES)
    with pytest.raises(InputError, match="'eng_Latn' has no train split"):
        QA.check(data, train=["eng_Latn"], validation=[], test=[])


def test_xquad_is_read_whole_and_a_third_of_its_articles_is_tested() -> None:
    folder = Path(os.environ.get("XPE_TASKS_DIR", "")) / "qa"
    if not folder.is_dir() or not os.environ.get("XPE_TASKS_DIR"):
        pytest.skip("XPE_TASKS_DIR names no folder with qa")
    examples = load_dataset(source_of(folder, "split=54/12/34")).examples
    assert len(examples) == 12 * 1190
    for language in ("eng_Latn", "zho_Hans"):
        articles = {one.group: one.split for one in examples if one.language == language}
        assert Counter(articles.values()) == {"train": 26, "validation": 6, "test": 16}


@pytest.mark.parametrize(
    ("context", "text", "start"),
    [("  a b ", "b", 4), ("  a b ", "b ", 4), ("  a b ", " b", 3), ("a b\r\n", "b\r\n", 2)],
)
def test_blanks_around_a_passage_and_an_answer_are_left_out(
    tmp_path: Path, context: str, text: str, start: int
) -> None:
    row = {"question": "q", "context": context, "answers": {"text": [text], "answer_start": [start]}}
    (tmp_path / "eng.jsonl").write_text(json.dumps(row), encoding="utf-8")
    (example,) = load_dataset(source_of(tmp_path / "eng.jsonl", "split=test")).examples
    assert (example.text_pair, example.answers) == ("a b", (Answer("b", 2),))


def test_an_article_without_paragraphs_is_passed_over(tmp_path: Path) -> None:
    articles = [*make_articles("eng", 12), {"title": "Empty", "paragraphs": []}]
    (tmp_path / "xquad.zho_Hans.json").write_text(json.dumps({"data": articles}), encoding="utf-8")
    data = load_dataset(source_of(tmp_path / "xquad.zho_Hans.json", "split=test"))
    assert {example.language for example in data.examples} == {"zho_Hans"}
    assert len(data.examples) == ARTICLES * PARAGRAPHS * QUESTIONS
