"""Grids and replications: exactly the runs that were asked for."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sweep.analysis import find_best, read_runs
from sweep.driver.tuner import run_experiment
from sweep.experiment.arms import Replication
from sweep.experiment.config import make_sweep
from sweep.experiment.files import load_experiment
from sweep.planning.plan import prepare
from sweep.planning.replication import fresh_seeds, resolve_replication
from sweep.records.ledger import read_events, read_ledger
from sweep.storage import Folder
from tests.conftest import ONE_THREAD, copy_experiment, make_search
from tests.sweep.test_end_to_end import MEASURED
from xpe_core.errors import InputError


@pytest.fixture
def grid(values: dict[str, Any]) -> dict[str, Any]:
    return make_grid(values)


@pytest.fixture(scope="module")
def table(
    dataset: str, backbone: str, cache_folder: Path, local_ray: None, tmp_path_factory: pytest.TempPathFactory
) -> Folder:
    """Run the grid; change a copy of its folder only."""
    plan = prepare("table", make_sweep(**make_grid(make_search(dataset, backbone))))
    return run_experiment(plan, tmp_path_factory.mktemp("grid"))


def make_grid(values: dict[str, Any]) -> dict[str, Any]:
    """Return a grid of two arms, two source sets and three seeds."""
    base = {**values["base"], "max_steps": 10, "eval_steps": 5}
    del base["source_set"]
    return {
        "kind": "grid",
        "base": base,
        "arms": {"spt": {"encoder_ratio": 0.0}, "xpe": {"encoder_ratio": 1.0}},
        "source_sets": ["eng_Latn", ["eng_Latn", "deu_Latn"]],
        "seeds": [1, 2, 3],
        "evaluation": values["evaluation"],
        "resources": ONE_THREAD,
    }


def test_a_grid_runs_every_cell_once_and_more_seeds_extend_it(
    grid: dict[str, Any], table: Folder, tmp_path: Path
) -> None:
    runs = read_runs(table)
    cells = set(runs.select("arm", "source_set", "seed").iter_rows())
    sets = ("eng_Latn", "eng_Latn,deu_Latn")
    assert cells == {(arm, name, seed) for arm in ("spt", "xpe") for name in sets for seed in (1, 2, 3)}
    assert len(runs) == 12 and set(runs["state"]) == {"complete"}
    copy_experiment(table, tmp_path)
    folder = run_experiment(prepare("table", make_sweep(**{**grid, "seeds": "1-4"})), tmp_path)
    more = read_runs(folder)
    assert len(more) == more["run_id"].n_unique() == 16
    assert [record.number for record in read_ledger(folder).values()] == list(range(8))  # nothing is run twice
    suggested = [event["trial_id"] for event in read_events(folder) if event["event"] == "suggested"]
    assert len(suggested) == len(set(suggested)) == 8
    assert more.filter(pl.col("seed") < 4).drop(MEASURED).sort("run_id").equals(runs.drop(MEASURED).sort("run_id"))


def test_a_learning_rate_of_a_million_fails_one_arms_runs_and_no_other(
    grid: dict[str, Any], table: Folder, tmp_path: Path
) -> None:
    hot = {**grid, "arms": {**grid["arms"], "hot": {"encoder_ratio": 1.0, "learning_rate": 1e6}}}
    folder = run_experiment(prepare("hot", make_sweep(**hot)), tmp_path)
    runs = read_runs(folder).sort("run_id")
    assert dict(runs.group_by("arm").agg(pl.col("state").unique().first()).iter_rows()) == {
        "hot": "failed",
        "spt": "complete",
        "xpe": "complete",
    }
    failed = runs.filter(pl.col("arm") == "hot")
    assert all(error.startswith("step ") and "loss nan" in error for error in failed["error"])
    expected = read_runs(table).sort("run_id")
    columns = ["run_id", "state", "selection_accuracy", "validation_accuracy", "best_step"]
    assert runs.filter(pl.col("arm") != "hot").select(columns).equals(expected.select(columns))


def test_the_published_table_is_120_runs_and_90_in_the_other_arm() -> None:
    _, sweep = load_experiment("table1")
    runs = [
        (arm, config, seed) for (arm, _), config in zip(sweep.cells, sweep.corners, strict=True) for seed in sweep.seeds
    ]
    of_a = [run for run in runs if not run[0].endswith("_c")]
    assert (len(of_a), len(runs) - len(of_a)) == (120, 90)
    assert {config.values["encoder_prompt_learning_rate"] for arm, config, _ in runs if arm.endswith("_c")} == {5e-3}
    assert {config.values["encoder_prompt_learning_rate"] for _, config, _ in of_a} == {5e-5}
    assert {config.training.max_steps for _, config, _ in runs} == {24_000}
    assert len({config.with_seed(seed).run_id for _, config, seed in runs}) == 210


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": {}}, "arms is missing"),
        ({"arms": {"a": {"encoder_ratio": 0}, "b": {"encoder_ratio": 0.0}}}, "arms.a and arms.b are the same"),
        ({"arms": {"a": {"encoder_rato": 0}}}, "unknown key 'encoder_rato'; did you mean 'encoder_ratio'"),
        ({"arms": {"a": {"max_steps": 3}}}, "max_steps stands in base and in arms.a"),
        ({"arms": {"a": {"source_set": "eng"}}}, "source_set stands in an arm and in source_sets"),
        ({"num_samples": 3}, "num_samples belongs to kind: search, and this is kind: grid"),
        ({"arms": {"a": {"encoder_ratio": 7}}}, "arms.a: encoder_ratio=7"),
    ],
)
def test_a_mistake_in_a_grid_is_said(grid: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_sweep(**{**grid, **changes})


def test_a_replication_runs_the_best_beside_spt_and_xpe_on_fresh_seeds(undisturbed: Folder, tmp_path: Path) -> None:
    copy_experiment(undisturbed, tmp_path)
    source = read_runs(undisturbed)
    assert fresh_seeds("mine", tmp_path) == "3-12"
    sweep = resolve_replication(Replication(kind="replicate", of="mine", top=1, seeds=(3, 4)), tmp_path)
    best = find_best(source)
    assert best is not None and sweep.corners[0].config_id == best.config_id
    assert sorted(config.method for config in sweep.corners) in (["dual", "spt", "xpe"], ["spt", "xpe"])
    assert sweep.evaluation.max_examples == 10
    runs = read_runs(run_experiment(prepare("mine-replication", sweep), tmp_path))
    assert sorted(set(runs["seed"])) == [3, 4] and len(runs) == 2 * len(sweep.corners)
    with pytest.raises(InputError, match="seeds: 2 was used by mine; a replication needs fresh ones, such as 3-12"):
        resolve_replication(Replication(kind="replicate", of="mine", seeds=(2, 3)), tmp_path)


def test_a_replication_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"there is no experiment 'mine' in {tmp_path}"):
        resolve_replication(Replication(kind="replicate", of="mine"), tmp_path)
