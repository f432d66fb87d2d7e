"""A real `ray up` on three hosts, one of which loses power and one its network in the middle of a sweep.

    sudo .venv/bin/python -m tests.cluster.three_hosts [FOLDER]

The hosts are name spaces on this machine (`machines.sh`: root, openssh-server, rsync, iproute2), each with a home, a
process tree and a network of its own; what they share is this machine's disk. A file made from `cluster-local.yaml`
starts Ray on them, `python sweep/run.py --cluster` runs a sweep from outside, loses its own connection once and is
started again, host 2 is killed and host 3 cut off while trials run there, and the results are compared with those of
an undisturbed run on one host. Exit status 1 where something differs or is left over.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import yaml
from ray._common.utils import get_default_ray_temp_dir

from sweep.analysis import read_runs
from sweep.cluster.head import Head
from sweep.records.ledger import read_events
from tests.cluster.kill_driver import compare
from tests.conftest import make_backbone, make_search, write_dataset
from xpe_core.errors import InputError

ROOT = Path(__file__).parent.parent.parent
HEAD, LOSES_POWER, LOSES_NETWORK = 1, 2, 3
BEGAN = time.monotonic()
RAYS_OWN = ("raylet", "gcs_server", "ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent", "ray::PackTrainable")
STATE = Path(get_default_ray_temp_dir()) / "cluster-three-hosts.state"
"""What Ray remembers here of the cluster."""
ADDRESSES = {host: f"10.77.0.{10 + host}" for host in (HEAD, LOSES_POWER, LOSES_NETWORK)}
NUM_TRIALS = 9


def main(folder: str | None = None) -> None:
    """Bring the hosts up, run a sweep on them, take them down, and compare."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is up is taken down
    with tempfile.TemporaryDirectory(prefix="x3", dir="/tmp") as scratch:
        place = Path(folder or scratch).absolute()
        cluster, experiment = write_cluster(place), write_experiment(place)
        with hosts(place) as processes:
            tell("three hosts are up")
            head = Head(str(cluster), yaml.safe_load(cluster.read_text(encoding="utf-8")))
            is_up = [head.is_up()]
            head.start()
            is_up.append(head.is_up())
            wait("nodes that have joined", 300, lambda: count_nodes(place) == 3)
            tell("ray up: three nodes have joined")
            status, num_lost = run_disturbed(place, cluster, experiment)
            subprocess.run([sys.executable, "sweep/run.py", "--cluster", cluster, "list"], cwd=ROOT, check=True)
            ray_down(cluster)
            left = [process for process in processes(HEAD) if process.name() in RAYS_OWN]
            tell(f"ray down: {len(left)} processes of Ray are left on the head")
            run_undisturbed(place, experiment)
            tell("the same experiment has run undisturbed on one host")
            everything = [process for host in (HEAD, LOSES_NETWORK) for process in processes(host)]
        left += [process for process in everything if process.is_running()]
        spaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout.count("xpe")
        tell(f"the hosts are gone: {len(left)} processes and {spaces} name spaces are left")
        found = place / "results" / experiment.stem
        runs = read_runs(found)
        states = ", ".join(f"{count} {state}" for state, count in runs["state"].value_counts().rows())
        print(f"runs: {states}; on the hosts {', '.join(sorted(set(runs['host'])))}")
        compare(place / "undisturbed" / experiment.stem, found)
        if is_up != [False, True] or status or len(runs) != 2 * NUM_TRIALS or num_lost < 2 or left or spaces:
            sys.exit(f"up: {is_up}, exit status {status}, {len(runs)} runs, {num_lost} lost, {left} and {spaces} left")
        print("the same runs, numbers and best configuration as undisturbed, no run twice")


def run_disturbed(place: Path, cluster: Path, experiment: Path) -> tuple[int, int]:
    """Run the sweep from outside, go away and come back, and lose two hosts.

    Returns its exit status and how often a trial was lost with its node.
    """
    ledger = place / f"home{HEAD}" / "xpe-sweep-results" / experiment.stem
    sweep = start(cluster, experiment, place)
    wait("a report", 600, lambda: any(event["event"] == "report" for event in read_events(ledger)))
    sweep.send_signal(signal.SIGINT)
    tell(f"the laptop's side is interrupted, and ends with {sweep.wait(120)}")
    STATE.unlink()  # as after this computer's next boot: what runs must be found nevertheless
    sweep = start(cluster, experiment, place)
    lost_soon = {f"xpe{host}" for host in (LOSES_POWER, LOSES_NETWORK)}
    wait("finished trials of both hosts", 600, lambda: lost_soon <= hosts_of_runs(ledger))
    wait("trials on both hosts", 600, lambda: trains(place, LOSES_POWER) and trains(place, LOSES_NETWORK))
    machines("kill", LOSES_POWER, place)
    machines("cut", LOSES_NETWORK)
    tell(f"host {LOSES_POWER} has lost power, host {LOSES_NETWORK} its network, both in the middle of a trial")
    status = sweep.wait(1800)
    num_lost = sum(event["event"] == "lost" for event in read_events(ledger))
    tell(f"the sweep ends with {status}; {num_lost} times a trial was lost with its node")
    return status, num_lost


def tell(what: str) -> None:
    """Print what has happened and when."""
    print(f"[{time.monotonic() - BEGAN:4.0f} s] {what}", flush=True)


