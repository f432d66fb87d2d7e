"""The trained prompts of finished runs: `adapters/<run_id>.safetensors` in an experiment's folder.

A run's file is written before the ledger says that its trial has ended, so a finished run always has one; a retry
overwrites it. With `keep: best` those of a configuration go as soon as all runs of a better one have ended.
"""

from collections.abc import Mapping

from sweep.experiment.config import SweepConfig
from sweep.experiment.panels import split_panels
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.ledger import TrialRecord
from sweep.records.ranking import rank_trials
from sweep.records.runs import RunKey, make_runs
from sweep.storage import Folder
from xpe_core.adapters import Adapter
from xpe_core.adapters.safetensors_file import from_bytes
from xpe_core.errors import InputError

ADAPTERS = "adapters"
SUFFIX = ".safetensors"


def keep_adapters(
    opened: ExperimentFolder,
    sweep: SweepConfig,
    records: Mapping[str, TrialRecord],
    record: TrialRecord,
    adapters: Mapping[str, bytes],
) -> None:
    """Write the files, by run_id, of a trial that has ended, and delete what the experiment does not keep any more.

    `records` are all trials that have ended, without this one or with it.
    """
    if sweep.keep == "none" and record.runs[0].adapted_to is not None:
        return  # nothing starts from it
    for run_id, content in adapters.items():
        opened.write_file(f"{ADAPTERS}/{run_id}{SUFFIX}", content)
    if sweep.keep == "best":
        beaten = find_beaten_runs(sweep, {**records, record.trial_id: record})
        for run_id in sorted(kept_run_ids(opened.folder) & beaten):
            opened.delete_file(f"{ADAPTERS}/{run_id}{SUFFIX}")


def drop_adapters(opened: ExperimentFolder) -> None:
    """Delete all files: those of an experiment that keeps none, after the last run that starts from one."""
    for run_id in sorted(kept_run_ids(opened.folder)):
        opened.delete_file(f"{ADAPTERS}/{run_id}{SUFFIX}")


def find_beaten_runs(sweep: SweepConfig, records: Mapping[str, TrialRecord]) -> set[str]:
    """Return the run_ids of all configurations that have been run with every seed, but for the best of these.

    `rank_trials` says which is the best, of each backbone and data set by itself. A configuration with runs to come is
    not judged yet.
    """
    runs: dict[str, set[RunKey]] = {}
    for record in records.values():
        runs.setdefault(record.config_id, set()).update(record.runs)
    asked = set(make_runs(sweep.final_seeds))
    judged = [record for record in records.values() if runs[record.config_id] >= asked]
    rankings = [[one.subject for one in rank_trials(panel.sweep, judged)] for panel in split_panels(sweep)]
    if not any(rankings):
        return set()
    losers = {config_id for ranked in rankings for config_id in ranked[1:]}
    beaten = [record for record in judged if record.config_id in losers]
    shorter = [record for record in records.values() if not sweep.has_full_length(record.config)]
    return {run_id for record in (*beaten, *shorter) for run_id in record.run_ids}


def read_content(folder: Folder, run_id: str) -> bytes | None:
    """Return the file of a run's adapter; None where it is not there."""
    return (folder / ADAPTERS).read(f"{run_id}{SUFFIX}")


def read_kept(folder: Folder, run_id: str) -> Adapter:
    """Return a finished run's adapter; InputError where it was not kept, or is damaged."""
    content = read_content(folder, run_id)
    if content is None:
        raise InputError(
            f"{folder} holds no adapter of run {run_id} ({ADAPTERS}/{run_id}{SUFFIX}): it was not kept "
            "(keep: all, best or none in the experiment's file), or trained by an older version"
        )
    return from_bytes(content, f"{folder}/{ADAPTERS}/{run_id}{SUFFIX}")


def kept_run_ids(folder: Folder) -> set[str]:
    """Return the ids of the runs whose adapters are there."""
    return {name.removesuffix(SUFFIX) for name in (folder / ADAPTERS).names(SUFFIX)}
