"""Topic classification: which data it takes, and what is published of it."""

from pathlib import Path

import pytest

from tests.conftest import write_dataset
from xpe_core.config import RunConfig
from xpe_core.data.labelled_data import load_labels
from xpe_core.errors import InputError
from xpe_core.tasks import DEFAULT_TASK, TASKS
from xpe_core.validation import build_config

TOPIC = TASKS["topic"]


def test_a_language_without_a_needed_split_is_named(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path)
    (tmp_path / "yor_Latn" / "test.tsv").unlink()
    data = load_labels(folder)
    with pytest.raises(InputError, match="language 'yor_Latn' has no test split"):
        TOPIC.check(data, train=["eng_Latn"], validation=["eng_Latn"], test=["yor_Latn"])


def test_a_label_that_training_never_saw_is_named(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path)
    file = tmp_path / "eng_Latn" / "train.tsv"
    file.write_text("".join(line for line in file.read_text().splitlines(keepends=True) if "\thealth\t" not in line))
    data = load_labels(folder)
    with pytest.raises(InputError, match="label 'health' of kat_Geor .test. stands in no train split.*sports, travel"):
        TOPIC.check(data, train=["eng_Latn"], validation=[], test=["kat_Geor"])
    TOPIC.check(data, train=["eng_Latn", "deu_Latn"], validation=[], test=["kat_Geor"])


def test_a_run_says_its_task_and_the_default_one_is_no_part_of_its_id() -> None:
    config = RunConfig(max_steps=7)
    assert config.task == DEFAULT_TASK == "topic"
    assert config.run_id == RunConfig(max_steps=7, task="topic").run_id
    with pytest.raises(InputError, match="task='chess': input should be 'topic'"):
        build_config(RunConfig, {"task": "chess"}, "base")


def test_a_published_score_is_in_zero_to_one() -> None:
    published = TOPIC.published()
    assert published is not None
    (figure,) = [one for one in published.figures if (one.source_set, one.group) == ("joshi5", "unseen")][:1]
    assert (figure.method, figure.score, figure.num_seeds) == ("spt", 0.56, 10)
    assert published.datasets == ("sib200", "sib-200")
