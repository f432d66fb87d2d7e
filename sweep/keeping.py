"""The trained prompts of finished runs: `adapters/<run_id>.safetensors` in an experiment's folder.

A run's file is written before the ledger says that its trial has ended, so a finished run always has one; a retry
overwrites it. With `keep: best` the folder holds those of the best configuration so far, with all its seeds.
"""

from collections import defaultdict
from collections.abc import Mapping

from sweep.config import SweepConfig
from sweep.ledger import TrialRecord
from sweep.storage import Folder
from sweep.store import ExperimentFolder
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
    """Write the files, by run_id, of a trial that is complete, as far as the experiment keeps them.

    `records` are all trials that have ended, without this one or with it.
    """
    kept = set(adapters)
    if sweep.keep == "best":
        kept = find_best_runs(sweep, {**records, record.trial_id: record})
    for run_id, content in adapters.items():
        if run_id in kept:
            opened.write_file(f"{ADAPTERS}/{run_id}{SUFFIX}", content)
    if sweep.keep == "best":
        for name in (opened.folder / ADAPTERS).names(SUFFIX):
            if name.removesuffix(SUFFIX) not in kept:
                opened.delete_file(f"{ADAPTERS}/{name}")


def find_best_runs(sweep: SweepConfig, records: Mapping[str, TrialRecord]) -> set[str]:
    """Return the run_ids of the configuration with the best mean selection accuracy over seeds, empty without one."""
    values: dict[str, list[float]] = defaultdict(list)
    run_ids: dict[str, set[str]] = defaultdict(set)
    for record in records.values():
        if record.state == "complete" and record.value is not None and sweep.has_full_length(record.config):
            values[record.config_id] += [record.value] * len(record.seeds)
            run_ids[record.config_id].update(record.run_ids)
    if not values:
        return set()
    return run_ids[max(values, key=lambda config_id: sum(values[config_id]) / len(values[config_id]))]


def read_kept(folder: Folder, run_id: str) -> Adapter:
    """Return a finished run's adapter; InputError where it was not kept, or is damaged."""
    content = (folder / ADAPTERS).read(f"{run_id}{SUFFIX}")
    if content is None:
        raise InputError(
            f"{folder} holds no adapter of run {run_id} ({ADAPTERS}/{run_id}{SUFFIX}): it was not kept "
            "(keep: all, best or none in the experiment's file), or trained by an older version"
        )
    return from_bytes(content, f"{folder}/{ADAPTERS}/{run_id}{SUFFIX}")


def kept_run_ids(folder: Folder) -> set[str]:
    """Return the ids of the runs whose adapters are there."""
    return {name.removesuffix(SUFFIX) for name in (folder / ADAPTERS).names(SUFFIX)}
