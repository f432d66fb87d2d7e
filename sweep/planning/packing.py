"""How many of a cell's runs train together: as many as one pass of the backbone was seen to have memory for.

A pack that is larger is cut into passes, with the same results; smaller packs spread over more GPUs instead. Memory is
measured on a node that can hold a trial, in processes of their own: a step on the longest texts, with one run and with
two.
"""

import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import ray
import torch

from sweep.cluster.capacity import Share, find_nodes
from sweep.planning.plan import Plan
from sweep.records.runs import RunKey
from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.data.tokens import TokenisedData
from xpe_core.locations import use_locations
from xpe_core.pack import Pack, count_positions, trains_on_states
from xpe_core.training.passes import SHARE_OF_FREE
from xpe_core.training.training import Training
from xpe_core.tunings import is_alone


def size_packs(plan: Plan, share: Share) -> Plan:
    """Return the plan with a number in the place of `seeds_per_trial: auto`; any other plan as it is.

    Where no node is up that can hold a trial, this waits for one.
    """
    if plan.sweep.kind == "search" or plan.sweep.resources.seeds_per_trial != "auto":
        return plan
    fitting = [
        _count_fitting(plan, max(shared, key=_rank_memory), share)
        for panel in plan.panels
        if (shared := [config for config in panel.sweep.corners if not is_alone(config)])
    ]
    return plan.with_pack_size(even_size(len(plan.runs), min(fitting))) if fitting else plan


def _count_fitting(plan: Plan, config: RunConfig, share: Share) -> int:
    """Return how many runs of a configuration have memory together."""
    limit, one = _measure(plan, config, share, 1)
    _, two = _measure(plan, config, share, 2)
    return count_fitting(one, two, limit)


def _rank_memory(config: RunConfig) -> tuple[bool, int, int, float]:
    """Return what is the greater, the more memory a run's step takes."""
    training = config.training
    return not trains_on_states(config), count_positions(config), training.batch_size, training.backbone_dropout


def count_fitting(one: int, two: int, limit: int) -> int:
    """Return how many runs need no more than `limit` bytes where one needs `one` and two need `two`; at least 1."""
    more = max(two - one, 1)
    return 1 + max(int((limit * SHARE_OF_FREE - one) // more), 0)


def even_size(num_runs: int, most: int) -> int:
    """Return the size of the packs when `num_runs` are spread evenly over as few packs of at most `most` as can be."""
    return -(-num_runs // -(-num_runs // most))


def _measure(plan: Plan, config: RunConfig, share: Share, num_runs: int) -> tuple[int, int]:
    """Return the bytes that a trial may use where it is run, and those that a pack of so many runs took at its peak."""
    values = {**config.values, "max_steps": 2, "eval_steps": 2, "warmup_ratio": 0.0, "max_validation_examples": 1}
    data = ray.put(keep_longest(plan.panel_of(config).data.in_memory(), config))
    remote = _measure_memory.options(num_cpus=share.cpus, num_gpus=share.gpus)
    limit, used = ray.get(remote.remote(values, plan.runs[:1] * num_runs, data, share, plan.places))
    nodes = [node for node in find_nodes() if share.slots(node)]
    on_cpu = min((int(node.get("memory", sys.maxsize) // share.slots(node)) for node in nodes), default=sys.maxsize)
    return limit or on_cpu, used


@ray.remote(max_calls=1)
def _measure_memory(
    values: Mapping[str, object], runs: Sequence[RunKey], data: TokenisedData, share: Share, places: Mapping[str, str]
) -> tuple[int | None, int]:
    """Return a GPU's bytes for a trial (None on a CPU), and those in use at the peak of two steps of a pack."""
    use_locations(places)
    torch.set_num_threads(share.cpus)
    config = RunConfig(**values)
    device = "cuda" if share.gpus else "cpu"
    packed = [config.with_seed(run.seed) for run in runs]
    training = Training(Pack(load_backbone(config.backbone, device), packed, len(data.label_names)), data)
    training.advance(0)  # on a GPU its first pass holds one run, to see what that takes
    if device == "cpu":
        training.advance(0)
        return None, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    torch.cuda.reset_peak_memory_stats()
    training.advance(0)
    total = torch.cuda.get_device_properties(0).total_memory
    return int(total * min(share.gpus, 1.0)), torch.cuda.max_memory_allocated()


def keep_longest(data: TokenisedData, config: RunConfig) -> TokenisedData:
    """Return the data with no more to train on than one batch of the source languages' longest texts."""
    train = data.select(data.sources(config.data.source_set), "train")
    longest = train[np.argsort(data.lengths[train], kind="stable")[-config.training.batch_size :]]
    split_ids = data.split_ids.copy()
    split_ids[np.setdiff1d(train, longest)] = -1
    return replace(data, split_ids=split_ids)
