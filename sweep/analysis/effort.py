"""What mattered and what it cost: hyperparameter importance, learning curves, rungs, hours; all out of the ledger.

A trial's hours are those between its proposal and its end in which a driver was at work. A *device* is what one trial
has to itself: a GPU, a share of one, or the machine's CPUs.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from sweep.analysis.results import Experiment
from sweep.analysis.rows import table_of
from sweep.analysis.stored_experiment import read_records
from sweep.experiment.search import Search
from sweep.records.events import trial_of
from sweep.records.ledger import TrialRecord, read_events, read_usage
from sweep.records.ranking import rank_trials
from sweep.records.stages import Stage
from sweep.records.states import State
from sweep.records.winners import search_records

MIN_TRIALS = 4
"""Complete trials below which nothing is said of importance."""
IMPORTANCE_SCHEMA = {
    "experiment": pl.String,
    "field": pl.String,
    "importance": pl.Float64,
    "num_trials": pl.Int64,
}


@dataclass(frozen=True)
class CurveRow:
    """A trial at one of its reports."""

    experiment: str
    trial_id: str
    trial_number: int
    config_id: str
    arm: str | None
    """Of a grid."""
    method: str
    state: str | None
    """None before its end."""
    step: int
    score: float
    """Selection accuracy, the mean over the trial's runs."""
    is_last: bool
    """Whether the trial reported nothing later: with state `pruned` it was stopped here."""


@dataclass(frozen=True)
class RungRow:
    """What happened at a rung of a search."""

    experiment: str
    step: int
    """Of the rung; the last is the full length."""
    num_reached: int
    """Trials that reported there or later."""
    num_stopped: int
    """Those that were stopped before the next rung."""
    best: float | None
    """Score at the first report at or after the rung, as the median."""
    median: float | None


@dataclass(frozen=True)
class CostRow:
    """What an experiment took."""

    experiment: str
    num_trials: int
    hours: float
    """With a driver at work; of one of several panels the share that its trials have in the hours of all."""
    device_hours: float
    """Trials' hours."""
    gpu_hours: float
    """As measured; 0 without GPUs."""
    best: str | None
    """config_id, by selection accuracy."""
    best_device_hours: float | None
    num_stopped: int
    saved_device_hours: float
    """What the stopped trials' other steps would have taken at each one's own pace, their tests not counted."""
    saved_share: float
    """Of what it would all have taken."""


def importances(experiments: Sequence[Experiment]) -> pl.DataFrame:
    """Return how much each searched field mattered for the selection accuracy of complete trials, most first.

    Columns: experiment, field, importance (adding up to 1), num_trials. Optuna's default evaluator, PED-ANOVA (Watanabe
    et al. 2023, arXiv:2304.10255), on the study as proposals rebuild it; SPT and XPE beside the search are not of its
    space. A search with fewer than MIN_TRIALS complete trials is absent.
    """
    rows: list[tuple[str, str, float, int]] = []
    for name, search, records in _searches(experiments):
        import optuna  # slow to import, as is torch, and only searches need them

        from sweep.records.study import build_study

        study = build_study(search, {record.trial_id: record for record in records})
        complete = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
        if len(complete) >= MIN_TRIALS and len({trial.value for trial in complete}) > 1:
            found = optuna.importance.get_param_importances(study)
            rows += [(name, field, value, len(complete)) for field, value in found.items()]
    return pl.DataFrame(rows, schema=IMPORTANCE_SCHEMA, orient="row")


def learning_curves(experiments: Sequence[Experiment]) -> pl.DataFrame:
    """Return every trial's selection accuracy by step, and where it was stopped, a `CurveRow` each.

    Trials on a target of a transfer are left out: they are chosen by another language each.
    """
    rows = []
    for name, records in _trials(experiments):
        for record in records:
            if record.runs[0].adapted_to is not None:
                continue
            config = record.run_config
            last = max(record.reports, default=0)
            for step, score in sorted(record.reports.items()):
                rows.append(
                    CurveRow(
                        experiment=name,
                        trial_id=record.trial_id,
                        trial_number=record.number,
                        config_id=config.config_id,
                        arm=record.arm,
                        method=config.method,
                        state=record.state,
                        step=step,
                        score=score,
                        is_last=step == last,
                    )
                )
    return table_of(CurveRow, rows)


