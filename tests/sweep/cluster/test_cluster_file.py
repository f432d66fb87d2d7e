"""The shipped cluster files, filled in, and what is refused of them."""

import platform
import subprocess
from pathlib import Path

import pytest
import yaml

from sweep.cluster.cluster_file import COMMANDS, read_cluster
from xpe_core.errors import InputError

ROOT = Path(__file__).parents[3]
SHIPPED = ("cluster.yaml", "cluster-local.yaml")
WORKERS = "worker_ips: [REPLACE_ME, REPLACE_ME]"


@pytest.fixture(autouse=True)
def start_in_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths in a cluster file count from the project's root."""
    monkeypatch.chdir(ROOT)


def fill_in(name: str, key: Path) -> str:
    """Return a shipped file's text with its placeholders filled in."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = text.replace("ami-REPLACE_ME", "ami-0123456789abcdef0")
    text = text.replace(WORKERS, "worker_ips: [10.0.0.2, 10.0.0.3]")
    text = text.replace("head_ip: REPLACE_ME", "head_ip: 10.0.0.1", 1).replace("ssh_user: REPLACE_ME", "ssh_user: me")
    text = text.replace("3.11.14", platform.python_version())
    return text.replace("~/.ssh/REPLACE_ME", str(key))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """Give a file that stands for a private key."""
    (tmp_path / "key").touch()
    return tmp_path / "key"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_is_accepted_once_it_is_filled_in(name: str, key: Path, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(fill_in(name, key))
    assert str(read_cluster(str(file))["cluster_name"]).startswith("xpe-sweep")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_names_what_is_to_be_filled_in(name: str) -> None:
    with pytest.raises(InputError, match="is still .*REPLACE_ME"):
        read_cluster(name)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shell_reads_every_shipped_command(name: str) -> None:
    config = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    commands = [command for key in COMMANDS for command in config.get(key, [])]
    assert len(commands) == 6
    for command in commands:
        assert subprocess.run(["bash", "-n", "-c", command]).returncode == 0


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_start_command_finds_the_environment_first(name: str) -> None:
    config = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    starts = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    assert all(command.startswith('export PATH="$HOME/xpe-venv/bin:$PATH"; ') for command in starts)


AWS_MISTAKES = {
    "no auth": ("auth:\n", "auth_: \n", "unknown key 'auth_'; did you mean 'auth'?"),
    "no login": ("  ssh_user: ubuntu", "  {}", "auth.ssh_user is missing"),
    "no name": ("cluster_name: xpe-sweep", "", "cluster_name is missing"),
    "a top key": ("max_workers: 8\n\n", "max_worker: 8\n\n", "unknown key 'max_worker'; did you mean 'max_workers'?"),
    "a key twice": ("max_workers: 8\n\n", "max_workers: 8\nmax_workers: 9\n\n", "max_workers stands twice, in lines"),
    "a provider's key": ("availability_zone:", "availability_zones:", "did you mean 'availability_zone'?"),
    "a key of EC2": ("InstanceMarketOptions", "InstanceMarketOption", "did you mean 'InstanceMarketOptions'?"),
    "a key within": ("MarketType", "Markettype", "node_config.InstanceMarketOptions: unknown key 'Markettype'"),
    "a key in a list": ("VolumeSize: 100", "VolumeSiz: 100", r"BlockDeviceMappings\[0\].Ebs: unknown key 'VolumeSiz'"),
    "a type": ("VolumeSize: 100", "VolumeSize: 100GB", "VolumeSize: must be a integer, not '100GB'"),
    "a value": ("MarketType: spot", "MarketType: sport", "MarketType: 'sport' is unknown to botocore"),
    "a machine": ("g5.xlarge", "g5.xlarg", "'g5.xlarg' is unknown to botocore .*g5.xlarge"),
    "a region": ("region: us-east-1", "region: us-eats-1", "provider.region: 'us-eats-1' is unknown"),
    "another region's zones": ("region: us-east-1", "region: us-east-2", "us-east-1a is not in the region us-east-2"),
    "no head": ("head_node_type: head", "", "head_node_type: must be one of available_node_types, head, gpu"),
    "several heads": (
        "head_node_type: head",
        "head_node_type: [head]",
        "head_node_type: must be one of available_node_types, head, gpu",
    ),
    "min above max": ("min_workers: 0", "min_workers: 9", "gpu: min_workers=9 is more than max_workers=8"),
    "a mount": ('/xpe_core": xpe_core', '/xpe_core": xpe_cor', "file_mounts.~/xpe-sweep/xpe_core: there is no xpe_cor"),
    "an AWS key": ("# Spot prices", "# AKIA" + "A" * 16, "line 26 looks like an AWS access key"),
    "a token": ("set -e;", "export HF_TOKEN=hf_" + "a" * 30 + ";", "looks like a token of the hub"),
    "a private key": ("# Of the", "# -----BEGIN OPENSSH PRIVATE KEY-----", "looks like a private key"),
    "a shell's quote": ("ray stop", "ray 'stop", r"head_start_ray_commands\[0\]: no shell reads it"),
    "another Ray": ("pip install -q", "pip install -q 'ray[default]==2.9.3'", "installs Ray 2.9.3, and here it is"),
    "another Python": ("--python ", "--python 3.8 ", "takes Python 3.8, and here it is"),
    "what Ray refuses": (
        "max_workers: 8\n    #",
        "max_workers: many\n    #",
        "available_node_types.gpu.max_workers: 'many'",
    ),
    "a key pair": ("ssh_user: ubuntu", "ssh_user: ubuntu\n  ssh_private_key: /etc/hostname", "KeyName is missing"),
}

LOCAL_MISTAKES = {
    "no mend": (" export RAY_enable_autoscaler_v2=0;", "", "`export RAY_enable_autoscaler_v2=0;` must stand before"),
    "a mend in the wrong line": (
        'ray stop\n  - export PATH="$HOME/xpe-venv/bin:$PATH"; ulimit -n 65536; export RAY_enable_autoscaler_v2=0;',
        "export RAY_enable_autoscaler_v2=0; ray stop\n  - ulimit -n 65536;",
        "must stand before `ray start` in its line",
    ),
    "the head as a worker": ("10.0.0.2", "10.0.0.1", "provider.worker_ips holds the head, 10.0.0.1"),
    "no workers": ("worker_ips", "workers", "provider: unknown key 'workers'; did you mean 'worker_ips'?"),
    "no head": ("  head_ip: 10.0.0.1", "", "provider.head_ip is missing"),
    "no key": ("ssh_private_key: ", "ssh_private_key: /nowhere", "auth.ssh_private_key: there is no file /nowhere"),
    "a cloud's key": ("auth:\n", "head_node_type: head\nauth:\n", "head_node_type belongs to a cloud"),
}


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        *(pytest.param(SHIPPED[0], *mistake, id=what) for what, mistake in AWS_MISTAKES.items()),
        *(pytest.param(SHIPPED[1], *mistake, id=what) for what, mistake in LOCAL_MISTAKES.items()),
    ],
)
def test_a_mistake_is_refused(name: str, old: str, new: str, sentence: str, key: Path, tmp_path: Path) -> None:
    text = fill_in(name, key)
    assert old in text
    file = tmp_path / name
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=f"^cluster file {file}: .*{sentence}"):
        read_cluster(str(file))


def test_what_is_no_cluster_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cluster file nowhere.yaml: No such file or directory"):
        read_cluster("nowhere.yaml")
    file = tmp_path / "list.yaml"
    file.write_text("[1, 2]")
    with pytest.raises(InputError, match="must hold keys such as cluster_name and provider"):
        read_cluster(str(file))
    file.write_text("{: ]")
    with pytest.raises(InputError, match="is not YAML"):
        read_cluster(str(file))
