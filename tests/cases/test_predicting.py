"""Files and classes as people have them, through the command predict: each with its own small input."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Refuse, Run
from tests.test_classifier import WORDS, make_adapter
from xpe_core.adapters import write_peft


@pytest.fixture
def unnamed(base: dict[str, Any], tmp_path: Path) -> str:
    """Write a folder of peft's whose three classes have no names."""
    adapter = make_adapter(base)
    config = adapter.config.model_copy(update={"pooling": "first"})
    write_peft(replace(adapter, config=config, label_names=("LABEL_0", "LABEL_1", "LABEL_2")), tmp_path / "unnamed")
    return str(tmp_path / "unnamed")


def read_label(output: str) -> str:
    return output.split("\t")[0]


def test_blanks_after_the_commas_of_classes_are_no_part_of_a_name(unnamed: str, run_here: Run) -> None:
    place = int(read_label(run_here("predict", unnamed, "--text", WORDS[0])).removeprefix("LABEL_"))
    names = ["Politik", "Sport", "Wirtschaft"]
    output = run_here("predict", unnamed, "--text", WORDS[0], "--classes", "Politik, Sport, Wirtschaft")
    assert read_label(output) == names[place]


@pytest.mark.parametrize("way", ["quoted", "file", "path"])
def test_a_class_whose_name_has_a_comma_can_be_said(unnamed: str, run_here: Run, tmp_path: Path, way: str) -> None:
    place = int(read_label(run_here("predict", unnamed, "--text", WORDS[0])).removeprefix("LABEL_"))
    names = ["Politik, Inland", "Sport, Reise", "Wirtschaft"]
    file = tmp_path / "labels.txt"
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*names, "", ""]).encode())
    said = {"quoted": '"Politik, Inland", "Sport, Reise",Wirtschaft', "file": f"@{file}", "path": str(file)}[way]
    output = run_here("predict", unnamed, "--text", WORDS[0], "--classes", said)
    assert read_label(output) == names[place]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("Politik, Inland,Sport,Wirtschaft", "3 classes; --classes names 4 (Politik | Inland | Sport | Wirtschaft)"),
        ("Politik,Sport", "its head has 3 classes; --classes names 2 (Politik | Sport); a name with a comma stands in"),
        ("Politik;Sport;Wirtschaft", "3 classes; --classes names 1 (Politik;Sport;Wirtschaft)"),
        ("Politik,Sport,Politik", "the class 'Politik' stands there twice"),
        ("Politik,,Sport", "there is an empty name between two commas"),
    ],
)
def test_classes_that_do_not_fit_the_adapter_are_refused_with_both_numbers(
    unnamed: str, refuse: Refuse, said: str, sentence: str
) -> None:
    assert sentence in refuse("predict", unnamed, "--text", WORDS[0], "--classes", said)
