"""The two tables of one experiment, and the best of its configurations."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from sweep.analysis.metrics import choose_metric, of_metric
from sweep.experiment.config import SweepConfig
from sweep.experiment.study import Study
from sweep.records.ledger import read_ledger
from sweep.records.parquet import read_rows
from sweep.records.ranking import Candidate, asked_config_ids, rank_candidates
from sweep.records.stages import Stage
from sweep.records.states import State
from sweep.records.winners import find_winner
from sweep.storage import Folder, Location
from xpe_core.config import RunConfig
from xpe_core.errors import InputError


@dataclass(frozen=True)
class Best:
    """The configuration with the highest selection accuracy, over all or of one method."""

    config_id: str
    method: str
    selection_accuracy: float
    num_seeds: int
    num_failed: int


def read_runs(location: Location) -> pl.DataFrame:
    """Return the table `runs` of an experiment; InputError where there is none."""
    return _read(location, "runs")


def read_evaluations(location: Location, metric: str | None = None) -> pl.DataFrame:
    """Return an experiment's table `evaluations`, of one metric (default: the task's first), with `score` in [0, 1]."""
    table = _read(location, "evaluations")
    return of_metric(table, choose_metric(table["metric"].unique().to_list(), metric))


def find_best(runs: pl.DataFrame, method: str | None = None) -> Best | None:
    """Return the first of `rank_configurations`, or None."""
    return next(iter(rank_configurations(runs, method)), None)


def rank_configurations(runs: pl.DataFrame, method: str | None = None) -> list[Best]:
    """Return the configurations of finished runs, the best by selection accuracy first: `ranking.rank_candidates`.

    `runs` are those that the experiment asks for: `asked_runs`.
    """
    of_method = runs if method is None else runs.filter(pl.col("method") == method)
    configurations = (
        of_method.sort("trial_number", maintain_order=True)
        .group_by("config_id", "method", maintain_order=True)
        .agg(
            scores=pl.col("selection_accuracy").filter(pl.col("state") == State.COMPLETE),
            num_failed=(pl.col("state") == State.FAILED).sum(),
        )
    )
    methods = dict(configurations.select("config_id", "method").iter_rows())
    rows = configurations.drop("method").iter_rows()
    ranked = rank_candidates(Candidate(config_id, tuple(scores), failed) for config_id, scores, failed in rows)
    return [
        Best(one.subject, methods[one.subject], one.score, len(one.scores) + one.num_failed, one.num_failed)
        for one in ranked
    ]


def first_error(runs: pl.DataFrame) -> str:
    """Return the last line of the first failed run's error, or that there is none."""
    errors = runs.sort("trial_number").drop_nulls("error")["error"]
    return errors[0].strip().splitlines()[-1] if len(errors) else "none failed, all were pruned"


def asked_runs(runs: pl.DataFrame, sweep: SweepConfig) -> pl.DataFrame:
    """Return the runs that an experiment asks for now, as it may have had fewer steps, or other arms, before."""
    asked = asked_config_ids(sweep)
    runs = runs.filter(pl.col("adapted_to").is_null())  # a target's runs are judged on that target alone
    if "stage" in runs.columns:
        runs = runs.filter(pl.col("stage").is_null() | (pl.col("stage") != Stage.SEARCH))
    if asked is not None:
        return runs.filter(pl.col("config_id").is_in(sorted(asked)))
    return runs.filter(pl.col("max_steps") == sweep.longest) if "max_steps" in sweep.base else runs


def best_experiment(location: Location, sweep: SweepConfig) -> dict[str, object] | None:
    """Return a search's best configuration as an experiment of its own with every value spelt out, None without one."""
    if sweep.kind != "search":
        return None
    runs = asked_runs(read_runs(location), sweep)
    best = find_best(runs)
    if best is None:
        return None
    row = runs.filter(pl.col("config_id") == best.config_id).row(0, named=True)
    return single_experiment(RunConfig.from_row(row), sweep, sweep.seeds)


def winning_experiments(location: Location, study: Study) -> dict[str, dict[str, object]]:
    """Return the winner of each method whose search has one as an experiment of its own, on the fresh seeds."""
    records = read_ledger(location).values()
    winners = {method: find_winner(study, records, method) for method in study.methods}
    return {
        method: single_experiment(config, study, study.replication_seeds)
        for method, config in winners.items()
        if config is not None
    }


def single_experiment(config: RunConfig, sweep: SweepConfig, seeds: Sequence[int]) -> dict[str, object]:
    """Return one configuration of an experiment as a search of its own, with every value spelt out."""
    values = sweep.model_dump(mode="json")
    scheduler: dict[str, object] = {}
    if sweep.kind == "search":
        grace_period = min(sweep.scheduler.grace_period, config.training.max_steps)
        scheduler = {"scheduler": {**values["scheduler"], "grace_period": grace_period}}
    return {
        "kind": "search",
        "base": config.settings,
        "num_samples": 1,
        "seeds": list(seeds),
        **scheduler,
        "evaluation": values["evaluation"],
        **({"groups": values["groups"]} if sweep.groups else {}),
    }


def _read(location: Location, table: str) -> pl.DataFrame:
    rows = read_rows(Folder(location), table)
    if rows is None:
        raise InputError(f"{location} holds no results yet (no file {table}/*.parquet)")
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    return frame
