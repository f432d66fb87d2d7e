"""The scripts that lose machines, disks and drivers for real, at a toy size; `kill_driver` and `lose_node` are run
end to end.

One that needs what a machine does not allow says so where it is skipped.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweep.cluster.cluster_file import read_cluster
from sweep.cluster.sections import section
from sweep.storage import Folder
from tests.cluster import experiment, fill_disk, three_hosts
from tests.conftest import copy_experiment
from tests.making.experiments import load_search

pytestmark = pytest.mark.usefixtures("preloaded_commands")

ROOT = Path(__file__).parents[2]


def can_mount(folder: Path) -> bool:
    """Whether this user may mount a file system."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    return mounted.returncode == 0 and subprocess.run(["umount", str(folder)]).returncode == 0


@pytest.fixture
def file(one_at_a_time: dict[str, Any], undisturbed: Folder, tmp_path: Path) -> Path:
    """Write the experiment of `undisturbed`, whose results are in the storage already."""
    path = tmp_path / f"{undisturbed.name}.yaml"
    path.write_text(yaml.safe_dump(one_at_a_time), encoding="utf-8")
    copy_experiment(undisturbed, tmp_path / "storage" / "undisturbed")
    return path


def test_a_disk_that_fills_up_changes_nothing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not can_mount(file.parent / "tried"):
        pytest.skip("mounting a small file system needs root")
    fill_disk.main(str(file), str(file.parent / "storage"))
    assert "after room was made: the same runs, numbers and best configuration" in capsys.readouterr().out


def test_the_scripts_experiment_can_be_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment.main(str(tmp_path / "made"))
    name, sweep = load_search(capsys.readouterr().out.strip())
    assert (name, sweep.num_samples, sweep.resources.max_concurrent_trials) == ("tiny", 24, 1)


def test_the_three_hosts_cluster_file_and_experiment_are_accepted(tmp_path: Path) -> None:
    assert subprocess.run(["bash", "-n", str(ROOT / "tests" / "cluster" / "machines.sh")]).returncode == 0
    (tmp_path / "key").touch(0o600)
    _, sweep = load_search(str(three_hosts.write_experiment(tmp_path)))
    assert sweep.num_samples == three_hosts.NUM_TRIALS
    config = read_cluster(str(three_hosts.write_cluster(tmp_path)))
    assert section(config, "provider")["head_ip"] == three_hosts.ADDRESSES[three_hosts.HEAD]


def test_three_hosts_lose_power_and_network(tmp_path: Path) -> None:
    lacking = [
        name for name in ("sshd", "rsync", "ip") if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None
    ]
    if os.geteuid() or lacking:
        pytest.skip(f"three hosts need root, and here lack {', '.join(lacking) or 'it'}")
    if not os.environ.get("XPE_THREE_HOSTS"):
        pytest.skip("three hosts take many minutes: XPE_THREE_HOSTS=1 runs them")
    three_hosts.main(str(tmp_path))
