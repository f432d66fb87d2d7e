"""The same content is the same experiment, wherever data, backbone and results lie by now."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import yaml

from sweep.analysis import read_runs
from sweep.inspection import find_experiment
from sweep.ledger import read_events
from tests.conftest import Refuse, Run, make_search
from xpe_core.data import load_dataset
from xpe_core.places import use_places


@pytest.fixture(autouse=True)
def _forget_places() -> Iterator[None]:
    yield
    use_places({})


def write_table(file: Path, dataset: str) -> None:
    """Write the tiny data set as one CSV file."""
    rows = [one._asdict() for one in load_dataset(dataset).examples]
    table = pl.DataFrame(rows).select("language", "split", "label", "text")
    file.parent.mkdir(parents=True, exist_ok=True)
    table.write_csv(file)


def test_moved_data_and_backbone_are_the_same_experiment_and_others_are_not(
    dataset: str, backbone: str, local_ray: None, tmp_path: Path, run_here: Run, refuse: Refuse
) -> None:
    laptop, server, storage = tmp_path / "laptop", tmp_path / "server", str(tmp_path / "results")
    write_table(laptop / "own.csv", dataset)
    shutil.copytree(backbone, laptop / "encoder")
    values = make_search(str(laptop / "own.csv"), str(laptop / "encoder"))
    values["base"] |= {"max_steps": 4, "eval_steps": 2}
    del values["base"]["encoder_hidden_size"], values["scheduler"]
    values["space"]["encoder_hidden_size"] = {"tied": "hidden_size", "times": 0.25}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({**values, "num_samples": 2, "seeds": [1]}))
    run_here("search", str(file), "--storage", storage)
    before = read_runs(find_experiment(storage, "mine"))

    shutil.move(laptop, server)
    (server / "own.csv").rename(server / "news.csv")
    moved = ["--set", f"dataset={server / 'news.csv'}", "--set", f"backbone={server / 'encoder'}"]
    said = run_here("search", str(file), *moved, "--num-samples", "3", "--storage", storage)
    assert f"found at    {server / 'news.csv'} (the same content as" in " ".join(said.split("\n")).replace("  ", "  ")
    folder = find_experiment(storage, "mine")
    after = read_runs(folder)
    assert len(after) == 3 and set(before["run_id"]) < set(after["run_id"])
    assert set(after["dataset"]) == {str(laptop / "own.csv")}
    suggested = [event for event in read_events(folder) if event["event"] == "suggested"]
    assert len(suggested) == 3 and set(after["state"]) == {"complete"}

    said = run_here("replicate", "mine", "--seeds", "2", "--storage", storage, "--dry-run")
    assert str(server / "news.csv") in said.replace("\n", "")
    shutil.move(server, tmp_path / "attic")
    assert "is not here: say where with --backbone PATH" in refuse("replicate", "mine", "--storage", storage)
    attic = ["--dataset", str(tmp_path / "attic" / "news.csv"), "--backbone", str(tmp_path / "attic" / "encoder")]
    run_here("replicate", "mine", "--seeds", "2", *attic, "--storage", storage, "--dry-run")

    for command in (["list"], ["status", "mine"], ["report", "mine", "--exclude", "none"], ["best", "mine"]):
        run_here(*command, "--storage", storage)  # needs neither data nor backbone
    run_here("export", "mine", "--to", str(tmp_path / "adapter"), "--storage", storage)

    with (tmp_path / "attic" / "news.csv").open("a") as table:
        table.write("eng_Latn,train,sports,one more\n")
    changed = ["--set", f"dataset={attic[1]}", "--set", f"backbone={attic[3]}"]
    assert "the data differ, in content" in refuse("search", str(file), *changed, "--storage", storage)
    attic = ["--dataset", attic[1], "--backbone", attic[3]]
    assert "holds other data than" in refuse("replicate", "mine", "--seeds", "2", *attic, "--storage", storage)
