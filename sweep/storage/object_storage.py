"""How object storage (`s3://bucket/path`, `gs://`, `abfs://`, `hdfs://`) is reached, and what its errors mean.

Keys come from where each provider's own tools look for them (for S3 the environment, `~/.aws`, the machine's role) and
never out of the URI, which is printed. Another server than AWS's is named by AWS_ENDPOINT_URL, or in the URI:
`s3://bucket/path?endpoint_override=minio:9000&scheme=http`; so is all else that pyarrow can be told of a connection.
pyarrow reads that variable only where it takes a URI apart itself, and knows fewer options there, so for S3 it is done
here.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from urllib.parse import parse_qsl

import pyarrow as pa
from pyarrow import fs

from sweep.storage.names import find_problem
from xpe_core.errors import InputError

Option = str | bool | float


def _read_switch(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.lower()]


def _read_web_scheme(text: str) -> str:
    if text not in ("http", "https"):
        raise ValueError(text)
    return text


PARAMETERS: Mapping[str, tuple[Callable[[str], Option], str]] = {
    "allow_bucket_creation": (_read_switch, "true or false"),
    "anonymous": (_read_switch, "true or false"),
    "check_directory_existence_before_creation": (_read_switch, "true or false"),
    "connect_timeout": (float, "seconds"),
    "endpoint_override": (str, "HOST:PORT"),
    "external_id": (str, "an id"),
    "force_virtual_addressing": (_read_switch, "true or false"),
    "proxy_options": (str, "a URI"),
    "region": (str, "a region"),
    "request_timeout": (float, "seconds"),
    "role_arn": (str, "a role"),
    "scheme": (_read_web_scheme, "http or https"),
    "session_name": (str, "a name"),
    "tls_ca_file_path": (str, "a file"),
}
"""What may stand behind the question mark of an S3 URI, how it is read, and what it must be; pyarrow's own words."""
SECRET = re.compile(r"(?i)secret|password|token|access_key|credential(?!_kind)|sas")
"""Names of parameters whose values must not be printed."""
OTHERS = {
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`",
    "gcs": "GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`",
    "abfs": "AZURE_CLIENT_ID and its like, or `az login`",
    "abfss": "AZURE_CLIENT_ID and its like, or `az login`",
    "hdfs": "Hadoop's own configuration",
    "viewfs": "Hadoop's own configuration",
}
"""Storage that pyarrow reaches by the URI alone, and where its keys come from."""
INSTEAD = {
    **dict.fromkeys(("s3a", "s3n"), "s3://bucket/path"),
    **dict.fromkeys(
        ("oss", "r2", "minio", "b2", "cos", "obs", "swift"),
        "s3://bucket/path?endpoint_override=HOST:PORT, if it speaks S3",
    ),
    **dict.fromkeys(("az", "azure", "wasb", "wasbs", "adl"), "abfs://container@account.dfs.core.windows.net/path"),
}
"""What to write for what pyarrow does not know."""
USER = re.compile(r"(?:anonymous|[\w-]+)@")
"""Before a host: a container of Azure's or nobody, and no password."""
NEARLY_URI = re.compile(r"(?i)s3:|(?:s3[an]?|gc?s|az|abfss?|wasbs?|hdfs|file|https?)(?::/|//)|arn:aws|[\w.-]+@[\w.-]+:")
"""A URI with a slash or colon too few, a bucket's ARN, or another machine's folder as `scp` names it: never a path."""
PART = re.compile(r"(?!\.+$)[A-Za-z0-9_.=-]+")
"""Parts of a path that every tool reads alike, with nothing in them that a URI would have to escape; an experiment's
name may be of any script.
"""
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 10.0
"""Without a byte from the server, after which a request is tried again."""
ATTEMPTS = 3
"""Of a request, with pauses that grow: a server that is off is known to be so in seconds, a dumb one in a minute."""
PATIENT_ATTEMPTS = 8
"""The same of a driver that is at work, and would rather wait than end."""

KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials"
KEYS_REFUSED = f"the server does not accept the keys; see {KEYS}"
MEANINGS = {
    "ACCESS_DENIED": f"access is denied; the keys ({KEYS}) must be allowed to list, read, write and delete there",
    "EXPIRED_TOKEN": KEYS_REFUSED,
    "INVALID_ACCESS_KEY_ID": KEYS_REFUSED,
    "INVALID_CLIENT_TOKEN_ID": KEYS_REFUSED,
    "SIGNATURE_DOES_NOT_MATCH": KEYS_REFUSED,
    "NO_SUCH_BUCKET": "there is no such bucket; make it, or say where with --storage",
    "NETWORK_CONNECTION": "{server} does not answer; AWS_ENDPOINT_URL names another server than AWS's",
}
"""What an error's code says to a person."""


@dataclass(frozen=True)
class Bucket:
    """A connection, and what of the URI goes on around every path."""

    base: str
    """Of the URI, up to what `root` is in a path."""
    root: str
    query: str
    region: str = ""
    endpoint: str | None = None
    options: Mapping[str, Option] = field(default_factory=dict)
    attempts: int = ATTEMPTS

    @cached_property
    def system(self) -> fs.FileSystem:
        """The connection."""
        if not self.base.startswith("s3://"):
            return fs.FileSystem.from_uri(_with_patience(f"{self.base}{self.query}"))[0]
        defaults = {"connect_timeout": CONNECT_SECONDS, "request_timeout": SILENCE_SECONDS}
        return fs.S3FileSystem(
            **{**defaults, **self.options},
            region=self.region,
            endpoint_override=self.endpoint,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=self.attempts),
            allow_delayed_open=True,  # else even the smallest file is an upload in parts, which a kill leaves behind
        )

    @property
    def server(self) -> str:
        """What to call the server."""
        if self.endpoint:
            return self.endpoint.rpartition("@")[2]
        return "AWS" if self.base.startswith("s3://") else self.base

    def name(self, path: str) -> str:
        """Return the URI of a path of this connection."""
        return f"{self.base}{path.removeprefix(self.root)}{self.query}"


