"""Few training examples: which ones, of which classes, and what they have to do with more of them."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.data.few import draw_train_rows
from xpe_core.data.labelled_data import LabelledData
from xpe_core.data.tokens import load_tokens
from xpe_core.pack import Pack
from xpe_core.training.training import Training

SIZES = (12, 30, 4)
"""Rows of each class in a language, sorted as files often are."""


@pytest.fixture
def data() -> LabelledData:
    labels = np.repeat([0, 1, 2], SIZES)
    split_ids = np.zeros(len(labels), dtype=np.int64)
    split_ids[:2] = 2  # two of the first class are test rows
    return LabelledData(
        name="made",
        label_names=("a", "b", "c"),
        languages=("deu_Latn", "eng_Latn"),
        labels=np.tile(labels, 2),
        language_ids=np.repeat([0, 1], len(labels)),
        split_ids=np.tile(split_ids, 2),
    )


def test_classes_have_equally_many_until_one_has_no_more(data: LabelledData) -> None:
    counts = [Counter(data.labels[draw_train_rows(data, ["eng_Latn"], 5, cap)].tolist()) for cap in (6, 12, 20)]
    assert counts == [{0: 2, 1: 2, 2: 2}, {0: 4, 1: 4, 2: 4}, {0: 8, 1: 8, 2: 4}]


def test_of_fewer_examples_than_classes_no_class_has_two_and_seeds_choose_which(data: LabelledData) -> None:
    drawn = [tuple(data.labels[draw_train_rows(data, ["eng_Latn"], seed, 2)]) for seed in range(20)]
    assert all(first != second for first, second in drawn) and len(set(drawn)) == 3


def test_ten_are_among_the_thirty_of_the_same_seed(data: LabelledData) -> None:
    for seed in range(20):
        few, more = (set(draw_train_rows(data, ["eng_Latn"], seed, cap).tolist()) for cap in (10, 30))
        assert len(few) == 10 and len(more) == 30 and few < more


def test_seeds_draw_other_examples_and_the_same_seed_the_same(data: LabelledData) -> None:
    drawn = [tuple(draw_train_rows(data, ["eng_Latn"], seed, 10)) for seed in (1, 2, 3, 1)]
    assert len(set(drawn)) == 3 and drawn[0] == drawn[3]


def test_a_cap_is_a_languages_own_and_leaves_test_rows_out(data: LabelledData) -> None:
    german, both = (draw_train_rows(data, names, 1, 10) for names in (["deu_Latn"], ["eng_Latn", "deu_Latn"]))
    assert both.tolist() == [*(german + sum(SIZES)), *german]
    assert set(data.split_ids[both]) == {0}


def test_without_a_cap_or_below_it_all_rows_are_there_in_their_order(data: LabelledData) -> None:
    whole = data.select(["eng_Latn"], "train").tolist()
    assert (
        draw_train_rows(data, ["eng_Latn"], 1).tolist() == draw_train_rows(data, ["eng_Latn"], 1, 44).tolist() == whole
    )
    assert draw_train_rows(data, [], 1, 3).tolist() == []


def seen(configs: list[RunConfig], run: int, num_steps: int) -> set[int]:
    """Return the rows that a run of a pack sees in its first steps."""
    data = load_tokens(configs[0].data.dataset, configs[0].backbone, configs[0].data.max_length)
    training = Training(Pack(load_backbone(configs[0].backbone), configs, len(data.label_names)), data)
    return {int(row) for _ in range(num_steps) for row in next(training._runs[run].batches)}


def test_a_run_sees_its_own_examples_whatever_pack_it_is_in(base: dict[str, Any]) -> None:
    config = RunConfig(**base, max_train_examples=8)  # of each of two languages: two batches an epoch
    data = load_tokens(config.data.dataset, config.backbone, config.data.max_length)
    rows = draw_train_rows(data, ["deu_Latn", "eng_Latn"], 3, 8)
    assert len(rows) == 16
    assert seen([config.with_seed(3)], 0, 6) == seen([config.with_seed(2), config.with_seed(3)], 1, 6) == set(rows)


def test_runs_of_older_experiments_have_their_ids_and_fewer_examples_are_another_run(base: dict[str, Any]) -> None:
    config = RunConfig(**base)
    assert RunConfig(**base, max_train_examples=None).run_id == config.run_id
    assert RunConfig(**base, max_train_examples=5).config_id != config.config_id
