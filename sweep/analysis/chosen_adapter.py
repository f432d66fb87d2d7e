"""Which trained adapter is meant where an experiment is named, and none of its runs.

There is one rule, for `export`, for what is published as `main`, and for `predict`: of the best configuration, the seed
with the highest validation accuracy on its source languages; of equals the lowest seed. Test accuracy plays no part.
"""

import os
from collections.abc import Mapping

import polars as pl

from sweep.analysis import rank_configurations, read_runs
from sweep.analysis.configurations import asked_runs
from sweep.analysis.stored_experiment import read_experiment
from sweep.experiment.evaluated import HUB
from sweep.experiment.panels import split_panels
from sweep.records.adapters import ADAPTERS, SUFFIX, kept_run_ids
from sweep.records.finding import FILE, find_experiment
from sweep.records.specification import NO_TRAINING
from sweep.records.states import State
from sweep.storage import Folder
from sweep.storage.object_storage import is_object_storage
from xpe_core.errors import InputError
from xpe_core.tunings import METHOD_NAMES

RULE = "the highest validation accuracy on the source languages, of equals the lowest seed"
"""The rule in words, for cards and messages."""


def choose_seed(accuracies: Mapping[int, float | None]) -> int:
    """Return the seed of one configuration that stands for it, given validation accuracies by seed.

    A seed whose accuracy is not known comes last.
    """
    return min(accuracies, key=lambda seed: (-_known(accuracies[seed]), seed))


def choose_adapter(folder: Folder, arm: str | None = None) -> str:
    """Return the run_id of an experiment's adapter: of its best configuration, or of an arm or config_id.

    A run whose adapter is kept goes before one whose adapter is not. InputError where no run is finished.
    """
    return _choose(folder, choose_configuration(folder, arm))


def locate_adapter(source: str, storage: str = "results") -> str:
    """Return where an experiment's adapter lies, `source` as it is where it names no experiment.

    An experiment is named by its folder, or by its name below `storage`; a file, a folder of an adapter, and
    `hub:USER/NAME` are no experiments. InputError where an experiment has no adapter on this machine.
    """
    if source.startswith(HUB) or _is_adapter(source):
        return source
    try:
        folder = find_experiment(storage, source)
    except InputError:
        return source
    run_id = choose_adapter(folder)
    if run_id not in kept_run_ids(folder):
        raise InputError(f"{folder} holds no adapter of its best configuration (run {run_id}): it was not kept")
    if folder.path is None:
        raise InputError(f"{folder} is in object storage: export {source} --storage ... --to FOLDER brings its adapter")
    return str(folder.path / ADAPTERS / f"{run_id}{SUFFIX}")


def choose_runs(folder: Folder, run_id: str | None, all_seeds: bool, arm: str | None) -> pl.DataFrame:
    """Return the rows of the runs that are meant, by seed; InputError where there are none.

    Without a `run_id` (or its first digits) these are of the best configuration, of an `arm` or a config_id if given:
    all of its seeds, or the one that `choose_adapter` chooses.
    """
    if run_id is not None:
        if all_seeds or arm is not None:
            raise InputError("--run names one run; --all-seeds and --arm go without it")
        return _find_run(folder, run_id)
    of_best = choose_configuration(folder, arm)
    return of_best if all_seeds else of_best.filter(pl.col("run_id") == _choose(folder, of_best))