def is_object_storage(location: str) -> bool:
    """Whether a location is meant to be object storage, and no path."""
    return "://" in location or NEARLY_URI.match(location) is not None


def without_query(location: str) -> str:
    """Return a location without what stands behind the question mark of a URI."""
    return location.partition("?")[0] if is_object_storage(location) else location


def connect(uri: str) -> tuple[Bucket, str]:
    """Return the connection and the path `bucket/path` of a URI; InputError where it is none that can be used."""
    head, _, query = uri.partition("?")
    scheme, _, rest = head.partition("://")
    if scheme in OTHERS:
        return _connect_other(scheme, rest.rstrip("/"), query)
    if "://" not in uri:
        raise InputError(f"storage {without_query(uri)}: {_describe_form(scheme)}")
    if "@" in uri:
        raise InputError(f"storage {scheme}://...: leave keys out of it, they are taken from {KEYS}")
    path = rest.rstrip("/")
    if scheme != "s3" or not PART.fullmatch(path.partition("/")[0]) or not _has_plain_parts(path):
        raise InputError(f"storage {without_query(uri)}: {_describe_form(scheme)}")
    given = dict(parse_qsl(query, keep_blank_values=True))
    options = {name: _read_option(f"s3://{path}", name, text) for name, text in given.items()}
    endpoint = str(options.pop("endpoint_override", "")) or _environment("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    region = str(options.pop("region", "")) or (_environment("AWS_REGION", "AWS_DEFAULT_REGION") if endpoint else None)
    bucket = path.partition("/")[0]
    region = region or ("us-east-1" if endpoint else _find_region(bucket))
    query = f"?{query}" if query else ""
    return Bucket(f"s3://{bucket}", bucket, query, region, endpoint, options), path


def _read_option(location: str, name: str, text: str) -> Option:
    if SECRET.search(name):
        raise InputError(f"storage {location}: leave {name} out of it, keys are taken from {KEYS}")
    if name not in PARAMETERS:
        raise InputError(f"storage {location}: unknown parameter {name!r}; known are {', '.join(PARAMETERS)}")
    read, form = PARAMETERS[name]
    try:
        return read(text)
    except (KeyError, ValueError):
        raise InputError(f"storage {location}: {name}={text}: must be {form}") from None


def _connect_other(scheme: str, rest: str, query: str) -> tuple[Bucket, str]:
    """Return connection and path of storage other than S3's, whose URI pyarrow reads itself."""
    authority, _, below = rest.partition("/")
    keys = OTHERS[scheme]
    secret = next((name for name, _ in parse_qsl(query, keep_blank_values=True) if SECRET.search(name)), None)
    user = authority.rpartition("@")[0]
    if secret or (user and not USER.fullmatch(f"{user}@")):
        raise InputError(f"storage {scheme}://...: leave keys out of it, they are taken from {keys}")
    if not authority or (below and not _has_plain_parts(below)):
        raise InputError(f"storage {scheme}://{rest}: {_describe_form(scheme)}")
    uri = f"{scheme}://{rest}"
    try:
        _, path = fs.FileSystem.from_uri(f"{uri}?{query}" if query else uri)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"storage {uri}: {str(error).splitlines()[0]}") from None
    base, root = uri.removesuffix(f"/{below}") if below else uri, path.removesuffix(below).rstrip("/")
    return Bucket(base, root, f"?{query}" if query else ""), path


def _has_plain_parts(path: str) -> bool:
    return all(PART.fullmatch(part) or find_problem(part) is None for part in path.split("/"))


def _describe_form(scheme: str) -> str:
    if scheme in INSTEAD:
        return f"write it as {INSTEAD[scheme]}"
    return (
        "must be a path, s3://bucket/path, gs://bucket/path, abfs://container@account.dfs.core.windows.net/path or "
        "hdfs://host:port/path, of letters, digits, dots, dashes, underscores and equals signs"
    )


def _with_patience(uri: str) -> str:
    """Let Google's client, which tries for a quarter of an hour, give up earlier where nothing else is said."""
    if not uri.startswith(("gs://", "gcs://")) or "retry_limit_seconds" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}retry_limit_seconds={PATIENT_ATTEMPTS * CONNECT_SECONDS:g}"


def describe_error(error: OSError, server: str) -> str:
    """Return what is wrong in a few words, without anything that a server may have repeated of the keys."""
    text = str(error).splitlines()[0]
    found = re.search(r"AWS Error (\w+)(.*?) during (\w+) operation(?:: (.*?))?(?: \(Request ID.*)?$", text)
    if found is None:
        return text
    code, status, operation, message = found.groups()
    if code in MEANINGS:
        return MEANINGS[code].format(server=server)
    return f"{operation} failed: {message or code}{status}"


def _environment(*names: str) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


@cache
def _find_region(bucket: str) -> str:
    """Ask AWS where the bucket is: requests to another region are refused."""
    try:
        return str(fs.resolve_s3_region(bucket))
    except OSError as error:
        missing = "not found" in str(error)
        reason = MEANINGS["NO_SUCH_BUCKET"] if missing else describe_error(error, "AWS")
        raise InputError(f"storage s3://{bucket}: {reason}") from None
