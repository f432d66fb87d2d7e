"""Folders: whole files or none, on a file system and in object storage, and what cannot be written is said."""

import errno
import os
import re
import socket
import socketserver
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from pyarrow import fs

from sweep.storage import Folder, split_uri
from sweep.storage.object_storage import PATIENT_ATTEMPTS
from xpe_core.errors import InputError


@pytest.fixture(params=["file system", "object storage"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "file system":
        return Folder(tmp_path / "results")
    return Folder(request.getfixturevalue("bucket") + "/results")


def test_a_file_is_read_as_it_was_written_and_replaced_whole(folder: Folder) -> None:
    assert folder.read("runs/part.parquet") is None
    assert (folder.size("runs/part.parquet"), folder.modified("runs/part.parquet")) == (0, None)
    for content in (b"first and long", b"second"):
        folder.write("runs/part.parquet", content)
        assert folder.read("runs/part.parquet") == content
        assert folder.size("runs/part.parquet") == len(content)
    assert (folder / "runs").names() == ["part.parquet"]
    assert folder.folders() == ["runs"]
    assert (folder.modified("runs/part.parquet") or 0) > 1e9
    folder.delete("runs/part.parquet")
    folder.delete("runs/part.parquet")
    assert folder.read("runs/part.parquet") is None


def test_what_is_appended_is_at_the_end_also_for_the_next_who_opens_it(folder: Folder) -> None:
    assert folder.read_appended("ledger.jsonl") == b""
    for part in (b"one\n", b"two\n"):
        folder.append("ledger.jsonl", part)
    again = Folder(folder)
    again.mend("ledger.jsonl")
    again.append("ledger.jsonl", b"three\n")
    assert Folder(folder).read_appended("ledger.jsonl") == b"one\ntwo\nthree\n"


def test_names_are_those_of_files_that_are_not_hidden(folder: Folder) -> None:
    for name in ("b.parquet", "a.parquet", "c.txt", ".hidden.parquet", "below/d.parquet"):
        folder.write(name, b"x")
    assert folder.names(".parquet") == ["a.parquet", "b.parquet"]
    assert (folder / "absent").names() == (folder / "absent").folders() == []


def test_a_folder_knows_where_it_is(folder: Folder) -> None:
    below = folder / "mine"
    assert below.name == "mine"
    assert str(below) == f"{folder}/mine"
    assert (below.path is None) == str(folder).startswith("s3://")


def test_a_folder_that_can_be_written_stays_as_it_was(folder: Folder) -> None:
    (folder / "mine").check_writable()
    assert folder.names() == folder.folders() == []


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)
    folder.write("table", b"old")
    folder.append("ledger.jsonl", b"old")

    def fail(handle: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "fsync", fail)
    for write in (folder.write, folder.append):
        with pytest.raises(InputError, match="no space left for .*make room"):
            write("table" if write == folder.write else "ledger.jsonl", b"new")
    assert folder.read("table") == folder.read("ledger.jsonl") == b"old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ledger.jsonl", "table"]


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("runs/part.parquet", b"whole")
    folder.append("ledger.jsonl", b"one\ntw")
    (tmp_path / "runs" / ".part.parquet.x1.tmp").write_bytes(b"ha")
    folder.mend("ledger.jsonl")
    assert folder.read_appended("ledger.jsonl") == b"one\n"
    assert [file.name for file in (tmp_path / "runs").iterdir()] == ["part.parquet"]


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for read in (lambda: Folder(tmp_path / "file").read("x"), Folder(tmp_path / "file").names):
        with pytest.raises(InputError, match=f"storage {tmp_path}/file cannot be read .*--storage DIR"):
            read()


def test_what_grew_in_object_storage_grows_on_where_it_is_copied_to(bucket: str, tmp_path: Path) -> None:
    there, here = Folder(f"{bucket}/mine"), Folder(tmp_path / "mine")
    there.append("ledger.jsonl", b"one\n")
    for name in (there / "ledger").names():
        here.write(f"ledger/{name}", (there / "ledger").read(name) or b"")
    here.append("ledger.jsonl", b"two\n")
    assert here.read_appended("ledger.jsonl") == b"one\ntwo\n"
    for name in (here / "ledger").names():
        there.write(f"ledger/{name}", (here / "ledger").read(name) or b"")
    again = Folder(there)
    again.append("ledger.jsonl", b"three\n")
    assert again.read_appended("ledger.jsonl") == b"one\ntwo\nthree\n"


