"""A cluster file's keys of EC2, compared with the service model that botocore ships, without a connection.

What is newer than the installed botocore is unknown to it.
"""

import difflib
from collections.abc import Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING

from sweep.cluster.sections import Section, section, sections
from xpe_core.errors import InputError
from xpe_core.validation import nearest

if TYPE_CHECKING:
    from botocore.model import Shape

RAYS_OWN = ("SubnetIds",)
"""Keys of a node_config that Ray takes for itself, beside those of RunInstances."""
PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "boolean": (bool,),
}


def check_ec2(config: Section) -> Iterator[str]:
    """Yield what is wrong with region, zones and machines, each as the rest of a sentence."""
    try:
        from botocore.session import Session
    except ImportError:
        raise InputError("a cluster in AWS needs boto3: pip install -c constraints.txt -e '.[cluster]'") from None

    session, provider = Session(), section(config, "provider")
    regions = session.get_available_regions("ec2")
    region = provider.get("region")
    if region not in regions:
        yield f"provider.region: {_nearest_value(region, regions)}"
    for zone in str(provider.get("availability_zone") or region).split(","):
        if not zone.strip().startswith(str(region)):
            yield f"provider.availability_zone: {zone.strip()} is not in the region {region}"
    machine = session.get_service_model("ec2").operation_model("RunInstances").input_shape
    for name, values in sections(section(config, "available_node_types")).items():
        where = f"available_node_types.{name}.node_config"
        node = {key: value for key, value in section(values, "node_config").items() if key not in RAYS_OWN}
        yield from _check_shape(node, machine, where)
        for key in ("InstanceType", "ImageId"):
            if key not in node and "LaunchTemplate" not in node:
                yield f"{where}.{key} is missing"
        if "ssh_private_key" in section(config, "auth") and "KeyName" not in node and "UserData" not in node:
            yield f"{where}.KeyName is missing: with auth.ssh_private_key it must name the key pair in EC2"


def _check_shape(value: object, shape: "Shape", where: str) -> Iterator[str]:
    """Compare a value with the shape that EC2 gives it."""
    allowed = PYTHON_TYPES.get(shape.type_name, (object,))
    is_stray_bool = isinstance(value, bool) and not {bool, object} & {*allowed}
    if not isinstance(value, allowed) or is_stray_bool:
        yield f"{where}: must be a {shape.type_name}, not {value!r}"
    elif shape.type_name == "structure" and isinstance(value, dict):
        for key, below in value.items():
            if key not in shape.members:
                yield f"{where}: {nearest(str(key), shape.members)}"
            else:
                yield from _check_shape(below, shape.members[key], f"{where}.{key}")
    elif shape.type_name == "list" and isinstance(value, list):
        for index, below in enumerate(value):
            yield from _check_shape(below, shape.member, f"{where}[{index}]")
    elif shape.type_name == "string" and shape.enum and value not in shape.enum:
        yield f"{where}: {_nearest_value(value, shape.enum)}"


def _nearest_value(value: object, known: list[str]) -> str:
    near = difflib.get_close_matches(str(value), known, n=3)
    return f"{value!r} is unknown to botocore {version('botocore')}; near are {', '.join(near or known[:3])}"