def choose_configuration(folder: Folder, arm: str | None = None) -> pl.DataFrame:
    """Return the finished runs of the best configuration by seed, or of the one of an arm or config_id."""
    sweep = read_experiment(folder).sweep
    _refuse_evaluation(folder)
    runs = asked_runs(read_runs(folder), sweep)
    if arm is not None:
        of_arm = _filter_arm(runs, arm)
        if not len(of_arm.filter(pl.col("state") == State.COMPLETE)):
            raise InputError(f"--arm {arm!r}: no finished run of {folder.name} is of it; {_say_arms(runs)}")
        runs = of_arm
    elif len(panels := split_panels(sweep)) > 1:
        names = ", ".join(panel.name for panel in panels)
        raise InputError(
            f"{folder.name} has no single best configuration: it has several backbones or data sets ({names}), whose "
            f"accuracies do not compare; say which with --arm, or a run with --run ({_say_arms(runs)})"
        )
    if not (ranked := rank_configurations(runs)):
        raise InputError(f"{folder} has no finished run to export")
    if arm is not None and len({best.config_id for best in ranked}) > 1:
        ids = ", ".join(
            f"{row['source_set']}: {row['config_id']}"
            for row in runs.unique("config_id").sort("source_set").iter_rows(named=True)
        )
        raise InputError(f"--arm {arm}: has several configurations; give one of the config_ids ({ids})")
    is_chosen = (pl.col("config_id") == ranked[0].config_id) & (pl.col("state") == State.COMPLETE)
    return runs.filter(is_chosen).sort("seed")


def _filter_arm(runs: pl.DataFrame, arm: str) -> pl.DataFrame:
    """Return the runs of an arm or a config_id; of a search, a method is an arm, as in its report: its best one."""
    of_arm = runs.filter((pl.col("arm") == arm) | (pl.col("config_id").str.starts_with(arm) & bool(arm)))
    if len(of_arm) or not runs["arm"].is_null().all():
        return of_arm
    of_method = runs.filter(pl.col("method") == arm.lower())
    best_by_source_set = [rank_configurations(part)[:1] for part in of_method.partition_by("source_set")]
    return of_method.filter(
        pl.col("config_id").is_in([best.config_id for ranked in best_by_source_set for best in ranked])
    )


def _choose(folder: Folder, of_configuration: pl.DataFrame) -> str:
    """Return the run_id of one configuration's adapter."""
    here = of_configuration.filter(pl.col("run_id").is_in(sorted(kept_run_ids(folder))))
    rows = list((here if len(here) else of_configuration).iter_rows(named=True))
    seed = choose_seed({row["seed"]: row["validation_accuracy"] for row in rows})
    return next(str(row["run_id"]) for row in rows if row["seed"] == seed)


def _find_run(folder: Folder, run_id: str) -> pl.DataFrame:
    _refuse_evaluation(folder)
    runs = read_runs(folder).filter(pl.col("state") == State.COMPLETE)
    found = runs.filter(pl.col("run_id").str.starts_with(run_id))
    if len(found) != 1:
        known = f"could be {', '.join(found['run_id'].to_list()[:5])}" if len(found) else "is no finished run"
        raise InputError(f"--run {run_id!r} {known} of {folder.name}; its table `runs` has the ids")
    return found


def _refuse_evaluation(folder: Folder) -> None:
    if read_experiment(folder).sweep.kind == "evaluate":
        raise InputError(f"{folder.name} {NO_TRAINING}: its table `runs` says where they lie")


def _say_arms(runs: pl.DataFrame) -> str:
    if arms := ", ".join(runs["arm"].drop_nulls().unique().sort()):
        return f"its arms are {arms}"
    ids = ", ".join(f"{best.config_id} ({best.method})" for best in rank_configurations(runs)[:5])
    methods = ", ".join(method for method in METHOD_NAMES if method in set(runs["method"]))
    return f"it has no arms; give a method ({methods}: its best configuration) or a config_id, such as {ids}"


def _is_adapter(source: str) -> bool:
    """Whether a file, or a folder that is no experiment, lies there."""
    path = os.path.expanduser(source)
    is_folder = os.path.isdir(path) and not os.path.isfile(os.path.join(path, FILE))
    return not is_object_storage(source) and (os.path.isfile(path) or is_folder)


def _known(accuracy: float | None) -> float:
    return -1.0 if accuracy is None or accuracy != accuracy else accuracy
