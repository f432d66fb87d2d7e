"""Storage other than AWS's: options that pyarrow knows are passed on, what cannot be used is said, keys kept out."""

import pytest
from pyarrow import fs

from sweep.storage import Folder
from sweep.storage.object_storage import connect
from xpe_core.errors import InputError


def test_what_pyarrow_can_be_told_of_a_server_is_passed_on(bucket: str) -> None:
    options = "connect_timeout=3&request_timeout=20.5&force_virtual_addressing=false&allow_bucket_creation=true"
    folder = Folder(f"{bucket}/results?region=eu-central-1&{options}")
    folder.write("a", b"content")
    assert folder.read("a") == b"content"
    assert str(folder / "mine").endswith(f"/results/mine?region=eu-central-1&{options}")
    found, path = connect(f"{bucket}/results?{options}")
    assert dict(found.options)["connect_timeout"] == 3.0 and dict(found.options)["allow_bucket_creation"] is True
    assert isinstance(found.system, fs.S3FileSystem) and path.endswith("/results")


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("s3://bucket/a?conect_timeout=3", "unknown parameter 'conect_timeout'; known are allow_bucket_creation"),
        ("s3://bucket/a?connect_timeout=soon", "connect_timeout=soon: must be seconds"),
        ("s3://bucket/a?anonymous=maybe", "anonymous=maybe: must be true or false"),
        ("s3://bucket/a?scheme=ftp", "scheme=ftp: must be http or https"),
        ("s3://bucket/a?secret_key=never-to-be-seen", "leave secret_key out of it, keys are taken from AWS_ACCESS"),
        ("s3a://bucket/a", "write it as s3://bucket/path"),
        ("r2://bucket/a", "write it as s3://bucket/path.endpoint_override=HOST:PORT"),
        ("az://container/a", "write it as abfs://container@account.dfs.core.windows.net/path"),
        ("ftp://host/a", "must be a path, s3://bucket/path, gs://bucket/path"),
        ("https://host/a", "must be a path, s3://bucket/path"),
        ("gs://bucket/a?region=x", "Unexpected query parameter in GCS URI: 'region'"),
        ("abfs://account:never-to-be-seen@host/a", "leave keys out of it, they are taken from AZURE_CLIENT_ID"),
        ("abfs://c@a.dfs.core.windows.net/x?client_secret=never-to-be-seen", "leave keys out of it"),
        ("hdfs://", "must be a path, s3://bucket/path"),
        ("s3//bucket/a", "must be a path, s3://bucket/path"),
        ("gs:/bucket/a", "must be a path, s3://bucket/path"),
        ("file:/tmp/a", "must be a path, s3://bucket/path"),
        ("arn:aws:s3:::bucket/a", "must be a path, s3://bucket/path"),
        ("me@host:/tmp/a", "must be a path, s3://bucket/path"),
        (" ", "storage is empty: name a folder, or write . for the one that you are in"),
    ],
)
def test_what_cannot_be_used_is_said_without_its_keys(uri: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as error:
        Folder(uri)
    assert "never-to-be-seen" not in str(error.value)


def test_googles_and_azures_storage_keep_their_uris() -> None:
    google = Folder("gs://bucket/sweeps?endpoint_override=127.0.0.1:1&scheme=http&retry_limit_seconds=1")
    assert str(google / "mine").startswith("gs://bucket/sweeps/mine?endpoint_override=127.0.0.1:1")
    assert (google / "mine").parent.name == "sweeps"
    azure = Folder("abfs://container@account.dfs.core.windows.net/sweeps")
    assert str(azure / "mine") == "abfs://container@account.dfs.core.windows.net/sweeps/mine"


def test_a_server_of_googles_kind_that_does_not_answer_is_one_sentence() -> None:
    folder = Folder("gs://anonymous@bucket/a?endpoint_override=127.0.0.1:1&scheme=http&retry_limit_seconds=1")
    with pytest.raises(InputError, match="^storage gs://anonymous@bucket/a?.*Could not connect to server"):
        folder.read("a")