def test_what_grew_on_a_file_system_grows_on_in_object_storage(bucket: str) -> None:
    there = Folder(f"{bucket}/mine")
    there.write("ledger.jsonl", b"one\n")
    there.append("ledger.jsonl", b"two\n")
    assert there.read_appended("ledger.jsonl") == b"one\ntwo\n"


def test_a_file_that_is_deleted_while_it_is_read_is_a_missing_one(bucket: str) -> None:
    content = b"x" * 100_000
    reader, writer = Folder(bucket), Folder(bucket)

    latest = "0"

    def come_and_go() -> None:
        nonlocal latest
        for number in range(30):  # as a ledger's pieces do, no name twice
            latest = str(number)
            writer.write(latest, content)
            time.sleep(0.005)
            writer.delete(latest)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    found = set()
    while thread.is_alive():
        found.add(reader.read(latest))
    assert found == {None, content}


def test_small_files_are_one_request(bucket: str, s3_server: str) -> None:
    with fs.S3FileSystem(endpoint_override=s3_server).open_output_stream(f"{bucket[5:]}/a") as stream:
        stream.write(b"x")
    Folder(bucket).write("b", b"x")
    with urllib.request.urlopen(f"{s3_server}/{bucket[5:]}?list-type=2") as answer:
        tags = re.findall(r"<ETag>(.*?)</ETag>", answer.read().decode())
    assert ["-1" in tag for tag in tags] == [True, False]  # the tag of an upload in one part, and of none


def test_the_endpoint_in_a_uri_comes_before_that_of_the_environment_and_stays_at_the_end(
    bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Folder(bucket + "/mine").write("file", b"x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    for query in (
        f"endpoint_override={s3_server.removeprefix('http://')}&scheme=http",
        f"endpoint_override={s3_server}",
        f"region=eu-west-1&endpoint_override={s3_server}",
    ):
        folder = Folder(f"{bucket}?{query}") / "mine"
        assert str(folder) == f"{bucket}/mine?{query}"
        assert folder.read("file") == b"x"
        above, name = split_uri(str(folder / "file"))
        assert (str(above), name) == (str(folder), "file")
        assert above.read(name) == b"x"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server)
    assert Folder(bucket + "/mine").read("file") == b"x"


def test_a_driver_at_work_waits_for_a_server_that_comes_back(
    bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{address[1]}")
    monkeypatch.setattr(_Forward, "port", int(s3_server.rpartition(":")[2]))
    folder, started, servers = Folder(bucket + "/mine"), time.monotonic(), []

    def come_back() -> None:
        servers.append(socketserver.ThreadingTCPServer(address, _Forward))
        servers[0].daemon_threads = True
        servers[0].serve_forever()

    threading.Timer(4.0, come_back).start()
    folder.with_attempts(PATIENT_ATTEMPTS).write("file", b"x")
    assert time.monotonic() - started >= 4.0
    assert folder.read("file") == b"x"
    servers[0].shutdown()
    servers[0].server_close()


class _Forward(socketserver.BaseRequestHandler):
    """Passes a connection on to a port of this machine."""

    port = 0

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as server:
            back = threading.Thread(target=self.copy, args=(server, self.request), daemon=True)
            back.start()
            self.copy(self.request, server)
            back.join()

    def copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                target.sendall(content)
            target.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("ftp://somewhere/else", "storage ftp://somewhere/else: must be a path, s3://bucket/path"),
        ("s3:/bucket/x", "must be a path, s3://bucket/path"),
        (Path("s3://bucket/x"), "must be a path, s3://bucket/path"),
        ("s3://", "must be a path, s3://bucket/path"),
        ("s3://bucket//x", "must be a path, s3://bucket/path"),
        ("s3://bucket/../x", "must be a path, s3://bucket/path"),
        ("s3://my bucket/a", "must be a path, s3://bucket/path"),
        ("s3://bucket/x?endpoint=minio", "unknown parameter 'endpoint'; known are allow_bucket_creation, anonymous"),
        ("s3://bucket/x?scheme=ftp", "scheme=ftp: must be http or https"),
        ("s3://bucket/x?secret_key=hidden", "leave secret_key out of it"),
        ("s3://key:hidden@bucket/x", "leave keys out of it, they are taken from AWS_ACCESS_KEY_ID"),
        ("s3://bucket/x?endpoint_override=key:hidden@minio", "leave keys out of it"),
    ],
)
def test_a_storage_that_cannot_be_used_is_refused_without_repeating_secrets(place: str | Path, sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        Folder(place)
    assert sentence in str(refused.value) and "hidden" not in str(refused.value)
