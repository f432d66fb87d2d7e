"""ASHA behind the ledger: which reports count in which rung, also after a trial or the driver was lost."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from sweep.driver.asha import Asha as Scheduler
from sweep.driver.messages import TrialReport
from sweep.driver.searcher import LedgerSearcher
from sweep.experiment.search import Search
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.ledger import TrialRecord
from sweep.records.runs import make_runs
from sweep.records.states import State

GOES_ON, STOPS = TrialScheduler.CONTINUE, TrialScheduler.STOP
SWEEP = Search(
    base={"max_steps": 270},
    space={"learning_rate": {"log_uniform": [1e-4, 1e-2]}},
    scheduler={"grace_period": 10, "reduction_factor": 3},
)
"""Rungs at 10, 30, 90 and 270 steps; of a rung the upper third goes on."""


def make_record(number: int, state: str | None = None, baseline: bool = False, **reports: float) -> TrialRecord:
    """Return a trial with reports such as step10=0.5."""
    config = SWEEP.config(learning_rate=1e-3 * (number + 1))
    record = TrialRecord(f"t{number}", number, baseline, {}, config.values, make_runs([1]))
    record.reports.update({int(name.removeprefix("step")): value for name, value in reports.items()})
    record.state = State(state) if state else None
    return record


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[ExperimentFolder]:
    with closing(ExperimentFolder(tmp_path, SWEEP, {})) as opened:
        yield opened


class Asha:
    """The scheduler of some trials, all of them running but those that have ended."""

    def __init__(self, folder: ExperimentFolder, *records: TrialRecord) -> None:
        searcher = LedgerSearcher(SWEEP, folder, {record.trial_id: record for record in records})
        searcher.trials.update({record.trial_id: record for record in records if record.state is None})
        self.asha = Scheduler({None: SWEEP}, searcher)

    def report(self, record: TrialRecord, step: int, value: float, restored_step: int = 0, kind: str = "") -> str:
        """Report as a worker does: the ledger has it before the scheduler."""
        record.reports[step] = value
        tick, trained = kind == "tick", kind == "trained"
        report = TrialReport(step, restored_step, selection_accuracy=value, tick=tick, trained=trained)
        return self.asha.on_trial_result(None, Trial("stub", trial_id=record.trial_id, stub=True), report.to_wire())

    def complete(self, record: TrialRecord) -> None:
        """End a trial as Tune does: what was reported is in the ledger, and taken out of the result."""
        self.asha.on_trial_complete(None, Trial("stub", trial_id=record.trial_id, stub=True), {})


def test_the_upper_part_of_a_rung_goes_on(folder: ExperimentFolder) -> None:
    records = [make_record(number) for number in range(4)]
    asha = Asha(folder, *records)
    decisions = [asha.report(record, 10, value) for record, value in zip(records, (0.5, 0.4, 0.6, 0.5), strict=True)]
    assert decisions == [GOES_ON, STOPS, GOES_ON, STOPS]
    assert asha.report(records[0], 20, 0.1) == GOES_ON  # no rung
    assert asha.report(records[2], 30, 0.1) == GOES_ON  # the first there
    assert asha.report(records[0], 30, 0.05) == STOPS


def test_the_reports_before_a_resumed_trials_checkpoint_count_in_their_rungs(folder: ExperimentFolder) -> None:
    resumed, other = make_record(0, step10=0.9, step20=0.95), make_record(1)
    asha = Asha(folder, resumed, other)
    assert asha.report(resumed, 30, 0.95, restored_step=20) == GOES_ON
    assert asha.report(other, 10, 0.5) == STOPS  # 0.9 was reported at this rung before the driver was lost


@pytest.mark.parametrize("kind", ["tick", "trained"])
def test_a_trial_that_is_resumed_when_it_is_trained_counts_in_its_rungs(folder: ExperimentFolder, kind: str) -> None:
    resumed, other = make_record(0, step10=0.9, step30=0.95, step270=0.99), make_record(1)
    asha = Asha(folder, resumed, other)
    assert asha.report(resumed, 270, 0.99, restored_step=270, kind=kind) == GOES_ON
    assert asha.report(other, 10, 0.5) == STOPS


def test_a_trial_that_ends_at_once_when_it_is_resumed_counts_in_its_rungs(folder: ExperimentFolder) -> None:
    resumed, other = make_record(0, step10=0.3, step270=0.99), make_record(1)
    asha = Asha(folder, resumed, other)
    asha.complete(resumed)
    assert asha.report(other, 10, 0.2) == STOPS  # 0.3 is there


def test_reports_behind_a_resumed_trials_checkpoint_are_made_anew(folder: ExperimentFolder) -> None:
    resumed, other = make_record(0, step10=0.9), make_record(1)
    asha = Asha(folder, resumed, other)
    # it goes on from a checkpoint of step 5, and has not reached the rung again
    assert asha.report(resumed, 7, 0.2, restored_step=5) == GOES_ON
    assert asha.report(other, 10, 0.5) == GOES_ON


def test_a_checkpoint_of_the_reported_step_holds_that_report(folder: ExperimentFolder) -> None:
    resumed, other = make_record(0, step10=0.9), make_record(1)
    asha = Asha(folder, resumed, other)
    assert asha.report(resumed, 20, 0.1, restored_step=10) == GOES_ON
    assert asha.report(other, 10, 0.5) == STOPS  # 0.9 stands there, and not what was reported since


def test_who_has_passed_a_rung_is_not_judged_at_a_lower_one(folder: ExperimentFolder) -> None:
    late, first = make_record(0), make_record(1)
    asha = Asha(folder, late, first)
    assert asha.report(late, 30, 0.4) == GOES_ON  # its first report, past the rung at 10
    assert asha.report(first, 10, 0.9) == GOES_ON
    assert asha.report(late, 40, 0.1) == GOES_ON


@pytest.mark.parametrize("state", ["complete", "pruned", "failed"])
def test_trials_that_ended_before_the_driver_began_are_in_their_rungs(folder: ExperimentFolder, state: str) -> None:
    ended = make_record(0, state, step10=0.3), make_record(1, state, step10=0.9, step90=0.4, step270=0.95)
    running = make_record(2)
    asha = Asha(folder, *ended, running)
    # two thirds of the way from 0.3 to 0.9 is 0.7
    assert asha.report(running, 10, 0.65) == STOPS
    assert asha.report(running, 270, 0.9) == STOPS


def test_baselines_are_neither_stopped_nor_counted(folder: ExperimentFolder) -> None:
    ended = make_record(0, "complete", baseline=True, step10=0.9)
    baseline, first, second = make_record(1, baseline=True), make_record(2), make_record(3)
    asha = Asha(folder, ended, baseline, first, second)
    assert asha.report(baseline, 10, 0.8) == GOES_ON
    assert asha.report(first, 10, 0.5) == GOES_ON
    assert asha.report(baseline, 30, 0.1) == GOES_ON
    assert asha.report(second, 10, 0.4) == STOPS


@pytest.mark.parametrize("kind", ["tick", "trained"])
def test_news_without_an_evaluation_and_finished_trainings_stop_nothing(folder: ExperimentFolder, kind: str) -> None:
    first, second = make_record(0), make_record(1)
    asha = Asha(folder, first, second)
    assert asha.report(first, 10, 0.5) == GOES_ON
    assert asha.report(second, 10, 0.1, kind=kind) == GOES_ON


def test_the_last_report_of_a_trial_that_ended_by_itself_counts(folder: ExperimentFolder) -> None:
    ended, also_ended, worse = make_record(0, step10=0.1, step90=0.6), make_record(1, step90=0.9), make_record(2)
    asha = Asha(folder, ended, also_ended, worse)
    asha.complete(ended)
    asha.complete(also_ended)
    asha.complete(worse)  # it has reported nothing
    # two thirds of the way from 0.6 to 0.9 is 0.8
    assert asha.report(worse, 90, 0.79) == STOPS


def test_neither_baselines_nor_trials_given_up_before_count_when_they_end(folder: ExperimentFolder) -> None:
    ended, also_ended, running = make_record(0, step90=0.6), make_record(1, step90=0.9), make_record(2)
    baseline = make_record(3, baseline=True, step90=0.99)
    asha = Asha(folder, ended, also_ended, running, baseline)
    for record in (ended, also_ended, baseline, make_record(4, step90=1.0)):
        asha.complete(record)
    assert asha.report(running, 90, 0.81) == GOES_ON
