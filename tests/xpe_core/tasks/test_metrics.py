"""Metrics by hand."""

import numpy as np
import pytest

from xpe_core.tasks import TASKS
from xpe_core.tasks.metrics import METRICS, title_of

REFERENCES, PREDICTIONS = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0])


def test_accuracy_is_one_of_a_correct_example_and_zero_of_another() -> None:
    assert METRICS["accuracy"].scores(PREDICTIONS, REFERENCES).tolist() == [1, 0, 1, 1, 0]
    words = METRICS["accuracy"].scores(np.array(["a", "b"]), np.array(["a", "a"]))
    assert words.tolist() == [1, 0]


def test_by_chance_as_many_are_correct_as_have_the_most_frequent_reference() -> None:
    assert METRICS["accuracy"].chance_sum(np.array([7, 3, 3, 0])) == 2
    assert METRICS["macro_f1"].chance_sum(REFERENCES) is None


def test_macro_f1_of_a_language_is_that_of_each_of_its_examples() -> None:
    # class 0: TP 1, FP 1, FN 1 -> 1/2; class 1: TP 2, FP 1, FN 0 -> 4/5; class 2: TP 0, FP 0, FN 1 -> 0
    scores = METRICS["macro_f1"].scores(PREDICTIONS, REFERENCES)
    assert scores.tolist() == pytest.approx([(1 / 2 + 4 / 5 + 0) / 3] * 5)


def test_macro_f1_leaves_out_classes_that_do_not_occur() -> None:
    assert METRICS["macro_f1"].scores(np.array([0, 2]), np.array([0, 2])).tolist() == [1, 1]
    assert METRICS["macro_f1"].scores(np.array([5]), np.array([0])).tolist() == [0]


def test_every_task_has_metrics_that_are_there_and_another_versions_metric_has_its_name() -> None:
    assert all(task.metrics and set(task.metrics) <= METRICS.keys() for task in TASKS.values())
    assert (title_of("macro_f1"), title_of("bleu")) == ("macro F1", "bleu")
