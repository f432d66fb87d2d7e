"""A cluster file for `ray up`, checked before any machine is paid for.

Ray's own validation lets pass what it does not know by name: an absent `auth`, every typo in the keys of a cloud's
machines, commands that no shell reads.
"""

import contextlib
import copy
import io
import json
import logging
import platform
import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import yaml

from sweep.cluster.ec2_keys import check_ec2
from sweep.cluster.sections import Section, section, sections, texts
from sweep.experiment.yaml_files import check_keys
from xpe_core.errors import InputError
from xpe_core.validation import nearest

PLACEHOLDER = "REPLACE_ME"
COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
MEND = re.compile(r"RAY_enable_autoscaler_v2=0\b[^\n]*\bray start\b")
PROVIDER_KEYS = {
    "aws": (
        *("type", "region", "availability_zone", "cache_stopped_nodes", "use_internal_ips"),
        *("key_pair", "security_group", "cloudwatch", "disable_node_updaters"),
    ),
    "local": ("type", "head_ip", "worker_ips", "external_head_ip", "coordinator_address", "use_internal_ips"),
}
"""What Ray reads of `provider`; its schema allows anything."""
SECRETS = {
    "an AWS access key": r"\b(AKIA|ASIA)[0-9A-Z]{16}\b",
    "an AWS secret": r"(?i)aws_?(secret_access_key|session_token)\W{1,4}[A-Za-z0-9/+=]{16,}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a token of the hub": r"\bhf_[A-Za-z0-9]{16,}",
    "a token of GitHub": r"\b(gh[pousr]_|github_pat_)[A-Za-z0-9_]{16,}",
    "a password or token": r"(?i)\b\w*(password|secret|token|api_key)\w*[\"']?\s*[:=]\s*[\"']?[A-Za-z0-9/+_=.-]{12,}",
}


