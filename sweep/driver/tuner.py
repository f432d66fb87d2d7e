"""An experiment from its first trial to its last: Tune spreads the trials, the driver writes what they say.

Everything that a user could have got wrong is checked before Ray starts. The workers' reports are the only way results
travel; this process alone writes the ledger and the tables.
"""

import logging
import math
import tempfile
from collections.abc import Callable

import ray
from ray import tune

from sweep.analysis import best_experiment
from sweep.analysis.configurations import winning_experiments
from sweep.cluster.capacity import Capacity, Share
from sweep.cluster.start import start_ray
from sweep.cluster.versions import package_versions
from sweep.driver.asha import build_scheduler
from sweep.driver.killed_workers import killed_as_died
from sweep.driver.messages import METRIC, PanelSettings, TrialSettings
from sweep.driver.recorder import Listener, Recorder
from sweep.driver.searcher import LedgerSearcher
from sweep.driver.stopping import GRACE_SECONDS, Stopping
from sweep.driver.trial import TICK_SECONDS, PackTrainable
from sweep.planning.checks import check_start, send_data
from sweep.planning.packing import size_packs
from sweep.planning.panel import Panel
from sweep.planning.plan import Plan
from sweep.records.adapters import drop_adapters
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.ledger import Usage, read_ledger, read_usage
from sweep.storage import Folder, Location
from sweep.storage.names import make_name
from sweep.wording import format_duration

NO_LIMITS = Usage(math.inf, math.inf)


def best_name(name: str) -> str:
    """Return the file name, and so the experiment name, of an experiment's best configuration."""
    return f"{name}-best.yaml"


def winner_name(name: str, method: str) -> str:
    """Return the file name of the winner of a study's method."""
    return f"{name}-{make_name(method)}.yaml"


def run_experiment(
    plan: Plan,
    storage: Location,
    listen: Listener | None = None,
    limits: Usage = NO_LIMITS,
    trainable: type[tune.Trainable] = PackTrainable,
    say: Callable[[str], None] = lambda sentence: None,
) -> Folder:
    """Run the experiment, or what is left of it, and return its folder.

    Raises InputError where the folder cannot be written or holds another experiment, or no node can hold a trial, and
    Stopped where it was ended by a signal, on request or by its budget. `trainable` trains a trial's pack; `say`
    is told, in a sentence, what a person should know beside the trials' news.
    """
    stopping = Stopping()
    older = (*plan.older_fingerprints, *plan.older_data)
    folder = ExperimentFolder(Folder(storage) / plan.name, plan.sweep, plan.fingerprints, plan.places, older)
    try:
        searcher = LedgerSearcher(plan.sweep, folder, read_ledger(folder.folder), plan.further_sizes)
        if searcher.has_work:
            # Ray has handlers of its own, so this one comes after
            with start_ray(), stopping.on_signals(say, lambda: _describe_wait(plan, searcher)):
                _run_trials(plan, folder, searcher, stopping, listen, limits, trainable, say)
        folder.flush()
        if plan.sweep.kind == "transfer" and plan.sweep.keep == "none" and searcher.is_finished:
            drop_adapters(folder)
        best = best_experiment(folder.folder, plan.sweep)
        if best is not None:
            comment = f"# The best configuration of {plan.name}, by validation accuracy.\n"
            folder.write_yaml(best_name(plan.name), best, comment)
        winners = winning_experiments(folder.folder, plan.sweep) if plan.sweep.kind == "study" else {}
        for method, winner in winners.items():
            comment = f"# The winner of {method} in {plan.name}, by validation accuracy.\n"
            folder.write_yaml(winner_name(plan.name, method), winner, comment)
    finally:
        folder.close()
    return folder.folder


