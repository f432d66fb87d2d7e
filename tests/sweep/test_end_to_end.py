"""Whole searches: a real local Ray, a tiny real model, real tables; and the command line as a user meets it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest
import yaml

from sweep.analysis import read_evaluations, read_runs
from sweep.driver.tuner import run_experiment
from sweep.experiment.config import make_sweep
from sweep.experiment.files import load_experiment
from sweep.planning.plan import prepare
from sweep.records.ledger import TrialRecord, read_events, read_ledger
from sweep.storage import Folder
from tests.cluster import kill_driver
from tests.cluster.kill_driver import compare
from tests.cluster.leftovers import find_left, mark
from tests.conftest import Refuse, Run, copy_experiment, write_dataset
from xpe_core.config import RunConfig
from xpe_core.data.tokens import load_tokens
from xpe_core.errors import InputError
from xpe_core.training.evaluation import evaluate
from xpe_core.training.training import train

ROOT = Path(__file__).parents[2]
# of a run, not of its place and time
MEASURED = ["train_seconds", "tokens_per_second", "peak_share", "peak_memory_bytes", "host", "device"]


def command(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    folder = os.environ["XPE_CACHE_DIR"]
    variables = {**os.environ, "RAY_ADDRESS": "local", "HF_HUB_OFFLINE": "1", "XPE_CACHE_DIR": folder, **environment}
    return subprocess.Popen(
        [sys.executable, "sweep/run.py", *arguments],
        cwd=ROOT,
        env=variables,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_search_leaves_every_run_once_with_its_counts_for_every_language(undisturbed: Folder) -> None:
    folder = undisturbed
    runs, evaluations = read_runs(folder), read_evaluations(folder)
    assert len(runs) == runs["run_id"].n_unique() == 5 * 2
    assert set(runs["method"]) == {"spt", "xpe", "dual"}
    states = dict(runs["state"].value_counts().iter_rows())
    assert set(states) == {"complete", "pruned"}
    tested = evaluations.filter(pl.col("split") == "test")
    complete = runs.filter(pl.col("state") == "complete")
    assert set(tested["run_id"]) == set(complete["run_id"])
    assert tested.group_by("run_id").len()["len"].unique().to_list() == [3]
    assert tested["num_examples"].unique().to_list() == [10]
    assert (runs["num_steps"].max(), complete["num_steps"].min()) == (60, 60)
    for column in ("code_version", "package_versions", "backbone_fingerprint", "data_fingerprint", "host", "device"):
        assert runs[column].null_count() == 0, column


def test_a_row_of_the_tables_is_what_training_that_run_alone_gives(undisturbed: Folder) -> None:
    from xpe_core.backbones.backbone import load_backbone
    from xpe_core.pack import Pack

    folder = undisturbed
    row = read_runs(folder).filter((pl.col("method") == "xpe") & (pl.col("seed") == 2)).row(0, named=True)
    config = RunConfig.from_row(row)
    assert config.run_id == row["run_id"]
    data = load_tokens(config.data.dataset, config.backbone, config.data.max_length)
    model = Pack(load_backbone(config.backbone), [config], len(data.label_names))
    *_, report = train(model, data)
    assert report.runs[0].best_validation_accuracy == row["validation_accuracy"]
    scores = evaluate(model, data, "test", ["eng_Latn", "kat_Geor", "yor_Latn"], 10)[0]
    table = read_evaluations(folder).filter((pl.col("run_id") == row["run_id"]) & (pl.col("split") == "test"))
    counts = dict(table.filter(metric="accuracy").select("language", "score_sum").iter_rows())
    assert counts == {score.language: score.score_sums["accuracy"] for score in scores}


def test_the_same_search_with_one_worker_gives_the_same_configurations_and_numbers(
    one_at_a_time: dict[str, Any], tmp_path: Path, undisturbed: Folder
) -> None:
    again = run_experiment(prepare("mine", make_sweep(**one_at_a_time)), tmp_path)
    assert read_runs(undisturbed).drop(MEASURED).equals(read_runs(again).drop(MEASURED))
    assert read_evaluations(undisturbed).equals(read_evaluations(again))


def test_a_finished_search_is_not_run_again_and_more_samples_extend_it(
    one_at_a_time: dict[str, Any], tmp_path: Path, undisturbed: Folder
) -> None:
    copy_experiment(undisturbed, tmp_path)
    started: list[int] = []
    for samples, expected in ((5, []), (7, [5, 6])):
        started.clear()
        plan = prepare("mine", make_sweep(**{**one_at_a_time, "num_samples": samples}))
        folder = run_experiment(
            plan, tmp_path, lambda record, report: None if report else started.append(record.number)
        )
        assert started == expected
    assert len(read_runs(folder)) == 7 * 2


@pytest.mark.usefixtures("local_ray")
def test_a_run_that_diverges_is_failed_with_its_reason_and_the_search_goes_on(
    values: dict[str, Any], tmp_path: Path
) -> None:
    values["space"] = {"learning_rate": {"choice": [5e-3, 1e30]}}
    folder = run_experiment(prepare("mine", make_sweep(**{**values, "num_samples": 2})), tmp_path)
    failed = read_runs(folder).filter(pl.col("learning_rate") == 1e30)
    assert failed["state"].to_list() == ["failed", "failed"]
    assert all(error.startswith("step ") for error in failed["error"])
    assert set(read_runs(folder).filter(pl.col("learning_rate") == 5e-3)["state"]) == {"complete"}


def test_no_space_left_in_the_middle_is_said_and_after_room_is_made_nothing_is_lost(
    one_at_a_time: dict[str, Any], tmp_path: Path, undisturbed: Folder
) -> None:
    plan = prepare("mine", make_sweep(**{**one_at_a_time, "num_samples": 4}))
    ledger = tmp_path / "mine" / "ledger.jsonl"

    def fill_the_disk(record: TrialRecord, report: object) -> None:
        if record.number == 2 and not ledger.with_suffix(".kept").exists():
            ledger.rename(ledger.with_suffix(".kept"))
            ledger.symlink_to("/dev/full")

    with pytest.raises(InputError, match="no space left for"):
        run_experiment(plan, tmp_path, fill_the_disk)
    ledger.with_suffix(".kept").replace(ledger)
    folder = run_experiment(plan, tmp_path)
    assert len(read_runs(folder)) == 4 * 2
    first = read_runs(undisturbed).filter(pl.col("trial_number") < 4)
    assert read_runs(folder).drop(MEASURED).sort("run_id").equals(first.drop(MEASURED).sort("run_id"))


@pytest.mark.usefixtures("preloaded_commands")
def test_a_killed_search_goes_on_with_the_same_command(
    one_at_a_time: dict[str, Any], tmp_path: Path, undisturbed: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(one_at_a_time))
    copy_experiment(undisturbed, tmp_path / "undisturbed")
    kill_driver.main(str(file), str(tmp_path), times="1", longest_life="0", event="end")
    printed = capsys.readouterr().out
    assert "after 1 kills: the same runs, numbers and best configuration, no process left over" in printed
    done = int(re.findall(r"killed 1 times, (\d) trials have ended", printed)[0])
    assert 0 < done < 5
    output = (tmp_path / "output.txt").read_text()
    assert f"{done + 1}/5" in output
    assert "validation" in output and "SPT" in output and "XPE" in output
    folder = tmp_path / "disturbed" / "mine"
    runs = read_runs(folder)
    assert len(runs) == runs["run_id"].n_unique() == 10
    assert list((folder / "checkpoints").glob("*")) == []

    _, best = load_experiment(str(folder / "mine-best.yaml"))
    rerun = read_runs(run_experiment(prepare("mine-best", best), tmp_path / "results"))
    first = runs.filter(pl.col("run_id").is_in(rerun["run_id"].to_list()))
    assert first.sort("seed")["selection_accuracy"].to_list() == rerun.sort("seed")["selection_accuracy"].to_list()

    # one line each, as in the README
    rows = {
        len(pd.read_parquet(folder / "runs")),
        len(pl.read_parquet(folder / "runs")),
        len(duckdb.read_parquet(f"{folder}/runs/*.parquet").df()),
    }
    assert rows == {10}


@pytest.mark.usefixtures("preloaded_commands")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_search_says_how_to_go_on(
    values: dict[str, Any], tmp_path: Path, number: signal.Signals
) -> None:
    values["num_samples"] = 64
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(values))
    process = command("search", str(file), "--storage", str(tmp_path / "results"))
    ledger = tmp_path / "results" / "mine" / "ledger.jsonl"
    deadline = time.monotonic() + 120
    while not (ledger.exists() and '"report"' in ledger.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert "Nothing that was finished is lost: the same command goes on from here: " in output
    assert "Traceback" not in output + errors
    unfinished = [trial for trial, record in read_ledger(ledger.parent).items() if record.state is None]
    assert sorted(file.stem for file in (ledger.parent / "checkpoints").iterdir()) == sorted(unfinished)


@pytest.mark.usefixtures("local_ray", "preloaded_commands")
def test_a_lost_node_takes_no_run_with_it_and_one_that_joins_is_used(values: dict[str, Any], tmp_path: Path) -> None:
    del values["base"]["max_steps"]
    # a worker lives on for a moment after its node, and must not be done by then
    arms = {"first": {"encoder_ratio": 0.0, "max_steps": 20}, "lost": {"encoder_ratio": 1.0, "max_steps": 600}}
    grid = {"kind": "grid", "base": values["base"], "arms": arms, "seeds": [1, 2], "evaluation": values["evaluation"]}
    grid["resources"] = {"cpus_per_trial": 1, "checkpoint_seconds": 0}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(grid))
    marked = mark()
    environment = {**os.environ, "RAY_ADDRESS": "", **marked}
    arguments = [sys.executable, "-m", "tests.cluster.lose_node", str(file), str(tmp_path / "lost")]
    done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert find_left(marked) == []
    assert "lost with its node: " in done.stdout and "the node that joined was used" in done.stdout
    # workers had caches of their own, and what they trained on was sent to them, not read again
    assert (tmp_path / "lost" / "cache").is_dir() and not (tmp_path / "lost" / "cache" / "tokens").exists()
    lost = [event for event in read_events(tmp_path / "lost" / "mine") if event["event"] == "lost"]
    assert lost and all(event["node"] for event in lost)
    run_experiment(prepare("mine", make_sweep(**grid)), tmp_path / "whole")
    compare(tmp_path / "whole" / "mine", tmp_path / "lost" / "mine")


@pytest.mark.usefixtures("local_ray")
def test_a_dry_run_prints_the_plan_and_writes_nothing(values: dict[str, Any], tmp_path: Path, run_here: Run) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(values))
    output = run_here("search", str(file), "--storage", str(tmp_path / "results"), "--dry-run", "--seeds", "1-10")
    words = " ".join(output.split())
    assert "search of 8 configurations, seeds 1, 2, 3, 4, 5, 6, 7 and 3 more" in words
    assert "trials 8 packs of 10 runs: 80 runs in all" in words and "steps 4,800, of" in words
    assert "every trial fits" in words and "storage can be written" in words
    assert not (tmp_path / "results").exists()


def test_the_real_backbone_and_the_embedded_data_search_from_the_command_line(tmp_path: Path) -> None:
    sets = ["max_steps=4", "eval_steps=2", "scheduler.grace_period=2", "batch_size=4", "source_set=eng"]
    sets += ["evaluation.languages=kat_Geor", "evaluation.max_examples=6", "num_virtual_tokens=2"]
    pins = [part for pin in sets for part in ("--set", pin)]
    process = command("search", "quickstart", *pins, "--num-samples", "2", "--storage", str(tmp_path))
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "SPT" in output and "XPE" in output and "16.7" in output
    runs = read_runs(tmp_path / "quickstart")
    assert set(runs["backbone"]) == {"e5-small"} and len(runs) == 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--set", "learning_rat=1"], "unknown key 'learning_rat'; did you mean 'learning_rate'?"),
        (["--set", "encoder_dropout=1.5"], "encoder_dropout=1.5: input should be less than 1"),
        (["--set", "num_virtual_tokens=1"], "leaves no token for one half of DUAL"),
        (["--set", "evaluation.languages=Georgien"], "unknown language 'Georgien'; did you mean 'kat_Geor'?"),
        (["--set", "source_set=klingon"], "unknown language 'klingon'"),
        (["--set", "dataset=nowhere"], "dataset 'nowhere' is neither a folder nor a file here"),
        (["--set", "dataset=Nobody/nothing"], "use --set dataset=cldr"),
        (["--set", "backbone=Nobody/nothing"], "use --set backbone=e5-small"),
        (["--set", "max_length=511"], "num_virtual_tokens=4 and max_length=511 need 515 positions; e5-small has 512"),
        (["--seeds", "1..3"], "must look like 1,2 or 1-10"),
        (["--seeds", "1-100000000000"], "at most 1000 seeds"),
        (["--seeds", "3-1"], "ascending"),
        (["--name", "../elsewhere"], "the experiment's name '../elsewhere' holds '/': allowed are letters"),
        (["--name", "n" * 300], "has 300 characters and 300 bytes: allowed are 100"),
        (["--storage", "/dev/null/results", "--dry-run"], "storage /dev/null/results/quickstart cannot be written"),
        (
            ["--set", "batch_size=many"],
            "experiment quickstart: base: batch_size='many': must be a whole number",
        ),
        (["--num-samples", "0"], "num_samples=0"),
        (["--storage", "/dev/null/results"], "storage /dev/null/results/quickstart cannot be written"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], sentence: str, refuse: Refuse) -> None:
    assert sentence in refuse("search", "quickstart", *arguments)


def test_an_unknown_experiment_is_one_sentence(refuse: Refuse) -> None:
    assert "unknown experiment 'quikstart'; shipped are" in refuse("search", "quikstart")


@pytest.mark.parametrize(
    ("language", "split", "old", "new", "sentence"),
    [
        ("eng_Latn", "train", "category", "colour", "train.tsv: no column 'category'; its columns are"),
        ("eng_Latn", "test", "test1\ttravel\t", "test1\ttravel\t \nx\ttravel\t", "test.tsv, line 3: empty text"),
        ("kat_Geor", "test", "\thealth\t", "\tcooking\t", "label 'cooking' is not in"),
        (
            "eng_Latn",
            "train",
            "\thealth\t",
            "\tsports\t",
            "label 'health' of eng_Latn (validation) stands in no train",
        ),
        ("yor_Latn", "test", None, None, "language 'yor_Latn' has no test split"),
    ],
)
def test_a_mistake_in_the_data_is_one_sentence(
    values: dict[str, Any],
    tmp_path: Path,
    refuse: Refuse,
    language: str,
    split: str,
    old: str | None,
    new: str | None,
    sentence: str,
) -> None:
    (tmp_path / "data").mkdir()
    values["base"] |= {"dataset": write_dataset(tmp_path / "data"), "source_set": "eng_Latn"}
    file = tmp_path / "data" / language / f"{split}.tsv"
    if old is None or new is None:
        file.unlink()
    else:
        file.write_text(file.read_text().replace(old, new))
    experiment = tmp_path / "mine.yaml"
    experiment.write_text(yaml.safe_dump(values))
    assert sentence in refuse("search", str(experiment), "--storage", str(tmp_path / "results"))
    assert not (tmp_path / "results").exists()


def test_a_mistake_leaves_no_traceback_and_exit_status_2() -> None:
    process = command("search", "quickstart", "--set", "dataset=nowhere")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert errors.startswith("error: dataset 'nowhere'") and errors.count("\n") == 1 and "Traceback" not in output


@pytest.mark.usefixtures("local_ray")
def test_the_machines_default_experiment_is_said_with_the_way_to_the_other(tmp_path: Path, run_here: Run) -> None:
    output = run_here("search", "--dry-run", "--tflops", "1", "--storage", str(tmp_path))
    assert "There is no GPU: running 'quickstart'" in output
    assert "python sweep/run.py search sib200-dual" in output