def write_cluster(place: Path) -> Path:
    """Fill `cluster-local.yaml` in; the hosts see this machine's Python environment, so nothing is installed."""
    config = yaml.safe_load((ROOT / "cluster-local.yaml").read_text(encoding="utf-8"))
    config["cluster_name"] = "three-hosts"
    config["provider"] |= {"head_ip": ADDRESSES[HEAD], "worker_ips": [ADDRESSES[LOSES_POWER], ADDRESSES[LOSES_NETWORK]]}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(place / "key")}
    config["file_mounts"] |= {"~/backbones/tiny": str(place / "backbone")}  # the data travel with the command
    config["setup_commands"] = [
        f"ln -sfn {sys.prefix} ~/xpe-venv",
        "echo 'export PATH=\"$HOME/xpe-venv/bin:$PATH\"' >> ~/.bashrc",
    ]
    small = "nice -n 19 ray start --num-cpus=1 --num-gpus=0 --object-store-memory=100000000 "
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        config[key] = [command.replace("ray start ", small) for command in config[key]]
    file = place / "cluster.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return file


def write_experiment(place: Path) -> Path:
    """Write a search whose outcome does not depend on what ends when."""
    (place / "data").mkdir()
    values = make_search(write_dataset(place / "data"), make_backbone(place / "backbone"))
    values["base"] |= {"max_steps": 1500, "eval_steps": 500}
    values["base"] |= {"backbone": "~/backbones/tiny", "dataset": str(place / "data")}
    values |= {"num_samples": NUM_TRIALS, "sampler": "random"}
    values["scheduler"]["grace_period"] = 1500
    values["resources"] = {"checkpoint_seconds": 2, "cpus_per_trial": 1}
    file = place / "tiny.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return file


@contextmanager
def hosts(place: Path) -> Iterator[Callable[[int], list[psutil.Process]]]:
    """Have three hosts for the time being; yields what returns the processes of one."""

    def processes(host: int) -> list[psutil.Process]:
        first = int((place / f"pid{host}").read_text())
        return psutil.Process(first).children(recursive=True) if psutil.pid_exists(first) else []

    try:
        machines("up", len(ADDRESSES), place)
        yield processes
    finally:
        machines("down", len(ADDRESSES), place)
        for file in (STATE, STATE.with_suffix(".lock")):
            file.unlink(missing_ok=True)
        time.sleep(2)


def machines(*arguments: object) -> None:
    """Run `machines.sh`."""
    subprocess.run([str(ROOT / "tests" / "cluster" / "machines.sh"), *map(str, arguments)], check=True)


def ray_down(cluster: Path) -> None:
    """Run `ray down` as a user would; what it says is shown where it fails."""
    arguments = [sys.executable, "-m", "ray.scripts.scripts", "down", "-y", str(cluster)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"ray down: {done.stdout}{done.stderr}")


def start(cluster: Path, experiment: Path, place: Path) -> subprocess.Popen[bytes]:
    """Start the sweep from outside."""
    command = [
        "sweep/run.py",
        "--cluster",
        str(cluster),
        "search",
        str(experiment),
        "--storage",
        str(place / "results"),
    ]
    return subprocess.Popen([sys.executable, *command], cwd=ROOT)


def on_head(place: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the head over ssh."""
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    ssh = ["ssh", "-i", str(place / "key"), *options, f"root@{ADDRESSES[HEAD]}"]
    return subprocess.run([*ssh, f'export PATH="$HOME/xpe-venv/bin:$PATH"; {command}'], capture_output=True, text=True)


def count_nodes(place: Path) -> int:
    """Return how many nodes Ray has."""
    return on_head(place, "ray list nodes --filter state=ALIVE --format json").stdout.count('"node_ip"')


def trains(place: Path, host: int) -> bool:
    """Whether a trial runs on a host: a worker's process there is at work."""
    first = psutil.Process(int((place / f"pid{host}").read_text()))
    return any(process.name().startswith("ray::PackTrain") for process in first.children(recursive=True))


def hosts_of_runs(folder: Path) -> set[str]:
    """Return the hosts that runs in the tables have come from."""
    try:
        return set(read_runs(folder)["host"])
    except InputError:  # there are no tables yet
        return set()


def run_undisturbed(place: Path, experiment: Path) -> None:
    """Run the experiment as the head has it, with a Ray of its own on that host alone."""
    inputs = place / f"home{HEAD}" / "xpe-sweep-inputs"
    (file,) = inputs.glob(f"*/{experiment.name}")
    project = max(inputs.glob("*/sweep"), key=os.path.getmtime).parent
    words = f"search ~/xpe-sweep-inputs/{file.parent.name}/{file.name} --storage {place}/undisturbed"
    done = on_head(place, f"cd ~/xpe-sweep-inputs/{project.name} && RAY_ADDRESS=local python -m sweep.run {words}")
    if done.returncode:
        sys.exit(f"undisturbed: {done.stdout}{done.stderr}")


def wait(what: str, seconds: float, is_there: Callable[[], bool]) -> None:
    """Wait until something is there; exit where it does not come in time."""
    deadline = time.monotonic() + seconds
    while not is_there():
        if time.monotonic() > deadline:
            sys.exit(f"waited {seconds:.0f} seconds for {what} in vain")
        time.sleep(0.5)


if __name__ == "__main__":
    main(*sys.argv[1:])
