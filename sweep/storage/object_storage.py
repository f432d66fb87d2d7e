"""How object storage (`s3://bucket/path`) is reached, and what its errors mean to a person.

Keys come from where AWS's own tools look for them (the environment, `~/.aws`, the machine's role) and never out of the
URI, which is printed. A server that is not AWS's is named by AWS_ENDPOINT_URL, or in the URI:
`s3://bucket/path?endpoint_override=minio:9000&scheme=http`. pyarrow reads that variable only where it takes a URI apart
itself, and has no timeouts there, so it is done here.
"""

import os
import re
from dataclasses import dataclass
from functools import cache, cached_property
from urllib.parse import parse_qsl

from pyarrow import fs

from sweep.storage.names import find_problem
from xpe_core.errors import InputError

PARAMETERS = ("endpoint_override", "region", "scheme")
"""What may stand behind the question mark of a URI."""
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
    """A connection, and what of the URI goes on behind every path."""

    region: str
    endpoint: str | None
    scheme: str | None
    query: str
    attempts: int = ATTEMPTS

    @cached_property
    def system(self) -> fs.FileSystem:
        """The connection."""
        return fs.S3FileSystem(
            region=self.region,
            endpoint_override=self.endpoint,
            scheme=self.scheme,
            connect_timeout=CONNECT_SECONDS,
            request_timeout=SILENCE_SECONDS,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=self.attempts),
            allow_delayed_open=True,  # else even the smallest file is an upload in parts, which a kill leaves behind
        )

    @property
    def server(self) -> str:
        """What to call the server."""
        return self.endpoint.rpartition("@")[2] if self.endpoint else "AWS"


def is_object_storage(place: str) -> bool:
    """Whether a place is meant to be object storage, and no path."""
    return "://" in place or place.lower().startswith("s3:")


def without_query(place: str) -> str:
    """Return a place without what stands behind the question mark of a URI."""
    return place.partition("?")[0] if is_object_storage(place) else place


def connect(uri: str) -> tuple[Bucket, str]:
    """Return the connection and the path `bucket/path` of a URI; InputError where it is none that can be used."""
    if "@" in uri:
        raise InputError(f"storage s3://...: leave keys out of it, they are taken from {KEYS}")
    head, _, query = uri.partition("?")
    path = head.removeprefix("s3://").rstrip("/")
    bucket, *parts = path.split("/")
    is_named = PART.fullmatch(bucket) and all(PART.fullmatch(part) or find_problem(part) is None for part in parts)
    if not head.startswith("s3://") or not is_named:
        raise InputError(
            f"storage {without_query(uri)}: must be a path or s3://bucket/path, of letters, digits, dots, dashes, "
            "underscores and equals signs"
        )
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in PARAMETERS:
            raise InputError(f"storage s3://{path}: unknown parameter {name!r}; known are {', '.join(PARAMETERS)}")
    if options.get("scheme", "https") not in ("http", "https"):
        raise InputError(f"storage s3://{path}: scheme={options['scheme']}: must be http or https")
    endpoint = options.get("endpoint_override") or _environment("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    region = options.get("region") or (_environment("AWS_REGION", "AWS_DEFAULT_REGION") if endpoint else None)
    region = region or ("us-east-1" if endpoint else _find_region(path.partition("/")[0]))
    return Bucket(region, endpoint, options.get("scheme"), f"?{query}" if query else ""), path


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
