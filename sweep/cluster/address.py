"""Which Ray an experiment joins: one that RAY_ADDRESS names, one that `ray start` or `ray up` started here, or none.

A Ray that a Python program started for itself (`ray.init`) is that program's alone: it ends when the program does, and
takes with it whoever had joined it. Ray's own address `auto` joins such ones, so it is not used.
"""

import os
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from xpe_core.errors import InputError

FORM = (
    "it must be HOST:PORT of the cluster's head (`ray start` says it, the port is mostly 6379), `auto` for the cluster "
    "that `ray start` started on this machine, or `local` for a Ray of the experiment's own"
)
CONNECT_SECONDS = 5.0
HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5})")
SESSION_OWNER = re.compile(r"session_[\d_-]+_(\d+)$")
"""The end of a session's folder: the process that started it."""


@dataclass(frozen=True)
class Raylet:
    """A node of some Ray on this machine."""

    pid: int
    parent: int
    """The process that started it, where that is still there."""
    address: str
    """HOST:PORT of the cluster's head."""
    user: str
    is_private: bool
    """Whether a program started it for itself."""
    temp_dir: str
    node_id: str


def find_address() -> str | None:
    """Return the address of the Ray to join, None where the experiment is to start one of its own.

    InputError where RAY_ADDRESS names none that can be joined, or several clusters were started here.
    """
    said = os.environ.get("RAY_ADDRESS", "").strip()
    if said.lower() == "local":
        return None
    if said.lower() not in ("", "auto"):
        return _check(said, find_raylets())
    started = _started_here(find_raylets())
    if not started and said:
        raise InputError(
            "RAY_ADDRESS=auto: no Ray cluster of yours was started on this machine; start one with `ray start --head`, "
            "or leave RAY_ADDRESS out for a Ray of the experiment's own"
        )
    return started[0] if started else None


def find_raylets() -> list[Raylet]:
    """Return the Ray nodes on this machine whose processes may be seen."""
    found = []
    for process in psutil.process_iter(["name", "cmdline", "username", "ppid"]):
        if process.info["name"] != "raylet" or not process.info["cmdline"]:
            continue
        options = dict(
            option.removeprefix("--").split("=", 1)
            for option in process.info["cmdline"]
            if re.match(r"--[\w-]+=", option)
        )
        if "gcs-address" in options and "session_dir" in options:
            found.append(
                Raylet(
                    process.pid,
                    process.info["ppid"],
                    options["gcs-address"],
                    process.info["username"] or "",
                    _is_private(process.info["ppid"], options["session_dir"]),
                    options.get("temp_dir", ""),
                    options.get("node_id", ""),
                )
            )
    return found


def describe_others() -> list[str]:
    """Return a sentence for each cluster of somebody else on this machine, which is not joined."""
    others = {(one.address, one.user) for one in find_raylets() if not one.is_private and one.user != _user()}
    return [
        f"{user}'s Ray cluster at {address} is not joined; RAY_ADDRESS={address} would"
        for address, user in sorted(others)
    ]


def _started_here(raylets: Sequence[Raylet]) -> list[str]:
    """Return the address of the cluster that this user started last with `ray start`, as a list of one, or []."""
    own = [one for one in raylets if not one.is_private and one.user == _user()]
    addresses = sorted({one.address for one in own})
    if len(addresses) < 2:
        return addresses
    written = {_read(Path(one.temp_dir, "ray_current_cluster")) for one in own}
    latest = [address for address in addresses if address in written]
    if len(latest) != 1:
        raise InputError(
            f"several Ray clusters run on this machine, {', '.join(addresses)}: say with RAY_ADDRESS which one to "
            "join, or RAY_ADDRESS=local for a Ray of the experiment's own"
        )
    return latest


def _is_private(parent: int, session: str) -> bool:
    """Whether the process that started a session is still the raylet's parent, and not `ray start --block`."""
    owner = SESSION_OWNER.search(session)
    if owner is None or int(owner[1]) != parent:
        return False
    try:
        words = psutil.Process(parent).cmdline()
    except psutil.Error:
        return False
    return not ("start" in words and any("ray" in Path(word).name or word.startswith("ray.") for word in words))


def _check(said: str, raylets: Sequence[Raylet]) -> str:
    """Return an address, where a cluster answers there that this machine is a node of; else InputError."""
    if said.startswith(("http://", "https://")):
        raise InputError(f"RAY_ADDRESS={_hide(said)} is the dashboard's address, for `ray job submit`; here {FORM}")
    if said.startswith("ray://"):
        raise InputError(f"RAY_ADDRESS={_hide(said)}: experiments do not run through Ray's client; {FORM}")
    matched = HOST_AND_PORT.fullmatch(said)
    if matched is None or not 0 < int(matched["port"]) < 65536:
        guess = f" (perhaps {perhaps})" if (perhaps := _guess(said)) else ""
        raise InputError(f"RAY_ADDRESS={_hide(said)}: no HOST:PORT{guess}; {FORM}")
    host, port = matched["host"].strip("[]"), int(matched["port"])
    try:
        with socket.create_connection((host, port), CONNECT_SECONDS):
            pass
    except socket.gaierror:
        raise InputError(f"RAY_ADDRESS={said}: there is no host {host}; {FORM}") from None
    except OSError:
        raise InputError(f"no Ray cluster answers at RAY_ADDRESS={said}; {FORM}") from None
    for one in raylets:
        if _is_same(host, port, one.address):
            return one.address
    raise InputError(
        f"RAY_ADDRESS={said}: this machine is no node of that cluster; `ray start --address={said}` makes it one, and "
        "`--cluster FILE` runs the command on the head"
    )


def _guess(said: str) -> str:
    """Return what somebody may have meant who left out the host or the port; empty where nothing is near."""
    if re.fullmatch(r":?\d{1,5}", said):
        return f"127.0.0.1:{said.lstrip(':')}"
    return f"{said}:6379" if re.fullmatch(r"[\w.-]+", said) else ""


def _is_same(host: str, port: int, address: str) -> bool:
    there, _, at = address.rpartition(":")
    if int(at) != port:
        return False
    return bool(_resolve(host) & _resolve(there.strip("[]"))) or (_is_loopback(host) and _is_own(there.strip("[]")))


def _resolve(host: str) -> set[str]:
    with suppress(OSError):
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    return {host}


def _is_loopback(host: str) -> bool:
    return any(one.startswith("127.") or one == "::1" for one in _resolve(host))


def _is_own(host: str) -> bool:
    """Whether an address is one of this machine's."""
    own = {one.address.partition("%")[0] for addresses in psutil.net_if_addrs().values() for one in addresses}
    return bool(_resolve(host) & own)


def _hide(address: str) -> str:
    """Return an address without a name and password in it."""
    return re.sub(r"(^|//)[^/@]*@", r"\1", address)


def _read(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").strip()
    return ""


def _user() -> str:
    return psutil.Process().username()
