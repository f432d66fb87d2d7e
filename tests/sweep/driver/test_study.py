"""A study with a real Ray: searches in turns, winners on fresh seeds, and the same numbers whenever it is stopped."""

from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from rich.console import Console

from sweep.analysis import read_evaluations, read_runs
from sweep.analysis.report_data import read_report_data
from sweep.commands.running import print_end
from sweep.driver.messages import TrialReport
from sweep.driver.stopping import Stopped
from sweep.driver.tuner import run_experiment
from sweep.experiment.config import make_sweep
from sweep.experiment.search import Search
from sweep.experiment.study import Study
from sweep.planning.plan import prepare
from sweep.records.adapters import kept_run_ids
from sweep.records.experiment_folder import request_stop
from sweep.records.ledger import TrialRecord, read_ledger
from sweep.records.stages import Stage
from sweep.records.winners import find_winners
from sweep.storage import Folder
from tests.cluster.experiment import make_study
from tests.sweep.test_end_to_end import MEASURED

pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.fixture(scope="module")
def study(dataset: str, backbone: str) -> Study:
    from tests.conftest import make_search_in_order

    values = make_study(make_search_in_order(dataset, backbone))
    sweep = make_sweep(**{**values, "seeds": [1], "budget": {"trials": 2}})
    assert isinstance(sweep, Study)
    return sweep


@pytest.fixture(scope="module")
def whole(study: Study, cache_folder: Path, local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return run_experiment(prepare("mine", study), tmp_path_factory.mktemp("study"))


def test_only_what_is_run_on_fresh_seeds_is_tested_and_kept(study: Study, whole: Folder) -> None:
    records, runs = read_ledger(whole).values(), read_runs(whole)
    fresh = {run_id for one in records if one.stage == Stage.REPLICATION for run_id in one.run_ids}
    tested = read_evaluations(whole).filter(pl.col("split") == "test")
    assert set(tested["run_id"]) == fresh == kept_run_ids(whole)
    assert set(runs.filter(pl.col("stage") == "search")["run_id"]).isdisjoint(fresh)
    winners = find_winners(study, list(records), study.methods)
    assert set(winners) <= {"head", "low", "low default", "soft"} and {"head", "low", "soft"} <= set(winners)
    assert len(fresh) == 2 * len(winners)


def test_a_study_is_reported_by_its_winners(whole: Folder) -> None:
    data = read_report_data([whole])
    assert data.study is not None and {"head", "low", "soft"} <= set(data.results.arms)
    assert data.study.methods["num_trials"].to_list() == [2, 2, 2]
    assert all(hours > 0 for hours in data.study.methods["device_hours"])


def test_what_is_said_at_the_end_names_the_study_and_each_winners_file(study: Study, whole: Folder) -> None:
    output = StringIO()
    print_end(Console(file=output, width=200), prepare("mine", study), whole, " --storage there")
    said = output.getvalue()
    for command in ("report mine --format html", "export mine --to FOLDER", f"search {whole}/mine-low.yaml"):
        assert f"python sweep/run.py {command} --storage there\n" in said


def test_each_winner_is_a_file_that_runs_it_again(study: Study, whole: Folder) -> None:
    records = read_ledger(whole).values()
    for method in study.methods:
        content = whole.read(f"mine-{method}.yaml")
        assert content is not None
        again = make_sweep(**yaml.safe_load(content))
        assert isinstance(again, Search) and again.seeds == study.replication_seeds
        assert again.config() == find_winners(study, list(records), [method])[method].with_seed(1)


def test_a_study_that_is_stopped_in_both_stages_ends_with_the_same_numbers(
    study: Study, whole: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.driver.recorder.POLL_SECONDS", 0.0)  # the last trials end within two seconds
    plan, folder = prepare("mine", study), Folder(tmp_path) / "mine"
    for number in (1, 4, 7):
        with pytest.raises(Stopped):
            run_experiment(plan, tmp_path, partial(_stop_at, folder, number))
    run_experiment(plan, tmp_path)
    order = ["run_id", "split", "language"]
    assert read_runs(folder).drop(MEASURED).sort("run_id").equals(read_runs(whole).drop(MEASURED).sort("run_id"))
    assert read_evaluations(folder).sort(order).equals(read_evaluations(whole).sort(order))


def _stop_at(folder: Folder, number: int, record: TrialRecord, report: TrialReport | None) -> None:
    """Ask for the end at a trial's first evaluation."""
    if report is not None and not report.tick and record.number == number:
        request_stop(folder)


def test_a_method_that_is_added_runs_nothing_twice(study: Study, whole: Folder, tmp_path: Path) -> None:
    values: dict[str, Any] = study.model_dump(exclude_unset=True)
    first = make_sweep(**{**values, "methods": {name: study.methods[name] for name in ("head", "low")}})
    run_experiment(prepare("mine", first), tmp_path)
    before = read_runs(Folder(tmp_path) / "mine")
    run_experiment(prepare("mine", study), tmp_path)
    after = read_runs(Folder(tmp_path) / "mine")
    assert after["run_id"].is_unique().all() and set(before["run_id"]) < set(after["run_id"])
    kept = after.filter(pl.col("run_id").is_in(before["run_id"].to_list()))
    assert kept.sort("run_id").equals(before.sort("run_id"))
    assert set(after["run_id"]) == set(read_runs(whole)["run_id"])
