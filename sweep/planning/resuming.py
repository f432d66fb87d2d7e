"""What a restart of an experiment finds: what is kept, what goes on and from where, and what is new."""

import json

import safetensors
import safetensors.torch

from sweep.planning.plan import Plan
from sweep.records.experiment_folder import CHECKPOINTS
from sweep.records.ledger import TrialRecord, read_ledger
from sweep.storage import Folder
from sweep.wording import count_nouns, shorten


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
    num_new = max(plan.num_trials - len(records), 0)
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
    return (
        "; ".join(parts) if len(ended) < max(plan.num_trials, len(records)) else f"{parts[0]}; nothing is left to run"
    )


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
