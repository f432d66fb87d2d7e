"""The same content is the same experiment, wherever data, backbone and results lie by now."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import yaml

from sweep.analysis import read_runs
from sweep.analysis.stored_experiment import check_comparable, read_experiment
from sweep.experiment.files import load_experiment
from sweep.planning.moved import keep_names
from sweep.planning.plan import Plan, prepare
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.finding import find_experiment
from sweep.records.ledger import read_events
from sweep.storage import Folder
from tests.conftest import Refuse, Run, make_search
from xpe_core.data import load_dataset
from xpe_core.errors import InputError
from xpe_core.locations import use_locations


@pytest.fixture(autouse=True)
def _forget_places() -> Iterator[None]:
    yield
    use_locations({})


def write_table(file: Path, dataset: str) -> None:
    """Write the tiny data set as one CSV file."""
    rows = [one._asdict() for one in load_dataset(dataset).examples]
    table = pl.DataFrame(rows).select("language", "split", "label", "text")
    file.parent.mkdir(parents=True, exist_ok=True)
    table.write_csv(file)


def start(file: Path, storage: Path, **places: Path) -> Plan:
    """Prepare an experiment as its commands do, and make or take up its folder; nothing is run."""
    _, sweep = load_experiment(str(file), [f"{name}={place}" for name, place in places.items()])
    moved = keep_names(sweep, Folder(storage) / "mine")
    plan = replace(prepare("mine", moved.sweep), places=moved.places, older_fingerprints=moved.older_fingerprints)
    older = (*plan.older_fingerprints, *plan.older_data)
    ExperimentFolder(Folder(storage) / "mine", plan.sweep, plan.fingerprints, plan.places, older).close()
    return plan


@pytest.fixture
def file(dataset: str, backbone: str, tmp_path: Path) -> Path:
    """Give an experiment file with data and backbone in a folder `laptop`, and a size that follows the backbone's."""
    laptop = tmp_path / "laptop"
    write_table(laptop / "own.csv", dataset)
    shutil.copytree(backbone, laptop / "encoder")
    values = make_search(str(laptop / "own.csv"), str(laptop / "encoder"))
    values["base"] |= {"max_steps": 4, "eval_steps": 2}
    del values["base"]["encoder_hidden_size"], values["scheduler"]
    values["space"]["encoder_hidden_size"] = {"tied": "hidden_size", "times": 0.25}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**values, "num_samples": 2, "seeds": [1]}))
    return path


def test_names_and_ids_stay_where_content_moved_and_another_content_is_said(file: Path, tmp_path: Path) -> None:
    laptop, server = tmp_path / "laptop", tmp_path / "server"
    first = start(file, tmp_path / "results")
    ids = [corner.config_id for corner in first.sweep.corners]
    shutil.move(laptop, server)
    (server / "own.csv").rename(server / "news.csv")
    places = {"dataset": server / "news.csv", "backbone": server / "encoder"}
    again = start(file, tmp_path / "results", **places)
    assert [corner.config_id for corner in again.sweep.corners] == ids
    assert again.sweep.corners[0].data.dataset == str(laptop / "own.csv")
    old = {"dataset": laptop / "own.csv", "backbone": laptop / "encoder"}
    assert again.places == {str(old[name]): str(place) for name, place in places.items()}
    known = yaml.safe_load((tmp_path / "results" / "mine" / "experiment.yaml").read_text())
    assert (known["base"]["dataset"], known["places"]) == (str(laptop / "own.csv"), again.places)

    file_of_others = tmp_path / "others.csv"
    text = (server / "news.csv").read_text()
    file_of_others.write_text(text + "eng_Latn,train,sports,one more\n")
    with pytest.raises(InputError, match="holds another experiment: the data differ, in content") as refusal:
        start(file, tmp_path / "results", **{**places, "dataset": file_of_others})
    assert "base.dataset" not in str(refusal.value) and "fingerprints.data" not in str(refusal.value)
    file_of_others.write_text(text)  # the same content a third time
    assert start(file, tmp_path / "results", **{**places, "dataset": file_of_others}).places[str(laptop / "own.csv")]


def test_an_older_experiment_is_known_by_its_files_old_fingerprint(file: Path, tmp_path: Path) -> None:
    laptop, server = tmp_path / "laptop", tmp_path / "server"
    plan = start(file, tmp_path / "results")
    [older] = plan.panel.data.older_fingerprints  # made of the names of file and folder, too
    specification = tmp_path / "results" / "mine" / "experiment.yaml"
    specification.write_text(specification.read_text().replace(plan.fingerprints["data"], older))
    assert older in read_experiment(Folder(specification.parent)).fingerprints["data"]
    new = start(file, tmp_path / "new")
    check_comparable(*(read_experiment(Folder(tmp_path / one / "mine")) for one in ("results", "new")))
    assert new.fingerprints["data"] != older
    start(file, tmp_path / "results")
    shutil.move(laptop, server)
    places = {"dataset": server / "own.csv", "backbone": server / "encoder"}
    assert start(file, tmp_path / "results", **places).sweep.corners[0].data.dataset == str(laptop / "own.csv")


def test_moved_data_and_backbone_are_the_same_experiment_and_others_are_not(
    file: Path, local_ray: None, tmp_path: Path, run_here: Run, refuse: Refuse
) -> None:
    laptop, server, storage = tmp_path / "laptop", tmp_path / "server", str(tmp_path / "results")
    run_here("search", str(file), "--storage", storage)
    before = read_runs(find_experiment(storage, "mine"))

    shutil.move(laptop, server)
    (server / "own.csv").rename(server / "news.csv")
    moved = ["--set", f"dataset={server / 'news.csv'}", "--set", f"backbone={server / 'encoder'}"]
    said = run_here("search", str(file), *moved, "--num-samples", "3", "--storage", storage)
    assert f"foundat{server / 'news.csv'}(thesamecontentas{laptop / 'own.csv'}," in "".join(said.split())
    folder = find_experiment(storage, "mine")
    after = read_runs(folder)
    assert len(after) == 3 and set(before["run_id"]) < set(after["run_id"])
    assert set(after["dataset"]) == {str(laptop / "own.csv")}
    suggested = [event for event in read_events(folder) if event["event"] == "suggested"]
    assert len(suggested) == 3 and set(after["state"]) == {"complete"}

    said = run_here("replicate", "mine", "--seeds", "2", "--storage", storage, "--dry-run")
    assert f"foundat{server / 'news.csv'}(" in "".join(said.split())
    run_here("export", "mine", "--to", str(tmp_path / "adapter"), "--storage", storage)
    shutil.move(server, tmp_path / "attic")
    assert "is not here: say where with --backbone PATH" in refuse("replicate", "mine", "--storage", storage)
    attic = ["--dataset", str(tmp_path / "attic" / "news.csv"), "--backbone", str(tmp_path / "attic" / "encoder")]
    run_here("replicate", "mine", "--seeds", "2", *attic, "--storage", storage, "--dry-run")

    for command in (["list"], ["status", "mine"], ["report", "mine", "--exclude", "none"], ["best", "mine"]):
        run_here(*command, "--storage", storage)  # needs neither data nor backbone

    with (tmp_path / "attic" / "news.csv").open("a") as table:
        table.write("eng_Latn,train,sports,one more\n")
    changed = ["--set", f"dataset={attic[1]}", "--set", f"backbone={attic[3]}"]
    assert "the data differ, in content" in refuse("search", str(file), *changed, "--storage", storage)
    attic = ["--dataset", attic[1], "--backbone", attic[3]]
    assert "holds other data than" in refuse("replicate", "mine", "--seeds", "2", *attic, "--storage", storage)
