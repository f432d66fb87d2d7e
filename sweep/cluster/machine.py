"""What else happens on the machine that an experiment is about to start on: said in its plan, a reason to refuse never.

Two experiments that run at once each have a Ray of their own, which knows nothing of the other: both take all CPUs and
all GPUs that they may.
"""

import os
import shutil
import subprocess
from pathlib import Path

import psutil

from sweep.cluster.address import describe_others, find_address, find_raylets
from sweep.cluster.own_folder import PREFIX

BUSY_SHARE = 0.5
"""Of the CPUs in use over the last minute, from which on a machine is called busy."""
BUSY_GPU_SHARE = 0.1
"""Of a GPU's memory in use, from which on it is called taken."""


def describe_machine() -> list[str]:
    """Return a sentence for each thing that a person should know before an experiment starts here.

    InputError where RAY_ADDRESS names no Ray that can be joined.
    """
    address = find_address()
    if address is not None:
        return [f"the Ray cluster at {address} is joined"]
    return [*describe_others(), *_describe_load(), *_describe_gpus()]


def _describe_load() -> list[str]:
    others = sum(Path(one.temp_dir).name.startswith(PREFIX) and one.parent != os.getpid() for one in find_raylets())
    if others:
        count, all_of_them = ("another experiment runs", "both") if others == 1 else (f"{others} others run", "all")
        return [
            f"{count} on this machine: they share the CPUs, so {all_of_them} take longer; the numbers stay the same"
        ]
    cpus, load = psutil.cpu_count() or 1, os.getloadavg()[0]
    if load >= max(BUSY_SHARE * cpus, 1.0):
        return [f"busy (load {load:.1f} on {cpus} CPUs): the experiment runs, and takes longer"]
    return []


def _describe_gpus() -> list[str]:
    """Return which of the visible GPUs have much of their memory in use, and the way out."""
    command = ["nvidia-smi", "--query-gpu=index,uuid,memory.used,memory.total", "--format=csv,noheader,nounits"]
    if shutil.which(command[0]) is None:
        return []
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return read_gpus(output, os.environ.get("CUDA_VISIBLE_DEVICES"))


def read_gpus(output: str, visible: str | None) -> list[str]:
    """Return what to say of the GPUs in nvidia-smi's table, of which `visible` (CUDA_VISIBLE_DEVICES) are used."""
    rows = [[cell.strip() for cell in line.split(",")] for line in output.splitlines()]
    rows = [row for row in rows if len(row) == 4 and row[2].isdigit() and row[3].isdigit() and int(row[3])]
    chosen = None if visible is None else [name.strip() for name in visible.split(",")]
    used = [
        row
        for row in rows
        if chosen is None or row[0] in chosen or any(row[1].startswith(one) for one in chosen if one)
    ]
    is_taken = {row[0]: int(row[2]) >= BUSY_GPU_SHARE * int(row[3]) for row in rows}
    taken = [row for row in used if is_taken[row[0]]]
    if not taken:
        return []
    amounts = ", ".join(f"GPU {row[0]} has {int(row[2]) / 1024:.0f} of {int(row[3]) / 1024:.0f} GiB" for row in taken)
    free = [row[0] for row in rows if not is_taken[row[0]]]
    way = f"CUDA_VISIBLE_DEVICES={','.join(free)} takes those that are free" if free else "none is free: wait, or share"
    return [f"{amounts} in use by others; {way}"]
