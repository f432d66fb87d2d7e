"""Places for trials: on nodes that are up, and on nodes that an autoscaler may start."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweep.cluster.capacity import (
    NO_AUTOSCALER,
    Autoscaler,
    Capacity,
    Share,
    _parse,
    find_share,
    has_gpu,
    read_autoscaler,
)
from sweep.experiment.config import make_sweep

# as `ray up` leaves it on the head: completed with what the cloud says of each kind of machine
CLOUD = {
    "provider": {"type": "aws", "region": "us-east-1"},
    "max_workers": 8,
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 0}, "max_workers": 0},
        "one_gpu": {"resources": {"CPU": 8, "GPU": 1}, "min_workers": 0, "max_workers": 6},
        "four_gpus": {"resources": {"CPU": 48, "GPU": 4}, "min_workers": 0, "max_workers": 4},
    },
}


@pytest.mark.parametrize(
    ("share", "node", "expected"),
    [
        (Share(2, 0), {"CPU": 5.0}, 2),
        (Share(1, 1), {"CPU": 8.0, "GPU": 4.0}, 4),
        (Share(1, 0.5), {"CPU": 3.0, "GPU": 4.0}, 3),
        (Share(1, 0.25), {"CPU": 8.0, "GPU": 1.0}, 4),
        (Share(1, 0.2), {"CPU": 8.0, "GPU": 1.0}, 5),
        (Share(1, 0.3), {"CPU": 8.0, "GPU": 1.0}, 3),
        (Share(1, 1), {"CPU": 8.0}, 0),
        (Share(1, 0), {"memory": 1e9}, 0),
    ],
)
def test_a_node_holds_as_many_trials_as_its_scarcest_resource(
    share: Share, node: dict[str, float], expected: int
) -> None:
    assert share.slots(node) == expected


def test_an_autoscalers_workers_count_up_to_its_limit_with_the_largest_first() -> None:
    autoscaler = _parse(CLOUD)
    assert autoscaler.num_own_machines == 0 and autoscaler.max_workers == 8
    assert autoscaler.slots(Share(1, 1)) == 4 * 4 + 4 * 1
    assert autoscaler.slots(Share(8, 0)) == 4 * 6 + 4 * 1
    assert autoscaler.slots(Share(1, 8)) == 0


def test_machines_of_ones_own_are_awaited_and_not_counted_before_they_have_joined() -> None:
    own = {
        "provider": {"type": "local", "head_ip": "10.0.0.1", "worker_ips": ["10.0.0.2", "10.0.0.3"]},
        "max_workers": 2,
        "head_node_type": "local.cluster.node",
        "available_node_types": {"local.cluster.node": {"node_config": {}, "resources": {}, "max_workers": 2}},
    }
    autoscaler = _parse(own)
    assert autoscaler.num_own_machines == 2
    assert autoscaler.slots(Share(1, 0)) == 0


@pytest.mark.usefixtures("local_ray")
def test_a_cluster_whose_gpus_are_not_started_yet_is_a_cluster_with_gpus(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    del values["resources"]
    sweep = make_sweep(**values)
    assert read_autoscaler() == NO_AUTOSCALER and not has_gpu()
    assert find_share(sweep) == Share(2, 0.0)
    assert Capacity(find_share(sweep))() == 1
    monkeypatch.setattr("sweep.cluster.capacity.read_autoscaler", lambda: _parse(CLOUD))
    assert has_gpu()
    assert find_share(sweep) == Share(1, 1.0)
    capacity = Capacity(Share(1, 1.0))
    assert (capacity(), capacity.num_up, capacity.has_other_nodes) == (20, 0, True)
    assert Capacity(Share(1, 1.0), most=3)() == 3


@pytest.mark.usefixtures("local_ray")
def test_the_file_of_the_autoscaler_of_this_cluster_is_found_and_that_of_another_is_not(tmp_path: Path) -> None:
    import ray

    file = tmp_path / "ray_bootstrap_config.yaml"
    file.write_text(yaml.safe_dump(CLOUD, sort_keys=False))
    address = ray.get_runtime_context().gcs_address
    for of, expected in ((address, _parse(CLOUD)), ("10.9.9.9:6379", NO_AUTOSCALER)):
        sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
        monitor = subprocess.Popen([*sleep, f"--gcs-address={of}", f"--autoscaling-config={file}"])
        try:
            assert read_autoscaler() == expected
        finally:
            monitor.kill()
            monitor.wait()


def test_no_autoscaler_has_no_slots() -> None:
    assert Autoscaler((), 0, 0).slots(Share(1, 0)) == 0
