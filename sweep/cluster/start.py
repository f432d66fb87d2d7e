"""The Ray that an experiment runs on: joined or started, and whether its nodes agree."""

import logging
import os
import platform
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import ray
from ray._private import worker
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray.tune import TuneError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweep.cluster.address import find_address, find_raylets
from sweep.cluster.life import Life
from sweep.cluster.own_folder import own_folder
from sweep.cluster.versions import check_versions, package_versions
from xpe_core.backbones.files import is_here
from xpe_core.errors import InputError

OBJECT_STORE_BYTES = 100 * 2**20
"""Of a Ray started here; a trial's configuration and reports are small."""
RAYS_ERRORS = (ray.exceptions.RayError, TuneError, ConnectionError, RuntimeError, SystemError)
"""What may come of a Ray that dies, before it is known to be dead."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_DISABLE_DOCKER_CPU_WARNING": "1",
}


@contextmanager
def start_ray(num_cpus: int | None = None) -> Iterator[None]:
    """Join the Ray cluster that was started on this machine or that RAY_ADDRESS names, or start a Ray of one's own.

    One's own, of `num_cpus` or all that this process may use, ends with the block, and no other program can join it.
    Where this process is connected already, that connection is used and kept. InputError where Ray cannot be joined or
    started, and RayLost where it dies in the meantime.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        yield
        return
    address = find_address()
    with ExitStack() as stack:
        folder = stack.enter_context(own_folder()) if address is None else ""
        life = Life(folder)
        life.begin()
        worker._worker_logs_enabled = False  # else Ray prints there what a raylet that dies had logged last
        try:
            with _own_handlers():
                if address is None:
                    _start(folder, num_cpus or count_cpus())
                else:
                    _join(address)
                    life.watch_cluster(address, _find_node())
            yield
            if life.lost is not None:  # Tune has taken the exception for a trial's
                raise life.lost
        except BaseException as error:
            if isinstance(error, RAYS_ERRORS):
                life.look()
            if life.lost is not None:
                raise life.leave() from None
            raise
        finally:
            if life.lost is None:
                life.end()
                ray.shutdown()
                worker._worker_logs_enabled = True


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Keep this process's answer to SIGTERM, which Ray replaces when it starts."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def count_cpus() -> int:
    """Return how many CPUs this process may use: a batch system gives it a part of the machine's."""
    from ray._private.utils import get_num_cpus  # looks at the limits of a container, too

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min(int(get_num_cpus()), allowed), 1)


def _start(folder: str, num_cpus: int) -> None:
    """Start a Ray of one's own; its token, which is its processes' alone, keeps others' programs out."""
    if not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    with _explained("no Ray could be started here"):
        ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            logging_level="CRITICAL",
            log_to_driver=False,
            _temp_dir=folder,
        )


def _join(address: str) -> None:
    """Join a cluster."""
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)  # Ray does so for the address `auto` alone
    with _explained(f"the Ray cluster at {address} could not be joined"):
        ray.init(address=address, logging_level="CRITICAL", log_to_driver=False)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn an error of Ray's own start into a sentence."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # of many kinds, ValueError to ray.exceptions.AuthenticationError
        lines = [" ".join(line.split()) for line in (str(error.__cause__ or error) or repr(error)).splitlines()]
        reason = " ".join(line for line in lines if line)[:400]
        raise InputError(f"{what}: {reason.rstrip('.')}") from None


def _find_node() -> int | None:
    """Return the process of this machine's node of the cluster that was joined."""
    own = ray.get_runtime_context().get_node_id()
    return next((one.pid for one in find_raylets() if one.node_id == own), None)


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
