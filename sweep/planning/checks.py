"""What is checked before a start and by a dry run, nodes and room for results; and how data reach other nodes."""

import math
import shutil
from typing import TYPE_CHECKING

import ray

from sweep.cluster.capacity import Capacity, Share, find_share
from sweep.cluster.start import check_nodes
from sweep.planning.plan import Plan
from sweep.records.ledger import read_ledger
from sweep.storage import Folder
from xpe_core.backbones.backbone import find_shape
from xpe_core.data.tokens import load_tokens
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
    check_nodes(find_location(plan.sweep.corners[0].backbone))
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
    ended = sum(record.state is not None for record in read_ledger(folder).values())
    share_left = max(plan.num_trials - ended, 0) / max(plan.num_trials, 1)
    workloads = plan.workloads
    num_runs = math.ceil(share_left * sum(workload.num_runs for workload in workloads))
    if plan.sweep.kind == "evaluate":
        return num_runs * (len(plan.target_languages) * ROW_BYTES + RUN_BYTES)
    validated = {*plan.selection_languages, *plan.data.sources(",".join(plan.sweep.used_source_sets))}
    rows = num_runs * (len(plan.target_languages) + len(validated))
    shape, num_classes = find_shape(plan.sweep.corners[0].backbone), len(plan.data.label_names)
    first = [
        (one, 4 * max(count_trained_parameters(config, shape, num_classes) for config in one.configs))
        for one in plan.sweep.workloads
    ]
    of_arm = {one.name: size for one, size in first}  # what is trained further has the size of what it starts from
    sized = [*first, *((one, of_arm[one.name]) for one in workloads[len(first) :])]
    running = min(num_running, max(plan.num_trials - ended, 0))
    largest = max(
        (one.size_pack(plan.pack_size) if one.adapted_to is None else plan.largest_pack) * size for one, size in sized
    )
    kept = [(one, size) for one, size in sized if one.is_tested]
    bytes_kept = {
        "all": math.ceil(share_left * sum(one.num_runs * size for one, size in kept)),
        "best": 2 * max((len(one.seeds) * size for one, size in kept), default=0),
        "none": sum(one.num_runs * size for one, size in first) if plan.sweep.kind == "transfer" else 0,  # for a while
    }[plan.sweep.keep]
    return rows * ROW_BYTES + num_runs * RUN_BYTES + running * CHECKPOINT_COPIES * largest + bytes_kept


def send_data(plan: Plan, capacity: Capacity) -> dict[int, "ObjectRef"]:
    """Put the tokenised data into Ray's object store where nodes may lack the files; return references by `max_length`.

    A data set that is given by a path is on this machine; any other one every node finds for itself.
    """
    config = plan.sweep.corners[0]
    if not capacity.has_other_nodes or not config.source.is_path:
        return {}
    lengths = sorted({corner.data.max_length for corner in plan.sweep.corners})
    data = {length: load_tokens(config.source, config.backbone, length, config.task) for length in lengths}
    return {length: ray.put(tokens.in_memory()) for length, tokens in data.items()}
