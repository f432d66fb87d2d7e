"""What is checked before anything starts."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweep.analysis import read_runs
from sweep.cluster.versions import NodeMismatch, check_versions, package_versions
from sweep.driver.tuner import run_experiment
from sweep.experiment.config import make_sweep
from sweep.planning.checks import check_room, check_start, estimate_bytes
from sweep.planning.plan import prepare
from sweep.storage import Folder
from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.errors import InputError
from xpe_core.pack import Pack, count_trained_parameters


def test_the_room_that_is_asked_for_is_more_than_what_is_written_and_less_than_a_hundred_times_that(
    one_at_a_time: dict[str, Any], tmp_path: Path, undisturbed: Folder
) -> None:
    plan = prepare("mine", make_sweep(**one_at_a_time))
    needed = estimate_bytes(plan, Folder(tmp_path) / "mine", num_running=1)
    written = sum(file.stat().st_size for file in Path(str(undisturbed)).rglob("*") if file.is_file())
    assert written < needed < 100 * written
    assert estimate_bytes(plan, undisturbed, num_running=1) == 0  # nothing is left to be run


def test_a_storage_without_room_is_refused_before_anything_starts(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = prepare("mine", make_sweep(**values))
    check_room(plan, Folder(tmp_path) / "mine", num_running=1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match="has 0.0 MiB left and the experiment may need 0.. MiB: make room"):
        check_room(plan, Folder(tmp_path) / "mine", num_running=1)


@pytest.mark.usefixtures("local_ray")
def test_a_start_is_checked_as_a_dry_run_is(values: dict[str, Any], tmp_path: Path) -> None:
    sweep = make_sweep(**{**values, "resources": {"gpus_per_trial": 2}})
    for start in (check_start, lambda plan, folder: run_experiment(plan, tmp_path)):
        with pytest.raises(InputError, match="no node can give a trial 1 CPUs and 2 GPUs"):
            start(prepare("mine", sweep), Folder(tmp_path) / "mine")


def test_a_node_with_other_versions_is_named_with_the_difference() -> None:
    here = package_versions()
    check_versions("there", here, here)
    others = {**here, "torch": "1.0"}
    del others["ray"]
    with pytest.raises(NodeMismatch, match=r"node there has other versions: ray missing \(here .*\), torch 1.0 \(here"):
        check_versions("there", others, here)


@pytest.mark.usefixtures("local_ray")
def test_a_worker_with_other_versions_ends_the_experiment_and_nothing_is_counted(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = prepare("mine", make_sweep(**{**values, "num_samples": 2}))
    with monkeypatch.context() as patch:
        patch.setattr("sweep.driver.tuner.package_versions", lambda: {**package_versions(), "torch": "9.9"})
        with pytest.raises(InputError, match=r"other versions: torch .*\(here 9.9\).*start the same command again"):
            run_experiment(plan, tmp_path)
    assert len(read_runs(run_experiment(plan, tmp_path))) == 4


def test_trained_parameters_are_counted_without_making_them(base: dict[str, Any]) -> None:
    for ratio in (0.0, 0.5, 1.0):
        config = RunConfig(**{**base, "encoder_ratio": ratio})
        backbone = load_backbone(config.backbone)
        made = Pack(backbone, [config], 3).run_parameters(0).values()
        counted = count_trained_parameters(config, backbone.shape, 3)
        assert counted == sum(parameter.numel() for parameter in made)
