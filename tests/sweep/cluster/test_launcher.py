"""What goes to a cluster's head and under which names; `tests/cluster/three_hosts.py` does it for real."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from sweep.cluster.launcher import Parcel, launch, make_request, rewrite
from sweep.cluster.versions import COMMIT_FILE, code_version
from sweep.run import app
from tests.making.experiments import load_search
from xpe_core.errors import InputError


def parse(*arguments: str) -> typer.Context:
    """Return a command with its options, as the command line reads them."""
    group: Any = typer.main.get_command(app)
    context: typer.Context = group.commands[arguments[0]].make_context(arguments[0], list(arguments[1:]))
    return context


@pytest.fixture
def parcel(tmp_path: Path) -> Parcel:
    """Give an empty parcel."""
    (tmp_path / "parcel").mkdir()
    return Parcel(tmp_path / "parcel")


def open_parcel(parcel: Parcel, there: str) -> Path:
    """Return where a path on the head lies in the parcel."""
    assert there.startswith("~/xpe-sweep-inputs/")
    return parcel.folder / there.removeprefix("~/xpe-sweep-inputs/")


def test_what_names_nothing_here_stays_as_it_is(parcel: Parcel) -> None:
    context = parse(
        "search", "quickstart", "--num-samples", "8", "--set", "dataset=cldr", "--seeds", "1-3", "--dry-run"
    )
    expected = ["search", "quickstart", "--set", "dataset=cldr", "--num-samples", "8", "--seeds", "1-3"]
    expected += ["--storage", "~/xpe-sweep-results", "--dry-run"]
    assert rewrite("search", context, parcel) == expected
    assert list(parcel.folder.iterdir()) == []


def test_an_option_that_is_given_several_times_is_so_there(parcel: Parcel) -> None:
    arguments = rewrite("search", parse("search", "quickstart", "--log-to", "mlflow", "--log-to", "wandb"), parcel)
    assert " ".join(arguments).endswith(" --log-to mlflow --log-to wandb")


def test_a_local_storage_is_where_results_are_brought_and_a_uri_is_the_clusters(parcel: Parcel) -> None:
    local = parse("search", "quickstart", "--storage", "somewhere")
    assert "~/xpe-sweep-results" in rewrite("search", local, parcel) and "somewhere" not in rewrite(
        "search", local, parcel
    )
    away = parse("search", "quickstart", "--storage", "s3://bucket/sweeps")
    arguments = rewrite("search", away, parcel)
    assert arguments[-2:] == ["--storage", "s3://bucket/sweeps"]
    assert make_request("search", arguments, away.params, 80).storage == ""


def test_a_local_data_set_travels_under_a_name_that_derives_from_its_content(parcel: Parcel, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("text,label,language,split\n")
    context = parse("grid", "table1-e5", "--set", f"dataset={tmp_path / 'one.csv'}")
    override = next(word for word in rewrite("grid", context, parcel) if word.startswith("dataset="))
    there = override.removeprefix("dataset=")
    assert open_parcel(parcel, there).read_text() == "text,label,language,split\n"
    assert rewrite("grid", context, parcel).count(override) == 1
    (tmp_path / "one.csv").write_text("text,label,language,split\nx,y,eng_Latn,train\n")
    assert override not in rewrite("grid", context, parcel)


def test_an_experiment_file_in_object_storage_is_read_there(parcel: Parcel) -> None:
    there = "s3://bucket/results/mine/mine-best.yaml"
    assert rewrite("search", parse("search", there), parcel)[1] == there


def test_an_experiment_file_that_is_not_there_is_said_before_a_machine_is_asked(parcel: Parcel) -> None:
    with pytest.raises(InputError, match="experiment nowhere.yaml: No such file"):
        rewrite("search", parse("search", "nowhere.yaml"), parcel)


def test_an_experiment_file_travels_with_the_paths_that_it_names(parcel: Parcel, tmp_path: Path) -> None:
    (tmp_path / "data" / "eng_Latn").mkdir(parents=True)
    (tmp_path / "data" / "eng_Latn" / "train.tsv").write_text("category\ttext\n")
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text("{}")
    base = {"dataset": str(tmp_path / "data"), "backbone": str(tmp_path / "encoder"), "max_steps": 40}
    text = (
        yaml.safe_dump({"kind": "search", "base": base}, sort_keys=False)
        + "  learning_rate: 5e-3\n  source_set: [no, 010]\n"
    )
    (tmp_path / "mine.yaml").write_text(text)
    there = rewrite("search", parse("search", str(tmp_path / "mine.yaml")), parcel)[1]
    assert there.endswith("/mine.yaml")
    found = yaml.safe_load(open_parcel(parcel, there).read_text())["base"]
    assert open_parcel(parcel, found["dataset"]).joinpath("eng_Latn", "train.tsv").is_file()
    assert open_parcel(parcel, found["backbone"]).joinpath("config.json").is_file()
    assert found["max_steps"] == 40 and parcel.backbones == [found["backbone"]]
    sent = load_search(str(open_parcel(parcel, there)))[1].config()
    assert (sent.data.source_set, sent.training.learning_rate) == ("no,010", 0.005)


def test_a_replication_of_a_file_brings_the_file(parcel: Parcel, tmp_path: Path) -> None:
    (tmp_path / "quickstart-best.yaml").write_text(yaml.safe_dump({"kind": "search", "base": {"dataset": "cldr"}}))
    context = parse("replicate", str(tmp_path / "quickstart-best.yaml"), "--top", "2")
    arguments = rewrite("replicate", context, parcel)
    assert arguments[1].endswith("/quickstart-best.yaml") and arguments[2:4] == ["--top", "2"]
    request = make_request("replicate", arguments, context.params, 80)
    assert request.submission_id == "xpe-sweep-quickstart-best-replication"


def test_the_code_travels_with_its_commit(parcel: Parcel) -> None:
    there = open_parcel(parcel, parcel.add_project())
    assert (there / "sweep" / "configs" / "quickstart.yaml").is_file() and (
        there / "xpe_core" / "languages.csv"
    ).is_file()
    assert (there / COMMIT_FILE).read_text() == code_version()
    assert not list(there.rglob("__pycache__")) and (there / "constraints.txt").is_file()


def test_a_job_is_named_by_its_experiment_and_a_dry_run_is_another_one() -> None:
    named = [
        make_request("search", [], parse("search", "quickstart", *more).params, 80) for more in ([], ["--dry-run"])
    ]
    assert [request.submission_id for request in named] == ["xpe-sweep-quickstart", "xpe-sweep-quickstart-dry-run"]
    other = make_request("grid", [], parse("grid", "table1", "--name", "mine").params, 80)
    assert other.submission_id == "xpe-sweep-mine" and other.name == "mine"
    assert make_request("list", ["list"], parse("list").params, 80).submission_id is None


def test_a_mistake_in_the_experiment_is_answered_before_a_machine_is_asked() -> None:
    context = parse("search", "quickstart", "--set", "learning_rat=1")
    with pytest.raises(InputError, match="did you mean 'learning_rate'"):
        make_request("search", [], context.params, 80)


@pytest.mark.skipif(shutil.which("ssh") is None or shutil.which("rsync") is None, reason="no ssh, or no rsync, on PATH")
def test_results_are_not_brought_over_those_of_an_experiment_that_ran_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {
        "cluster_name": "mine",
        "provider": {"type": "aws", "region": "us-east-1"},
        "auth": {"ssh_user": "me"},
        "head_node_type": "head",
        "available_node_types": {
            "head": {"resources": {}, "node_config": {"InstanceType": "m6i.large", "ImageId": "a"}}
        },
    }
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(yaml.safe_dump(config))
    Path("results/quickstart").mkdir(parents=True)
    Path("results/quickstart/.lock").touch()
    with pytest.raises(InputError, match="results/quickstart holds an experiment that ran here"):
        launch("mine.yaml", parse("search", "quickstart"))


def test_an_experiment_must_be_named(parcel: Parcel) -> None:
    with pytest.raises(InputError, match="--cluster search needs an experiment"):
        rewrite("search", parse("search"), parcel)
