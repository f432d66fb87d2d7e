"""Validation examples out of train, for data that have none."""

from pathlib import Path

import numpy as np

from xpe_core.data import DataSource, load_dataset
from xpe_core.data.examples import SPLITS
from xpe_core.data.held_out import hold_out
from xpe_core.data.labelled_data import load_labels
from xpe_core.tasks import TASKS

TRAIN, VALIDATION, TEST = range(len(SPLITS))


def test_a_tenth_of_each_class_is_held_out_where_a_language_has_no_validation() -> None:
    labels = np.array([0] * 40 + [1] * 10 + [0] * 5)
    split_ids = np.array([TRAIN] * 50 + [TEST] * 5)
    changed, languages = hold_out(split_ids, np.zeros(55, dtype=np.int64), labels)
    assert languages == (0,)
    held_out = changed == VALIDATION
    assert [int(held_out[labels == label].sum()) for label in (0, 1)] == [4, 1]
    assert (changed[50:] == TEST).all()
    again, _ = hold_out(split_ids, np.zeros(55, dtype=np.int64), labels)
    assert (again == changed).all()


def test_languages_with_validation_and_classes_of_one_example_stay_as_they_are() -> None:
    split_ids = np.array([TRAIN, TRAIN, VALIDATION, TRAIN, TRAIN, TEST])
    language_ids = np.array([0, 0, 0, 1, 1, 2])
    labels = np.array([0, 1, 0, 0, 1, 0])
    changed, languages = hold_out(split_ids, language_ids, labels)
    assert (changed == split_ids).all() and languages == ()


def test_a_class_of_two_examples_gives_one() -> None:
    changed, languages = hold_out(np.array([TRAIN, TRAIN]), np.array([3, 3]), np.array([1, 1]))
    assert sorted(changed.tolist()) == [TRAIN, VALIDATION] and languages == (3,)


def test_what_belongs_together_is_held_out_together_and_every_class_keeps_examples() -> None:
    """Pairs of 30 premises, each with three hypotheses of three labels; a fourth label has a premise of its own."""
    labels = np.array([0, 1, 2] * 30 + [3, 3])
    groups = np.repeat(np.arange(31), [3] * 30 + [2])
    split_ids, languages = np.full(92, TRAIN), np.zeros(92, dtype=np.int64)
    changed, found = hold_out(split_ids, languages, labels, groups)
    held_out = changed == VALIDATION
    assert found == (0,) and 9 <= held_out.sum() <= 18
    assert not set(groups[held_out]) & set(groups[changed == TRAIN])
    assert set(labels[changed == TRAIN]) == {0, 1, 2, 3} and set(labels[held_out]) == {0, 1, 2}
    alone, _ = hold_out(split_ids, languages, labels)
    numbered, _ = hold_out(split_ids, languages, labels, np.arange(92))
    assert (alone == numbered).all() and (alone != changed).any()


def test_a_single_passage_is_not_divided() -> None:
    changed, languages = hold_out(
        np.full(9, TRAIN), np.zeros(9, np.int64), np.zeros(9, np.int64), np.zeros(9, np.int64)
    )
    assert (changed == TRAIN).all() and languages == ()


def test_no_premise_and_no_passage_that_is_trained_on_is_validated_on(tmp_path: Path) -> None:
    rows = ["premise\thypothesis\tlabel"]
    rows += [f"premise {place}\tone {label}\t{label}" for place in range(40) for label in ("yes", "no")]
    for split in ("train", "test"):
        (tmp_path / f"{split}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    source = DataSource(str(tmp_path), columns="language=eng_Latn", texts=TASKS["nli"].texts)
    data, examples = load_labels(source), load_dataset(source).examples
    assert data.held_out == ("eng_Latn",)
    trained, validated = (
        {examples[row].text for row in data.select(["eng_Latn"], split)} for split in ("train", "validation")
    )
    assert validated and trained and not trained & validated