def read_cluster(path: str) -> Section:
    """Return a cluster file's content; InputError that names file and key where `ray up` could not use it as it is.

    Paths in it count from the current folder, as they do for `ray up`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        check_keys(text, f"cluster file {path}")
        config = yaml.safe_load(text)
    except OSError as error:
        raise InputError(f"cluster file {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"cluster file {path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict):
        raise InputError(f"cluster file {path}: must hold keys such as cluster_name and provider, not {config!r}")
    if problem := next(_find_problems(text, config), None):
        raise InputError(f"cluster file {path}: {problem}")
    return config


def _find_problems(text: str, config: Section) -> Iterator[str]:
    """Yield what is wrong, each as the rest of a sentence; the checks of a part rely on those above them."""
    yield from _check_secrets(text)
    yield from _check_keys(config)
    yield from _check_placeholders(config)
    yield from _check_auth(section(config, "auth"))
    kind = section(config, "provider")["type"]
    yield from _check_local(config) if kind == "local" else _check_node_types(config)
    if kind == "aws":
        yield from check_ec2(config)
    for there, here in section(config, "file_mounts").items():
        if not Path(str(here)).expanduser().exists():
            yield f"file_mounts.{there}: there is no {here} in {Path.cwd()}"
    yield from _check_commands(config)
    yield from _check_constraints(config)
    yield from _check_with_ray(config)


def _check_secrets(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        for what, pattern in SECRETS.items():
            if re.search(pattern, line):
                yield f"line {number} looks like {what}: a cluster file is copied to every machine and must hold none"


def _check_keys(config: Section) -> Iterator[str]:
    schema = json.loads(files("ray.autoscaler").joinpath("ray-schema.json").read_text(encoding="utf-8"))
    known = [*schema["properties"], "min_workers"]
    yield from (nearest(str(key), known) for key in config if key not in known)
    if not isinstance(config.get("cluster_name"), str):
        yield "cluster_name is missing: it must be a name of your choice"
    provider = section(config, "provider")
    kind = provider.get("type")
    if not isinstance(kind, str):
        yield "provider.type is missing: it must be aws, local, or another one that Ray knows"
        return
    allowed = PROVIDER_KEYS.get(kind)
    yield from (f"provider: {nearest(str(key), allowed)}" for key in provider if allowed and key not in allowed)
    auth = section(config, "auth")
    if not isinstance(auth.get("ssh_user"), str):
        yield "auth.ssh_user is missing: it must be the login on the machines"
        return
    known = list(schema["properties"]["auth"]["properties"])
    yield from (f"auth: {nearest(str(key), known)}" for key in auth if key not in known)


def _check_placeholders(value: object, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, below in value.items():
            yield from _check_placeholders(below, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _check_placeholders(below, f"{key}[{index}]")
    elif isinstance(value, str) and PLACEHOLDER in value:
        yield f"{key} is still {value}: the comment above it says what it must be"


def _check_auth(auth: Section) -> Iterator[str]:
    key = auth.get("ssh_private_key")
    if key is not None and not Path(str(key)).expanduser().is_file():
        yield f"auth.ssh_private_key: there is no file {key}"


def _check_local(config: Section) -> Iterator[str]:
    provider = section(config, "provider")
    if "coordinator_address" not in provider:
        head, workers = provider.get("head_ip"), provider.get("worker_ips")
        if not isinstance(head, str):
            yield "provider.head_ip is missing: it must be the head's address"
        if not isinstance(workers, list):
            yield "provider.worker_ips is missing: it must be the list of the workers' addresses, which may be empty"
        elif head in workers:
            yield f"provider.worker_ips holds the head, {head}: it is no worker"
    for key in ("available_node_types", "head_node_type", "head_node", "worker_nodes"):
        if config.get(key):
            yield f"{key} belongs to a cloud, and this is provider.type: local"
    if not any(map(MEND.search, texts(config, "head_start_ray_commands"))):
        yield (
            "head_start_ray_commands: `export RAY_enable_autoscaler_v2=0;` must stand before `ray start` in its line, "
            "or Ray counts the head as a worker and leaves one out"
        )


def _check_node_types(config: Section) -> Iterator[str]:
    types = section(config, "available_node_types")
    if not types:
        yield "available_node_types is missing: it must describe the head and the workers"
        return
    head = config.get("head_node_type")
    if not isinstance(head, str) or head not in types:
        yield f"head_node_type: must be one of available_node_types, {', '.join(types)}, not {head!r}"
    for name in types:
        values = section(types, name)
        if not isinstance(values.get("node_config"), dict):
            yield f"available_node_types.{name}.node_config is missing"
            continue
        low, high = values.get("min_workers", 0), values.get("max_workers", config.get("max_workers"))
        if isinstance(low, int) and isinstance(high, int) and low > high:
            yield f"available_node_types.{name}: min_workers={low} is more than max_workers={high}"


def _check_commands(config: Section) -> Iterator[str]:
    """Check what a shell would not read, and versions that are not those installed here."""
    kinds = sections(section(config, "available_node_types"))
    for where, values in {"": config, **{f"available_node_types.{name}.": kinds[name] for name in kinds}}.items():
        for key in COMMANDS:
            commands = texts(values, key)
            if (values.get(key) or []) != commands:
                yield f"{where}{key}: must be a list of commands"
                continue
            for index, command in enumerate(commands):
                read = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
                if read.returncode:
                    reason = " ".join(read.stderr.split()).removeprefix("bash: ")
                    yield f"{where}{key}[{index}]: no shell reads it ({reason})"
                yield from (f"{where}{key}[{index}] {problem}" for problem in _check_versions(command))


def _check_versions(command: str) -> Iterator[str]:
    here = ".".join(platform.python_version_tuple()[:2])
    for found in re.findall(r"\bray(?:\[[\w,-]*\])?==([\w.]+)", command):
        if found != version("ray"):
            yield f"installs Ray {found}, and here it is {version('ray')}: must be the same on all machines"
    for found in re.findall(r"(?:--python[= ]|\bpython=*)(3\.\d+)", command):
        if found != here:
            yield f"takes Python {found}, and here it is {here}: must be the same on all machines"


def _check_constraints(config: Section) -> Iterator[str]:
    """Compare the Ray that a mounted constraints.txt pins with the one here."""
    for here in map(str, section(config, "file_mounts").values()):
        if Path(here).name != "constraints.txt":
            continue
        pinned = re.search(r"(?m)^ray==(\S+)", Path(here).expanduser().read_text(encoding="utf-8"))
        if pinned and pinned[1] != version("ray"):
            yield f"file_mounts: {here} pins Ray {pinned[1]}, and here it is {version('ray')}: must be the same"


def _check_with_ray(config: Section) -> Iterator[str]:
    """Let Ray validate the file as `ray up` does, without what it prints."""
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    logging.getLogger("ray.autoscaler").setLevel(logging.WARNING)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            validate_config(prepare_config(copy.deepcopy(config)))
    except ValidationError as error:
        yield f"{'.'.join(map(str, error.absolute_path)) or 'its keys'}: {error.message}"
    except Exception as error:  # whatever it is, the file cannot be used
        yield str(error).splitlines()[0] if str(error) else said.getvalue().strip().splitlines()[-1]
