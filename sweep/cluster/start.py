"""The Ray that an experiment runs on: found or started, and whether its nodes agree."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweep.cluster.versions import check_versions, package_versions
from xpe_core.checkpoints import is_here
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


@ray.remote(num_cpus=0)
def _describe_node(backbone: str) -> tuple[str, dict[str, str], bool]:
    return platform.node(), package_versions(), is_here(backbone)


def check_nodes(backbone: str) -> None:
    """Raise InputError where a node that is up has other versions than this process, or lacks the backbone's folder.

    Nodes that join later check themselves, before their first trial.
    """
    own = ray.get_runtime_context().get_node_id()
    others = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != own]
    affinities = [NodeAffinitySchedulingStrategy(node_id=node, soft=False) for node in others]
    asked = [_describe_node.options(scheduling_strategy=affinity).remote(backbone) for affinity in affinities]
    for host, versions, has_backbone in ray.get(asked):
        check_versions(host, versions, package_versions())
        if not has_backbone:
            way = "copy it to the same place on every node, or use a name on the hub"
            raise InputError(f"backbone {backbone} is no folder on node {host}; {way}")
