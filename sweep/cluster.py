"""The Ray that an experiment runs on: found or started, what of it a trial gets, and whether its nodes agree."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweep.config import SweepConfig
from sweep.versions import package_versions
from xpe_core.errors import InputError

OBJECT_STORE_BYTES = 100 * 2**20
"""Of a Ray started here; a trial's configuration and reports are small."""


@contextmanager
def start_ray(num_cpus: int | None = None) -> Iterator[None]:
    """Connect to the Ray cluster of this machine (or RAY_ADDRESS), or start one (of `num_cpus`) for the time being.

    Where this process is connected already, that connection is used and kept.
    """
    quiet = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_GLOBAL_CHECKPOINT_S": "86400",
        "TOKENIZERS_PARALLELISM": "false",
    }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        yield
        return
    common: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    address = os.environ.get("RAY_ADDRESS", "auto")
    try:
        if address == "local":
            raise ConnectionError
        ray.init(address=address, **common)
    except ConnectionError:
        if address not in ("auto", "local"):
            raise InputError(f"no Ray cluster answers at RAY_ADDRESS={address}") from None
        ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            **common,
        )
    try:
        yield
    finally:
        ray.shutdown()


def has_gpu() -> bool:
    """Whether some node of the Ray cluster has a GPU."""
    return ray.cluster_resources().get("GPU", 0) > 0


def find_resources(sweep: SweepConfig) -> tuple[int, float, int]:
    """Return CPUs and GPUs a trial and how many trials run at once; InputError where no node can hold one."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    most_cpus = max(int(node.get("CPU", 0)) for node in nodes)
    has_gpu = any(node.get("GPU", 0) >= 1 for node in nodes)
    gpus = sweep.resources.gpus_per_trial if sweep.resources.gpus_per_trial is not None else float(has_gpu)
    cpus = sweep.resources.cpus_per_trial or (1 if gpus else max(most_cpus, 1))
    places = sum(
        min(
            int(node.get("CPU", 0) // cpus),
            int(node.get("GPU", 0) // gpus) if gpus else int(node.get("CPU", 0) // cpus),
        )
        for node in nodes
    )
    if places == 0:
        raise InputError(
            f"resources: no node can give a trial {cpus} CPUs and {gpus:g} GPUs; the largest has {most_cpus} CPUs and "
            f"{max(node.get('GPU', 0) for node in nodes):g} GPUs"
        )
    return cpus, gpus, min(places, sweep.resources.max_concurrent_trials or places)


@ray.remote(num_cpus=0)
def _describe_node() -> tuple[str, dict[str, str]]:
    return platform.node(), package_versions()


def check_versions() -> None:
    """Raise InputError where a node of the cluster has other versions than this process."""
    here = package_versions()
    own = ray.get_runtime_context().get_node_id()
    others = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != own]
    affinities = [NodeAffinitySchedulingStrategy(node_id=node, soft=False) for node in others]
    asked = [_describe_node.options(scheduling_strategy=affinity).remote() for affinity in affinities]
    for host, there in ray.get(asked):
        if different := [name for name in sorted(here.keys() | there.keys()) if here.get(name) != there.get(name)]:
            which = ", ".join(f"{name} {there.get(name, 'missing')} (here {here.get(name)})" for name in different)
            raise InputError(f"node {host} has other versions: {which}; install constraints.txt on every node")
