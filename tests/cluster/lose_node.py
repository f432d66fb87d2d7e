"""Run an experiment on a Ray whose one worker node is killed in the middle of a trial, while another one joins.

    python -m tests.cluster.lose_node EXPERIMENT.yaml STORAGE

Prints the trial that was running there, and whether the node that joined was used; exit status 1 where no trial was
lost. The nodes have a cache folder of their own, STORAGE/cache.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from sweep.driver.messages import TrialReport
from sweep.driver.tuner import run_experiment
from sweep.experiment.files import load_experiment
from sweep.planning.plan import prepare
from sweep.records.ledger import TrialRecord


def main(experiment: str, storage: str) -> None:
    """Lose the worker as soon as a trial on it has reported, and add another one."""
    name, sweep = load_experiment(experiment)
    plan = prepare(name, sweep)
    lost: list[str] = []
    joined: list[str] = []
    used: set[str] = set()
    cache = Path(storage).absolute() / "cache"
    cache.mkdir(parents=True)
    worker: dict[str, Any] = {
        "num_cpus": 1,
        "object_store_memory": 80 * 2**20,
        "env_vars": {"XPE_CACHE_DIR": str(cache)},
    }
    with tempfile.TemporaryDirectory(prefix="xr", dir="/tmp") as folder:
        os.environ["RAY_TMPDIR"] = folder  # where Ray notes the cluster's address, so that no other driver finds it
        Path(folder, "ray").mkdir()
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False, "temp_dir": folder, "num_gpus": 0},
        )
        try:
            node = cluster.add_node(**worker)
            cluster.wait_for_nodes()
            ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)

            def lose(record: TrialRecord, report: TrialReport | None) -> None:
                if not report:
                    return
                used.add(report.node)
                if lost or report.done or record.number < 1:
                    return
                lost.append(record.trial_id)
                cluster.remove_node(node, allow_graceful=False)
                joined.append(cluster.add_node(**worker).node_id)

            run_experiment(plan, storage, lose)
        finally:
            ray.shutdown()
            cluster.shutdown()
    print("lost with its node:", *lost)
    print("the node that joined was", "used" if used & set(joined) else "not used")
    sys.exit(0 if lost and (Path(storage) / name).exists() else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
