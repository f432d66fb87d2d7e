"""Validation examples out of train, for data that have none."""

import numpy as np

from xpe_core.data.examples import SPLITS
from xpe_core.data.held_out import hold_out

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
