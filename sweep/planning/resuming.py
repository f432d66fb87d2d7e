"""What a restart of an experiment finds: what is kept, what goes on and from where, and what is new."""

import json
from collections.abc import Collection, Iterable, Mapping

import safetensors
import safetensors.torch

from sweep.experiment.workload import Workload
from sweep.planning.plan import Plan
from sweep.records.experiment_folder import CHECKPOINTS
from sweep.records.ledger import TrialRecord, read_ledger
from sweep.records.runs import RunKey
from sweep.records.winners import count_incomplete, find_winners, goes_on
from sweep.storage import Folder
from sweep.wording import count_nouns, shorten
from xpe_core.config import RunConfig


def describe_restart(plan: Plan, folder: Folder) -> str | None:
    """Return what an earlier start has left, in a sentence; None where there was none."""
    records = read_ledger(folder)
    if not records:
        return None
    ended = [record for record in records.values() if record.state is not None]
    waiting = [record for record in records.values() if record.state is None]
    steps = {record.trial_id: _find_step(folder, record) for record in waiting}
    going_on = sorted({step for step in steps.values() if step is not None})
    num_going_on = sum(step is not None for step in steps.values())
    num_again = len(waiting) - num_going_on
    left = count_left(plan, records)
    num_new = max(left or 0, 0)
    parts = []
    if ended:
        finished = count_nouns(len(ended), "trial")
        parts.append(f"{finished} finished earlier {'is' if len(ended) == 1 else 'are'} kept")
    if num_going_on:
        verb, whose = ("goes", "its checkpoint") if num_going_on == 1 else ("go", "their checkpoints")
        parts.append(f"{num_going_on} {verb} on from {whose} at step {shorten(going_on)}")
    if num_again:
        parts.append(f"{num_again} {'begins' if num_again == 1 else 'begin'} again")
    if num_new:
        parts.append(f"{num_new} {'is' if num_new == 1 else 'are'} new")
    if left is None:
        parts.append("the searches go on")
    return "; ".join(parts) if waiting or left is None or num_new else f"{parts[0]}; nothing is left to run"


def count_left(plan: Plan, records: Mapping[str, TrialRecord]) -> int | None:
    """Return how many trials are not in the ledger yet; None where a budget of steps or hours has not said it yet."""
    study = plan.sweep
    if study.kind != "study":
        return max(plan.num_trials - len(records), 0)
    if any(goes_on(study, records.values(), method) for method in study.methods):
        return None if study.budget.trials is None else max(plan.num_trials - len(records), 0)
    known = {run_id for record in records.values() for run_id in record.run_ids}
    parts = [
        Workload(arm, [config], 1, _list_missing(study.replication_seeds, config, known), is_cut=True)
        for arm, config in find_winners(study, list(records.values()), study.methods).items()
    ]
    fresh = sum(part.num_trials(plan.pack_size) for part in parts if part.seeds)
    return count_incomplete(study, records.values()) + fresh


def _list_missing(seeds: Iterable[int], config: RunConfig, known: Collection[str]) -> tuple[int, ...]:
    """Return the seeds that a configuration has not been run with."""
    return tuple(seed for seed in seeds if RunKey(seed).run_id(config.with_seed(seed)) not in known)


def _find_step(folder: Folder, record: TrialRecord) -> int | None:
    """Return the step of a trial's last checkpoint, None where there is none that can be read."""
    content = folder.read(f"{CHECKPOINTS}/{record.trial_id}.safetensors")
    if content is None:
        return None
    try:
        state = json.loads(bytes(safetensors.torch.load(content)["state"].tolist()))
        return int(state["step"])
    except (safetensors.SafetensorError, KeyError, ValueError):
        return None
