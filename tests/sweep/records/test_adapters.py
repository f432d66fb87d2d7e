"""The adapters of finished runs: kept with their results, and exported."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from sweep.analysis import find_best, read_evaluations, read_runs
from sweep.experiment.config import make_sweep
from sweep.records.adapters import find_beaten_runs, keep_adapters, kept_run_ids, read_kept
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.ledger import TrialRecord
from sweep.records.runs import make_runs
from sweep.records.states import State
from sweep.run import app
from sweep.storage import Folder
from tests.conftest import copy_experiment
from xpe_core.adapters import build_classifier, read_adapter
from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.data.tokens import load_tokens
from xpe_core.errors import InputError
from xpe_core.training.evaluation import evaluate


def test_every_finished_run_leaves_the_prompt_and_head_that_its_counts_come_from(undisturbed: Folder) -> None:
    runs, evaluations = read_runs(undisturbed), read_evaluations(undisturbed)
    complete = runs.filter(pl.col("state") == "complete")
    assert kept_run_ids(undisturbed) == set(complete["run_id"])
    for run_id in complete["run_id"].to_list()[:3]:
        row = complete.filter(pl.col("run_id") == run_id).row(0, named=True)
        adapter = read_kept(undisturbed, run_id)
        assert adapter.config.run_id == run_id == adapter.facts["run_id"]
        assert adapter.facts["best_step"] == row["best_step"]
        data = load_tokens(row["dataset"], row["backbone"], row["max_length"])
        model = build_classifier(load_backbone(row["backbone"]), [adapter])
        counts = {
            (split, score.language): score.score_sums["accuracy"]
            for split in ("test", "validation")
            for score in evaluate(model, data, split, ["eng_Latn", "kat_Geor"], 10 if split == "test" else None)[0]
        }
        for one in evaluations.filter(pl.col("run_id") == run_id).iter_rows(named=True):
            assert counts.get((one["split"], one["language"]), one["score_sum"]) == one["score_sum"]


def make_records(config: RunConfig, *trials: tuple[float, str, float, tuple[int, ...]]) -> dict[str, TrialRecord]:
    """Return ended trials of (ratio, state, selection accuracy, seeds)."""
    records = {}
    for number, (ratio, state, value, seeds) in enumerate(trials):
        values = {**config.values, "encoder_ratio": ratio}
        name = f"t{number}"
        records[name] = TrialRecord(
            name, number, False, {}, values, make_runs(seeds), state=State(state), reports={60: value}
        )
    return records


def test_what_is_beaten_are_all_seeds_of_all_configurations_but_the_one_with_the_best_mean() -> None:
    sweep, config = make_sweep(seeds=(1, 2)), RunConfig()
    first, second = (0.0, "complete", 0.6, (1, 2)), (1.0, "complete", 0.7, (1, 2))
    records = make_records(config, first, second, (0.5, "pruned", 0.9, (1, 2)))
    assert find_beaten_runs(sweep, records) == set(records["t0"].run_ids)
    records = make_records(config, first, second, (1.0, "complete", 0.4, (3, 4)))  # a mean of 0.55
    assert find_beaten_runs(sweep, records) == {*records["t1"].run_ids, *records["t2"].run_ids}
    assert find_beaten_runs(sweep, {}) == set()


def test_a_configuration_with_seeds_to_come_is_not_judged_and_a_failed_one_counts_as_nothing() -> None:
    sweep, config = make_sweep(seeds=(1, 2)), RunConfig()
    first = (0.0, "complete", 0.6, (1, 2))
    records = make_records(config, first, (1.0, "complete", 0.7, (1,)))
    assert find_beaten_runs(sweep, records) == set()
    records = make_records(config, first, (1.0, "complete", 0.7, (1,)), (1.0, "failed", 0.0, (2,)))
    assert find_beaten_runs(sweep, records) == {*records["t1"].run_ids, *records["t2"].run_ids}


def test_with_keep_best_only_the_best_so_far_is_there(tmp_path: Path) -> None:
    sweep, config = make_sweep(seeds=(1,), keep="best"), RunConfig()
    records = make_records(
        config, (0.0, "complete", 0.6, (1,)), (0.3, "complete", 0.5, (1,)), (1.0, "complete", 0.7, (1,))
    )
    opened = ExperimentFolder(tmp_path / "x", sweep, {})
    ended: dict[str, TrialRecord] = {}
    for name, expected in (("t0", "t0"), ("t1", "t0"), ("t2", "t2")):
        record = records[name]
        keep_adapters(opened, sweep, ended, record, {record.run_ids[0]: b"content"})
        ended[name] = record
        assert kept_run_ids(opened.folder) == set(records[expected].run_ids)
    opened.close()


def test_what_is_kept_may_change_between_two_starts_and_older_experiments_go_on(
    undisturbed: Folder, one_at_a_time: dict[str, Any], tmp_path: Path
) -> None:
    copy_experiment(undisturbed, tmp_path)
    file = tmp_path / "mine" / "experiment.yaml"
    values = yaml.safe_load(file.read_text())
    assert values.pop("keep") == "all"
    file.write_text(yaml.safe_dump(values))  # as a version wrote it that kept none
    sweep = make_sweep(**{**one_at_a_time, "keep": "none"})
    ExperimentFolder(tmp_path / "mine", sweep, values["fingerprints"]).close()


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    if isinstance(result.exception, InputError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_the_best_run_and_all_its_seeds_are_exported(undisturbed: Folder, tmp_path: Path) -> None:
    storage = str(undisturbed.parent)
    best = find_best(read_runs(undisturbed))
    assert best is not None
    run("export", "mine", "--all-seeds", "--format", "own", "--to", str(tmp_path / "all"), "--storage", storage)
    seeds = {path.name: read_adapter(path) for path in (tmp_path / "all").iterdir()}
    assert sorted(seeds) == ["seed-01", "seed-02"]
    assert {adapter.config.config_id for adapter in seeds.values()} == {best.config_id}
    run("export", "mine", "--best", "--format", "own", "--to", str(tmp_path / "one"), "--storage", storage)
    rows = read_runs(undisturbed).filter(pl.col("config_id") == best.config_id).sort("seed")
    highest = rows.sort("validation_accuracy", descending=True, maintain_order=True)["run_id"][0]
    assert read_adapter(tmp_path / "one").config.run_id == highest
    output = run(
        *("export", "mine", "--run", rows["run_id"][1][:8], "--format", "own"),
        *("--to", str(tmp_path / "two"), "--storage", storage),
    )
    assert "(seed 2)" in output and read_adapter(tmp_path / "two").config.seed == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--run", "zz"], "--run 'zz' is no finished run of mine"),
        (["--run", ""], "--run '' could be"),
        (["--run", "1", "--all-seeds"], "--run names one run"),
        (["--best", "--all-seeds"], "--best is one run"),
        (["--arm", "lora"], "--arm 'lora': no finished run of mine is of it"),
        (["--format", "zip"], "--format zip: must be one of peft, micm, transformers, own"),
    ],
)
def test_a_choice_that_means_nothing_is_refused(
    undisturbed: Folder, tmp_path: Path, options: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run("export", "mine", *options, "--to", str(tmp_path / "x"), "--storage", str(undisturbed.parent))
    assert not (tmp_path / "x").exists()


def test_a_folder_that_is_there_is_not_written_into_and_an_adapter_that_was_not_kept_is_named(
    undisturbed: Folder, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is there already and not empty"):
        run("export", "mine", "--format", "own", "--to", str(tmp_path / "there"), "--storage", str(undisturbed.parent))
    copy_experiment(undisturbed, tmp_path)
    for file in (tmp_path / "mine" / "adapters").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="holds no adapter of run .* it was not kept"):
        run("export", "mine", "--format", "own", "--to", str(tmp_path / "x"), "--storage", str(tmp_path))
    assert not (tmp_path / "x").exists()