def rungs(experiments: Sequence[Experiment], curves: pl.DataFrame) -> pl.DataFrame:
    """Return, of `learning_curves`, what happened at each of a search's rungs, a `RungRow` each.

    SPT and XPE, which are never stopped, are counted, too. Source: ASHA, arXiv:1810.05934.
    """
    rows: list[RungRow] = []
    for name, search, _ in _searches(experiments):
        own = curves.filter(pl.col("experiment") == name)
        steps = _rung_steps(search)
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            reached = own.filter(pl.col("step") >= step)
            first = reached.sort("step").group_by("trial_id", maintain_order=True).first()
            ended = reached.filter(pl.col("is_last") & (pl.col("state") == State.PRUNED))
            if following is not None:
                ended = ended.filter(pl.col("step") < following)
            best, median = first.select(best=pl.max("score"), median=pl.median("score")).row(0)
            rows.append(RungRow(name, step, len(first), len(ended), best, median))
    return table_of(RungRow, rows)


def costs(experiments: Sequence[Experiment]) -> pl.DataFrame:
    """Return what experiments took, what their best configuration took, and what early stopping saved: `CostRow`."""
    rows: list[CostRow] = []
    for one in experiments:
        records = read_records(one)
        every = trial_hours(one)
        hours = {trial_id: value for trial_id, value in every.items() if trial_id in records}
        usage = read_usage(one.folder)
        best = next(iter(rank_trials(one.sweep, records.values())), None)
        stopped = [record for record in records.values() if record.state == State.PRUNED and record.reports]
        saved = sum(hours[record.trial_id] * _left(record) for record in stopped)
        total = sum(hours.values())
        share = total / sum(every.values()) if one.panel is not None and total else 1.0
        of_best = [hours[r.trial_id] for r in records.values() if best and r.config_id == best.subject]
        rows.append(
            CostRow(
                experiment=one.name,
                num_trials=len(records),
                hours=usage.hours * share,
                device_hours=total,
                gpu_hours=usage.gpu_hours * share,
                best=best.subject if best else None,
                best_device_hours=sum(of_best) if best else None,
                num_stopped=len(stopped),
                saved_device_hours=saved,
                saved_share=saved / (total + saved) if total else 0.0,
            )
        )
    return table_of(CostRow, rows)


def trial_hours(one: Experiment) -> dict[str, float]:
    """Return the hours that each trial of an experiment took, without those in which no driver was at work."""
    seconds: dict[str, float] = defaultdict(float)
    since: dict[str, float] = {}
    started: float | None = None
    for event in read_events(one.folder):
        trial_id = trial_of(event)
        if event["event"] == "start":
            since = {}  # what was running is started again: its next event counts from here
            started = event["time"]
        if trial_id is None:
            continue
        if event["event"] != "suggested":
            seconds[trial_id] += event["time"] - since.get(trial_id, started or event["time"])
        seconds.setdefault(trial_id, 0.0)
        since[trial_id] = event["time"]
    return {trial_id: value / 3600 for trial_id, value in seconds.items()}


def _searches(experiments: Sequence[Experiment]) -> Iterator[tuple[str, Search, list[TrialRecord]]]:
    """Yield the searches among experiments with their trials; those of a study's methods under `STUDY: METHOD`."""
    for one in experiments:
        records = read_records(one).values()
        if one.study is not None:
            for method, search in one.study.searches.items():
                yield name_search_of(one.name, method), search, search_records(records, method)
        elif isinstance(one.sweep, Search):
            yield one.name, one.sweep, list(records)


def _trials(experiments: Sequence[Experiment]) -> Iterator[tuple[str, list[TrialRecord]]]:
    """Yield the trials of experiments; those of a study's searches apart from those on fresh seeds."""
    for one in experiments:
        records = list(read_records(one).values())
        yield one.name, [record for record in records if record.stage != Stage.SEARCH]
        for method in one.study.methods if one.study else ():
            yield name_search_of(one.name, method), search_records(records, method)


def name_search_of(study: str, method: str) -> str:
    """Return what tables call the search of a study's method."""
    return f"{study}: {method}"


def _left(record: TrialRecord) -> float:
    """Return what a stopped trial had left, in units of what it had done."""
    done = max(record.reports)
    return record.run_config.training.max_steps / done - 1


def _rung_steps(sweep: Search) -> list[int]:
    """Return the steps of ASHA's rungs and of the end."""
    scheduler, longest = sweep.scheduler, sweep.longest
    steps, step = [], float(scheduler.grace_period)
    while step < longest:
        steps.append(round(step))
        step *= scheduler.reduction_factor
    return [*steps, longest]
