"""How many seeds train together where memory decides."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweep.analysis import read_evaluations, read_runs
from sweep.cluster.capacity import Share
from sweep.driver.tuner import run_experiment
from sweep.experiment.config import make_sweep
from sweep.planning.packing import count_fitting, even_size, keep_longest, size_packs
from sweep.planning.plan import Plan, prepare
from tests.conftest import ONE_THREAD
from xpe_core.config import RunConfig
from xpe_core.data.tokens import load_tokens


def make_plan(values: dict[str, Any], size: Any) -> Plan:
    arms = {"spt": {"encoder_ratio": 0.0}, "xpe": {"encoder_ratio": 1.0}}
    base = {**values["base"], "max_steps": 20, "eval_steps": 20}
    grid = {"kind": "grid", "base": base, "arms": arms, "seeds": "1-4", "evaluation": values["evaluation"]}
    return prepare("table", make_sweep(**grid, resources={**ONE_THREAD, "seeds_per_trial": size}))


def test_what_fits_is_the_first_run_and_as_many_more_as_the_rest_of_the_memory_takes() -> None:
    # 85 % of 1,000 are 850: the first run takes 400, each other one 100
    assert count_fitting(400, 500, 1000) == 5
    assert count_fitting(400, 400, 1000) > 100
    assert count_fitting(2000, 2500, 1000) == 1


@pytest.mark.parametrize(
    ("num_runs", "most", "expected"), [(10, 10, 10), (10, 99, 10), (10, 4, 4), (10, 6, 5), (3, 1, 1)]
)
def test_packs_are_of_nearly_the_same_size(num_runs: int, most: int, expected: int) -> None:
    assert even_size(num_runs, most) == expected


def test_memory_is_measured_on_the_longest_texts(base: dict[str, Any]) -> None:
    config = RunConfig(**base)
    data = load_tokens(config.data.dataset, config.backbone, config.data.max_length)
    train = data.select(("deu_Latn", "eng_Latn"), "train")
    kept = keep_longest(data, config)
    left = kept.select(("deu_Latn", "eng_Latn"), "train")
    assert sorted(data.lengths[left]) == sorted(data.lengths[train])[-config.training.batch_size :]
    assert np.array_equal(kept.select(("eng_Latn",), "validation"), data.select(("eng_Latn",), "validation"))


@pytest.mark.usefixtures("local_ray")
def test_packs_of_measured_size_give_the_numbers_of_whole_ones(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = Share(cpus=1, gpus=0.0)
    assert size_packs(make_plan(values, None), share).pack_size == 4
    assert size_packs(make_plan(values, "auto"), share).pack_size == 4  # this machine has memory for all
    in_whole = run_experiment(make_plan(values, None), tmp_path / "whole")
    # a node that seems to have no more than what three runs need
    monkeypatch.setattr(
        "sweep.planning.packing._measure", lambda plan, config, share, runs: (1000, 250 + 300 * (runs - 1))
    )
    in_parts = run_experiment(make_plan(values, "auto"), tmp_path / "auto")
    whole, measured = read_runs(in_whole), read_runs(in_parts)
    assert (set(whole["num_runs_in_pack"]), set(measured["num_runs_in_pack"])) == ({4}, {2})
    order, columns = ["arm", "seed"], ["run_id", "selection_accuracy", "validation_accuracy", "best_step"]
    assert measured.sort(order).select(columns).equals(whole.sort(order).select(columns))
    rows = [read_evaluations(folder).sort("run_id", "split", "language") for folder in (in_whole, in_parts)]
    assert rows[0].drop("loss").equals(rows[1].drop("loss"))
