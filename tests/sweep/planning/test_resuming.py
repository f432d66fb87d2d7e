"""What a restart of a study says of what is left, as the ledger has it."""

from pathlib import Path
from typing import Any

import pytest

from sweep.planning.plan import Plan
from sweep.planning.resuming import describe_restart
from sweep.storage import Folder
from tests.making.experiments import run_study
from tests.sweep.experiment.test_study import METHODS, make_study
from xpe_core.config import RunConfig

HEAD = {"head": {**METHODS["head"], "default": {"learning_rate": 0.01}}}
"""A method whose default setting wins, and has no arm of its own then."""


def score(config: RunConfig, code: str) -> float:
    return 0.5


def select(config: RunConfig) -> float:
    return 0.3 + 20 * config.training.learning_rate


def say(folder: Path, most: int | None = None, **values: Any) -> str | None:
    """Return what is said of a study of which so many trials more have been run."""
    study = make_study(**{"seeds": [1], "replication_seeds": [11, 12], "methods": HEAD, **values})
    if most != 0:
        run_study(folder, study, score, select, most)
    return describe_restart(Plan("mine", study, ()), Folder(folder))


def test_a_finished_study_has_nothing_left_also_where_a_default_setting_won(tmp_path: Path) -> None:
    assert say(tmp_path, 2, budget={"trials": 3}) == "2 trials finished earlier are kept; 3 are new"
    done = "4 trials finished earlier are kept; nothing is left to run"
    assert say(tmp_path, budget={"trials": 3}) == done


@pytest.mark.parametrize("budget", [{"steps": 200}, {"device_hours": 0.05}])
def test_of_a_budget_of_steps_or_hours_it_is_said_that_the_searches_go_on(
    tmp_path: Path, budget: dict[str, float]
) -> None:
    assert say(tmp_path, 3, budget=budget) == "3 trials finished earlier are kept; the searches go on"
    assert say(tmp_path, 2, budget=budget) == "5 trials finished earlier are kept; 1 is new"
    assert say(tmp_path, budget=budget) == "6 trials finished earlier are kept; nothing is left to run"


def test_seeds_that_were_added_are_new(tmp_path: Path) -> None:
    say(tmp_path, budget={"trials": 3})
    assert say(tmp_path, 0, budget={"trials": 3}, seeds=[1, 2]) == "4 trials finished earlier are kept; 3 are new"
    more = say(tmp_path, 0, budget={"trials": 3}, replication_seeds=[11, 12, 13])
    assert more == "4 trials finished earlier are kept; 1 is new"
