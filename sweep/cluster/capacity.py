"""How many trials the cluster can hold: on the nodes that are up, and on those that its autoscaler may still start.

Nodes come and go while an experiment runs, so this is looked at again and again. What an autoscaler may start stands in
the file that `ray up` gave it, which is on the head: a driver there reads it, one elsewhere knows only what is up.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import ray
import yaml

from sweep.cluster.sections import Section, count, numbers, section, sections, texts
from sweep.experiment.config import SweepConfig
from xpe_core.errors import InputError

LOOK_SECONDS = 5.0
"""Between looks at the cluster's nodes."""
JOIN_SECONDS = 60.0
"""How long machines of one's own that are still joining are waited for."""
HEAD = "node:__internal_head__"

Resources = Mapping[str, float]
"""What a node has: CPU, GPU, memory (bytes), ..."""


@dataclass(frozen=True)
class Share:
    """What every trial gets of a node."""

    cpus: int
    gpus: float

    def slots(self, node: Resources) -> int:
        """Return how many trials a node can hold at once."""
        by_cpu = int(node.get("CPU", 0) // self.cpus)
        # 1e-9: a GPU holds five fifths, though 1.0 // 0.2 is 4.0
        return min(by_cpu, int(node.get("GPU", 0) / self.gpus + 1e-9)) if self.gpus else by_cpu


@dataclass(frozen=True)
class Autoscaler:
    """What a cluster's autoscaler may have beside the head."""

    worker_kinds: tuple[tuple[Resources, int], ...]
    """Each kind's resources (empty where only the machine knows) and the most nodes of it."""
    max_workers: int
    num_own_machines: int
    """Machines of one's own that are to join; 0 in a cloud."""

    def slots(self, share: Share) -> int:
        """Return how many trials its workers could hold, all started."""
        nodes = [share.slots(resources) for resources, most in self.worker_kinds for _ in range(most)]
        return sum(sorted(nodes, reverse=True)[: self.max_workers])


NO_AUTOSCALER = Autoscaler((), 0, 0)


def find_share(sweep: SweepConfig) -> Share:
    """Return what a trial gets; InputError where no node, up or still to be started, can hold one."""
    autoscaler = read_autoscaler()
    nodes = _await_machines(autoscaler.num_own_machines)
    kinds = [*nodes, *(resources for resources, most in autoscaler.worker_kinds if most)]
    with_gpu = [kind for kind in kinds if kind.get("GPU", 0) >= 1]
    gpus = sweep.resources.gpus_per_trial if sweep.resources.gpus_per_trial is not None else float(bool(with_gpu))
    most_cpus = max(int(kind.get("CPU", 0)) for kind in kinds)
    share = Share(sweep.resources.cpus_per_trial or (1 if gpus else max(most_cpus, 1)), gpus)
    if not any(map(share.slots, kinds)):
        raise InputError(
            f"resources: no node can give a trial {share.cpus} CPUs and {share.gpus:g} GPUs; the largest has "
            f"{most_cpus} CPUs and {max(kind.get('GPU', 0) for kind in kinds):g} GPUs"
        )
    return share


def has_gpu() -> bool:
    """Whether some node of the Ray cluster has a GPU, or would have."""
    kinds = [*find_nodes(), *(resources for resources, most in read_autoscaler().worker_kinds if most)]
    return any(kind.get("GPU", 0) >= 1 for kind in kinds)


class Capacity:
    """How many trials may run at once, as the cluster stands now; never less than one, which waits for a node."""

    def __init__(self, share: Share, most: int | None = None) -> None:
        """Count slots for such trials, `most` of them at most."""
        self._share = share
        self._most = most
        self._autoscaled = read_autoscaler().slots(share)
        self._looked = -LOOK_SECONDS
        self._slots = 1

    @property
    def num_up(self) -> int:
        """The slots on the nodes that are up."""
        return sum(map(self._share.slots, find_nodes()))

    @property
    def has_other_nodes(self) -> bool:
        """Whether trials may run on nodes other than a single one that is up."""
        return len(find_nodes()) > 1 or self._autoscaled > 0

    def __call__(self) -> int:
        """Return the number of slots, looked up anew every LOOK_SECONDS."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            on_head = sum(self._share.slots(node) for node in find_nodes() if HEAD in node)
            slots = max(self.num_up, on_head + self._autoscaled, 1)
            self._slots = min(slots, self._most or slots)
        return self._slots


def find_nodes() -> list[Resources]:
    """Return the resources of the nodes that are up."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def is_up(share: Share) -> bool:
    """Whether some node that is up can hold a trial."""
    return any(map(share.slots, find_nodes()))


def read_autoscaler() -> Autoscaler:
    """Return what the autoscaler on this machine was told, if there is one of the cluster that this process uses."""
    address = ray.get_runtime_context().gcs_address
    for process in psutil.process_iter(["cmdline"]):
        options = [part for part in process.info["cmdline"] or () if part.startswith("--") and "=" in part]
        arguments = dict(option.split("=", 1) for option in options)
        file = arguments.get("--autoscaling-config")
        if file and arguments.get("--gcs-address") == address:
            return _parse(yaml.safe_load(Path(file).expanduser().read_text(encoding="utf-8")))
    return NO_AUTOSCALER


def _parse(values: Section) -> Autoscaler:
    """Return what `ray up`'s file, as its launcher completed it, says of the workers."""
    provider = section(values, "provider")
    own = len(texts(provider, "worker_ips")) if provider["type"] == "local" else 0
    max_workers = count(values, "max_workers")
    kinds = [
        (numbers(kind, "resources"), min(count(kind, "max_workers", max_workers), max_workers))
        for name, kind in sections(section(values, "available_node_types")).items()
        if own or name != values["head_node_type"]  # machines of one's own are all of one kind
    ]
    return Autoscaler(tuple(kinds), max_workers, own)


def _await_machines(num_workers: int) -> list[Resources]:
    """Return the nodes that are up, when all machines of one's own have joined or JOIN_SECONDS have gone by."""
    deadline = time.monotonic() + JOIN_SECONDS
    while len(find_nodes()) <= num_workers and time.monotonic() < deadline:
        time.sleep(1.0)
    return find_nodes()
