"""A head reached over real ssh: `sshd -i` is Ray's proxy command, so neither a port nor a service is needed."""

import getpass
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ray._common.utils import get_default_ray_temp_dir
from rich.console import Console

from sweep.cluster.head import Head, _last_line, describe_failure
from xpe_core.errors import InputError

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
MISSING = [program for program in ("ssh", "rsync", "ssh-keygen") if shutil.which(program) is None]
needs_ssh = pytest.mark.skipif(SSHD is None or bool(MISSING), reason=f"no sshd, or no {', '.join(MISSING)}, on PATH")


def make_head(folder: Path, proxy_command: str) -> Head:
    """Return the head of a cluster of one's own machines that is reached through a command."""
    config = {
        "cluster_name": f"test-{folder.name}-{folder.parent.name}",
        "provider": {"type": "local", "head_ip": "127.0.0.1", "worker_ips": []},
        "auth": {
            "ssh_user": getpass.getuser(),
            "ssh_private_key": str(folder / "key"),
            "ssh_proxy_command": proxy_command,
        },
    }
    (folder / "cluster.yaml").write_text(yaml.safe_dump(config))
    return Head(str(folder / "cluster.yaml"), config)


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Head:
    """Give this machine as a head, with a home of its own and this Python first on its PATH."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    shutil.copy(tmp_path / "key.pub", tmp_path / "authorized_keys")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".bashrc").write_text(f'export PATH="{Path(sys.executable).parent}:$PATH"\n')
    options = [
        f"HostKey={tmp_path / 'key'}",
        f"AuthorizedKeysFile={tmp_path / 'authorized_keys'}",
        f"SetEnv=HOME={tmp_path / 'home'}",
        *("StrictModes=no", "UsePAM=no", "PermitRootLogin=yes", "PidFile=none"),
    ]
    command = [str(SSHD), "-f", "/dev/null", *(part for option in options for part in ("-o", option))]
    tried = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"sshd does not run here: {tried.stderr.strip()}")
    return make_head(tmp_path, " ".join([*command, "-i"]))


@pytest.fixture(autouse=True)
def forget_heads() -> Iterator[None]:
    """Take away what Ray remembers of clusters of this test."""
    yield
    for file in Path(get_default_ray_temp_dir()).glob("cluster-test-*-pytest-*.*"):
        file.unlink()


@needs_ssh
def test_what_is_brought_is_there_and_what_is_made_there_comes_back(head: Head, tmp_path: Path) -> None:
    (tmp_path / "parcel" / "0123").mkdir(parents=True)
    (tmp_path / "parcel" / "0123" / "a file").write_text("brought")
    head.upload(tmp_path / "parcel")
    assert (tmp_path / "home" / "xpe-sweep-inputs" / "0123" / "a file").read_text() == "brought"
    head.download("~/xpe-sweep-inputs/0123/", tmp_path / "results" / "mine")
    assert (tmp_path / "results" / "mine" / "a file").read_text() == "brought"
    with pytest.raises(InputError, match="^ray rsync-down .* failed: rsync"):
        head.download("~/nowhere/", tmp_path / "results" / "other")


@needs_ssh
def test_a_command_shows_its_output_and_says_how_it_ended(head: Head, capsys: pytest.CaptureFixture[str]) -> None:
    marks = ["'::xpe-sweep:: {\"begin\": true}'", "'out [x]'", '\'::xpe-sweep:: {"status": 143, "brought": false}\'']
    end = head.run("echo noise; " + "; ".join(f"echo {mark}" for mark in marks) + "; false", Console())
    assert end == {"status": 143, "brought": False}
    assert capsys.readouterr().out == "out [x]\n"


@needs_ssh
def test_a_connection_that_ends_before_the_command_is_told_from_a_command_that_did_not_begin(head: Head) -> None:
    assert head.run("echo '::xpe-sweep:: {\"begin\": true}'", Console()) is None
    with pytest.raises(InputError, match="^nothing could be run on the head: .*no_such_program: command not found"):
        head.run("no_such_program", Console())


@needs_ssh
def test_a_head_without_ray_is_not_up(head: Head, tmp_path: Path) -> None:
    (tmp_path / "home" / ".bashrc").write_text("ray() { return 1; }\n")  # another Ray may run on this machine
    assert not head.is_up()


@pytest.mark.skipif(bool(MISSING), reason=f"no {', '.join(MISSING)} on PATH")
def test_a_head_that_cannot_be_reached_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "key").touch(mode=0o600)
    head = make_head(tmp_path, "echo no way to this machine >&2; exit 1 #")
    with pytest.raises(InputError, match=r"^the head of test-.* cannot be reached: .*[Cc]onnection closed"):
        head.is_up()


def test_the_last_line_of_an_error_is_sshs_own_not_rays_echo() -> None:
    output = "Fetched IP: 10.0.0.1\nssh: connect to host 10.0.0.1 port 22: No route to host\nError: Command failed:\n\n"
    output += "  ssh -tt -i key me@10.0.0.1 bash --login\n\n"
    assert _last_line(output) == "ssh: connect to host 10.0.0.1 port 22: No route to host"


SETUP_FAILED = """\
  [6/7] Running setup commands
    (0/2) echo preparing
preparing
Shared connection to 127.0.0.1 closed.
    (1/2) echo first line; ls /no/such/e...
first line
ls: cannot access '/no/such/environment/bin': No such file or directory
Shared connection to 127.0.0.1 closed.
2026-11-28 13:35:15,042\tINFO node_provider.py:114 -- ClusterState: Writing cluster state: ['127.0.0.1']
  New status: update-failed
  !!!
  Full traceback: Traceback (most recent call last):
click.exceptions.ClickException: SSH command failed.

  Error message: SSH command failed.
  !!!

  Failed to setup head node.
"""


def test_of_a_ray_up_that_fails_the_command_and_its_last_lines_are_said() -> None:
    commands = ["echo preparing", "echo first line; ls /no/such/environment/bin"]
    assert describe_failure(SETUP_FAILED, commands) == (
        "echo first line; ls /no/such/environment/bin failed, saying: first line | ls: cannot access "
        "'/no/such/environment/bin': No such file or directory"
    )
    assert describe_failure("Error: the file is no YAML\n", commands) is None


@needs_ssh
def test_a_head_whose_environment_is_not_there_is_said_with_the_command_that_failed(head: Head, tmp_path: Path) -> None:
    commands = {
        "setup_commands": ["echo preparing", "ls /no/such/environment/of/mine"],
        "worker_start_ray_commands": [],
    }
    config = {**head._config, **commands, "head_start_ray_commands": ["true"]}
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(
        InputError, match="failed on the head 127.0.0.1: ls /no/such/environment/of/mine failed, saying"
    ):
        Head(str(tmp_path / "cluster.yaml"), config).start()