def _describe_wait(plan: Plan, searcher: LedgerSearcher) -> str:
    """Return what is waited for when the experiment is interrupted, and what is lost where nobody waits."""
    if not (count := len(searcher.trials)):
        return "ending; nothing is running"
    trials = "a trial" if count == 1 else f"{count} trials"
    ago = format_duration(max(plan.sweep.resources.checkpoint_seconds, TICK_SECONDS))
    return (
        f"waiting for a checkpoint of {trials}, up to {GRACE_SECONDS:g} s. Once more (Ctrl-C) ends at once, and what "
        f"runs goes back to its last checkpoint, of up to {ago} ago"
    )


def _run_trials(
    plan: Plan,
    folder: ExperimentFolder,
    searcher: LedgerSearcher,
    stopping: Stopping,
    listen: Listener | None,
    limits: Usage,
    trainable: type[tune.Trainable],
    say: Callable[[str], None],
) -> None:
    """Run what is left of the experiment, and raise the cause of an end before its time."""
    share = check_start(plan, folder.folder)
    searcher.repack(size_packs(plan, share).sweep)
    searcher.places = capacity = Capacity(share, plan.sweep.resources.max_concurrent_trials)
    if not capacity.num_up:
        needs = f"{share.cpus} CPUs and {share.gpus:g} GPUs"
        say(f"No node that is up has {needs} for a trial: waiting for the autoscaler, which may take minutes")
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what went wrong is in the tables and on the screen
    recorder = Recorder(folder, searcher, stopping, listen, say, share.gpus, read_usage(folder.folder), limits)
    folder.append({"event": "start"})
    try:
        _tune(trainable, _build_settings(plan, share, capacity), share, searcher, recorder, stopping)
    except Exception:  # Tune wraps what its callbacks raise
        if folder.failure:
            raise folder.failure from None
        raise
    recorder.finish()
    if stopping.cause:
        raise stopping.cause


def _tune(
    trainable: type[tune.Trainable],
    settings: TrialSettings,
    share: Share,
    searcher: LedgerSearcher,
    recorder: Recorder,
    stopping: Stopping,
) -> None:
    """Let Tune run the trials that the searcher hands out, each with its share of a node."""
    sweep = searcher.sweep
    with killed_as_died(), tempfile.TemporaryDirectory(prefix="xpe-sweep-") as scratch:
        # not Tuner: it pickles the searcher and the callbacks for a restore that is never used
        tune.run(
            trainable,
            config=settings.to_wire(),
            resources_per_trial={"cpu": share.cpus, "gpu": share.gpus},
            num_samples=-1,  # the searcher says when it is finished
            search_alg=searcher,
            scheduler=build_scheduler(sweep, searcher),
            metric=METRIC,
            mode="max",
            reuse_actors=True,
            max_failures=0,  # what failed is handed out again by the searcher
            raise_on_failed_trial=False,
            callbacks=[recorder],
            stop=stopping,
            storage_path=scratch,
            trial_dirname_creator=lambda trial: trial.trial_id,
            verbose=0,
        )


def _build_settings(plan: Plan, share: Share, capacity: Capacity) -> TrialSettings:
    """Return what all workers are told; what they all need is put into Ray's object store."""
    return TrialSettings(
        panels={panel.key: _describe_panel(panel, capacity) for panel in plan.panels},
        max_examples=plan.sweep.evaluation.max_examples,
        num_threads=share.cpus,
        gpus=share.gpus,
        device="cuda" if share.gpus else "cpu",
        versions=package_versions(),
        places=dict(plan.places),
        checkpoint_seconds=plan.sweep.resources.checkpoint_seconds,
        keeps_adapters=plan.sweep.keep != "none" or plan.sweep.kind == "transfer",  # others start from them
        adapters={run_id: ray.put(content) for run_id, content in plan.adapters.items()},
    )


def _describe_panel(panel: Panel, capacity: Capacity) -> PanelSettings:
    """Return what workers are told of a backbone and data set."""
    return PanelSettings(
        selection_languages=panel.selection_languages,
        target_languages=panel.target_languages,
        fingerprints=panel.fingerprints,
        reading=panel.config.reading,
        data=send_data(panel, capacity),
    )
