"""Data sets in the shapes of public ones, searched from the command line to the report, with nothing said of languages.

The data are somebody's own, so that the search trains on the largest language and tests on all of them.
"""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import yaml

from sweep.analysis import read_evaluations, read_runs
from sweep.storage import Folder
from tests.conftest import RunWithNotes
from tests.making.datasets import LOCALES, NEWS_LANGUAGES, NUM_INTENTS, make_masakhanews, make_massive, make_on_hub
from tests.sweep.test_end_to_end import command


@pytest.fixture
def search_file(tmp_path: Path, backbone: str) -> Path:
    base = {"backbone": backbone, "num_virtual_tokens": 4, "encoder_hidden_size": 16, "batch_size": 16, "max_steps": 6}
    base |= {"eval_steps": 3, "max_length": 32, "optimizer": "adamw", "learning_rate": 5e-3, "precision": "float32"}
    space = {"encoder_ratio": {"uniform": [0.1, 0.9], "step": 0.1}}
    values = {"kind": "search", "base": base, "space": space, "num_samples": 2, "seeds": [1]}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({**values, "scheduler": {"grace_period": 3}}))
    return file


Search = Callable[..., tuple[str, Folder]]


@pytest.fixture
def search(search_file: Path, local_ray: None, run_with_notes: RunWithNotes, monkeypatch: pytest.MonkeyPatch) -> Search:
    """Give a function that searches a data set and returns what was said, and the experiment's folder."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(dataset: str, *options: str) -> tuple[str, Folder]:
        storage = search_file.parent / "out"
        arguments = ("--storage", str(storage), "--set", f"dataset={dataset}", *options)
        output, _ = run_with_notes("search", str(search_file), *arguments)
        return output, Folder(storage) / "mine"

    return run


def count_tested(folder: Folder) -> dict[str, int]:
    """Return how many texts each language was tested on, the same in all complete runs."""
    complete = read_runs(folder).filter(pl.col("state") == "complete").select("run_id")
    tests = read_evaluations(folder).filter(pl.col("split") == "test").join(complete, on="run_id")
    assert len(tests) == len(complete) * tests["language"].n_unique() > 0
    return dict(tests.select("language", "num_examples").iter_rows())


def test_massives_shape_is_searched(search: Search, run_with_notes: RunWithNotes, tmp_path: Path) -> None:
    out, folder = search(make_massive(tmp_path / "massive"), "--set", "columns=text=utt,label=intent")
    assert count_tested(folder) == dict.fromkeys(LOCALES, NUM_INTENTS)
    validated = read_evaluations(folder).filter(pl.col("split") == "validation")
    assert set(validated["language"]) == {"en-US", "ar-SA", "zh-CN"}  # the published source set, which is all there
    assert f"51 languages, {51 * 3 * NUM_INTENTS:,} texts, {NUM_INTENTS} classes" in out
    run_with_notes("report", "mine", "--storage", str(tmp_path / "out"), "--format", "csv")


def test_masakhanews_shape_is_searched(search: Search, tmp_path: Path) -> None:
    _, folder = search(make_masakhanews(tmp_path / "news"), "--set", "source_set=amh,eng")
    assert count_tested(folder) == dict.fromkeys(NEWS_LANGUAGES, 21)
    validated = read_evaluations(folder).filter(pl.col("split") == "validation")
    assert set(validated["language"]) == {"amh", "eng"}


def test_a_data_set_of_the_hub_in_several_files_is_searched(search_file: Path, tmp_path: Path) -> None:
    """In a process of its own, since the hub's library reads where its cache is once, when it is imported."""
    sets = ("--set", f"dataset={make_on_hub(tmp_path / 'hub')}", "--set", "columns=text=sentence")
    storage = ("--storage", str(tmp_path / "out"))
    process = command("search", str(search_file), *storage, *sets, HF_HUB_CACHE=str(tmp_path / "hub"))
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, out + err
    folder = Folder(tmp_path / "out") / "mine"
    assert count_tested(folder) == dict.fromkeys(("en", "sw", "yo"), 12)
    assert set(read_runs(folder)["source_set"]) == {"en"}
