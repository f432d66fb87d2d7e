"""Experiments named in any script: as a file, a folder, an object, and a word of every command."""

import unicodedata
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweep.experiment.evaluated import name_evaluation
from sweep.experiment.files import load_experiment, name_experiment
from sweep.records.finding import find_experiment
from sweep.records.ledger import read_events
from sweep.storage import Folder
from sweep.storage.names import find_problem, normalise_name
from tests.conftest import Refuse, Run
from tests.making.experiments import load_search

SCRIPTS = ["प्रयोग", "実験 1", "ناتج‌ها", "thử-nghiệm", "ทดลอง_2", "ልምምድ", "экспе́римент", "run (2), v1.5+lora=8"]


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_file_in_any_script_names_its_experiment(tmp_path: Path, name: str, form: Any) -> None:
    file = tmp_path / f"{unicodedata.normalize(form, name)}.yaml"
    file.write_text("base: {max_steps: 100}\n")
    assert load_experiment(str(file))[0] == name_experiment("search", str(file)) == normalise_name(name)
    assert find_problem(normalise_name(name)) is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a/b", "holds '/'"),
        ("a\\b", r"holds '\\\\'"),
        ("a:b", "holds ':'"),
        ("a\nb", r"holds '\\n'"),
        ("l'été", 'holds "\'"'),
        ("a?b", "holds '?'"),
        ("100%", "holds '%'"),
        ("a\u202eb", r"holds '\\u202e'"),
        (".hidden", "begins or ends with a dot or a space"),
        (" a", "begins or ends with a dot or a space"),
        ("..", "is empty"),
        ("प" * 80, "has 80 characters and 240 bytes: allowed are 100 and 200"),
        ("a" * 101, "has 101 characters and 101 bytes: allowed are 100 and 200"),
    ],
)
def test_a_name_that_no_folder_should_have_is_refused(refuse: Refuse, name: str, problem: str) -> None:
    assert find_problem(name) is not None
    said = refuse("search", "quickstart", "--dry-run", "--name", name)
    assert problem.replace("\\\\", "\\") in said or problem in said


def test_an_evaluation_is_named_by_its_adapter_in_any_script() -> None:
    assert name_evaluation("hub:someone/प्रयोग-1@main") == "प्रयोग-1-evaluation"
    assert name_evaluation("adapters of/मेरा सेट (2)/seed-01") == "मेरा-सेट-2-evaluation"


def test_an_experiment_in_another_script_is_run_reported_and_used(
    local_ray: None, values: dict[str, Any], tmp_path: Path, run_here: Run
) -> None:
    file, storage = tmp_path / "प्रयोग e\u0301 1.yaml", str(tmp_path / "परिणाम")
    values["base"] |= {"max_steps": 4, "eval_steps": 2}
    del values["scheduler"]
    file.write_text(yaml.safe_dump({**values, "num_samples": 1, "seeds": [1]}, allow_unicode=True))
    said = run_here("search", str(file), "--storage", storage, "--log-to", "tensorboard", "--log-to", "mlflow")
    assert "replicate 'प्रयोग é 1'" in said and "no trial ends early" in " ".join(said.split())
    for name in ("प्रयोग é 1", "प्रयोग e\u0301 1"):
        assert find_experiment(storage, name).name == "प्रयोग é 1"
    run_here("status", "प्रयोग é 1", "--storage", storage)
    run_here("report", "प्रयोग é 1", "--storage", storage, "--format", "html")
    best = Path(storage, "प्रयोग é 1", "प्रयोग é 1-best.yaml")
    assert load_search(str(best))[1].config().training.max_steps == 4
    assert "प्रयोग é 1-replication" in run_here("replicate", "प्रयोग é 1", "--storage", storage, "--dry-run")
    run_here("export", "प्रयोग é 1", "--storage", storage, "--to", str(tmp_path / "पाठ"))
    run_here("log", "प्रयोग é 1", "--storage", storage, "--to", "mlflow")


def test_an_experiment_in_another_script_lies_in_object_storage(bucket: str) -> None:
    below = Folder(bucket) / "प्रयोग 1"
    below.write("प्रयोग 1-best.yaml", b"base: {max_steps: 7}\n")
    below.write("experiment.yaml", b"kind: search\n")
    below.append("ledger.jsonl", b'{"event": "start", "time": 1}\n')
    again = Folder(str(below))
    assert again.name == "प्रयोग 1" and [one["event"] for one in read_events(again)] == ["start"]
    assert find_experiment(bucket, "प्रयोग 1").names(".yaml") == ["experiment.yaml", "प्रयोग 1-best.yaml"]
    name, sweep = load_search(f"{below}/प्रयोग 1-best.yaml")
    assert (name, sweep.config().training.max_steps) == ("प्रयोग 1-best", 7)
