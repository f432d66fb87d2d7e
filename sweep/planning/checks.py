"""What is checked before a start and by a dry run, nodes and room for results; and how data reach other nodes."""

import math
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ray

from sweep.cluster.capacity import Capacity, Share, find_share
from sweep.cluster.start import check_nodes
from sweep.planning.panel import Panel
from sweep.planning.plan import Plan
from sweep.planning.resuming import count_left
from sweep.records.ledger import read_ledger
from sweep.storage import Folder
from xpe_core.backbones.backbone import find_shape
from xpe_core.errors import InputError
from xpe_core.locations import find_location
from xpe_core.pack import count_trained_parameters

if TYPE_CHECKING:
    from ray import ObjectRef

ROW_BYTES = 100
"""Of a row of `evaluations` on the disk; compressed it is less."""
RUN_BYTES = 3_000
"""Of a run's row in `runs` and its part of the ledger."""
CHECKPOINT_COPIES = 4
"""Of every trained number in a checkpoint: its value, the best one, and the optimizer's two; four bytes each."""


def check_start(plan: Plan, folder: Folder) -> Share:
    """Return what a trial gets; InputError where no node can hold one, nodes disagree, or the storage lacks room.

    Ray must have been started.
    """
    share = find_share(plan.sweep)
    for backbone in dict.fromkeys(panel.config.backbone for panel in plan.panels):
        check_nodes(find_location(backbone))
    check_room(plan, folder, Capacity(share, plan.sweep.resources.max_concurrent_trials)())
    return share


def check_room(plan: Plan, folder: Folder, num_running: int) -> None:
    """Raise InputError where the storage, if it is a file system, cannot take what is left of the experiment."""
    if folder.path is None:
        return
    above = next(path for path in (folder.path, *folder.path.absolute().parents) if path.exists())
    free, needed = shutil.disk_usage(above).free, estimate_bytes(plan, folder, num_running)
    if free < needed:
        raise InputError(
            f"storage {folder} has {free / 2**20:,.1f} MiB left and the experiment may need {needed / 2**20:,.1f} MiB: "
            "make room, or say where with --storage DIR"
        )


def estimate_bytes(plan: Plan, folder: Folder, num_running: int) -> int:
    """Return the bytes still to be written at most: tables, ledger, adapters, and the checkpoints of what runs."""
    records = read_ledger(folder)
    waiting = sum(record.state is None for record in records.values())
    new = count_left(plan, records)
    left = plan.num_trials if new is None else new + waiting  # of an open budget nothing is known, so all of it
    share_left = min(left / max(plan.num_trials, 1), 1.0)
    running = min(num_running, left)
    parts = [_estimate_panel(plan, panel, share_left) for panel in plan.panels]
    checkpoints = running * CHECKPOINT_COPIES * max(part.largest_pack for part in parts)
    return checkpoints + sum(part.written for part in parts)


@dataclass(frozen=True)
class _Bytes:
    """What the runs on one backbone and data set need of a storage."""

    written: int
    """Tables, ledger and adapters."""
    largest_pack: int
    """The trained numbers of the largest trial."""


def _estimate_panel(plan: Plan, panel: Panel, share_left: float) -> _Bytes:
    workloads = panel.workloads
    num_runs = math.ceil(share_left * sum(workload.num_runs for workload in workloads))
    if plan.sweep.kind == "evaluate":
        return _Bytes(num_runs * (len(panel.target_languages) * ROW_BYTES + RUN_BYTES), 0)
    validated = {*panel.selection_languages, *panel.data.sources(",".join(panel.sweep.used_source_sets))}
    rows = num_runs * (len(panel.target_languages) + len(validated))
    shape, num_classes = find_shape(panel.config.backbone), len(panel.data.label_names)
    first = [
        (one, 4 * max(count_trained_parameters(config, shape, num_classes) for config in one.configs))
        for one in panel.sweep.workloads
    ]
    of_arm = {one.name: size for one, size in first}  # what is trained further has the size of what it starts from
    sized = [*first, *((one, of_arm[one.name]) for one in workloads[len(first) :])]
    largest = max(
        (one.size_pack(plan.pack_size) if one.adapted_to is None else plan.largest_pack) * size for one, size in sized
    )
    kept = [(one, size) for one, size in sized if one.is_tested]
    bytes_kept = {
        "all": math.ceil(share_left * sum(one.num_runs * size for one, size in kept)),
        "best": 2 * max((len(one.seeds) * size for one, size in kept), default=0),
        "none": sum(one.num_runs * size for one, size in first) if plan.sweep.kind == "transfer" else 0,  # for a while
    }[plan.sweep.keep]
    return _Bytes(rows * ROW_BYTES + num_runs * RUN_BYTES + bytes_kept, largest)


def send_data(panel: Panel, capacity: Capacity) -> dict[tuple[int, int], "ObjectRef"]:
    """Put a panel's tokenised data into Ray's object store where nodes may lack the files; return references by
    `RunConfig.reading`.

    A data set that is given by a path is on this machine; any other one every node finds for itself.
    """
    if not capacity.has_other_nodes or not panel.config.source.is_path:
        return {}
    return {reading: ray.put(tokens.in_memory()) for reading, tokens in panel.read_data.items()}
