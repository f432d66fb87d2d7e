"""Folders: whole files or none, and what cannot be written is said."""

import errno
import os
from pathlib import Path

import pytest

from sweep.storage import Folder
from xpe_core.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "results")


def test_a_file_is_read_as_it_was_written_and_replaced_whole(folder: Folder) -> None:
    assert folder.read("runs/part.parquet") is None
    for content in (b"first and long", b"second"):
        folder.write("runs/part.parquet", content)
        assert folder.read("runs/part.parquet") == content
    assert (folder / "runs").names() == ["part.parquet"]
    assert folder.folders() == ["runs"]
    folder.delete("runs/part.parquet")
    folder.delete("runs/part.parquet")
    assert folder.read("runs/part.parquet") is None


def test_what_is_appended_is_at_the_end_also_for_the_next_who_opens_it(folder: Folder) -> None:
    for part in (b"one\n", b"two\n"):
        folder.append("ledger.jsonl", part)
    again = Folder(folder)
    again.append("ledger.jsonl", b"three\n")
    assert folder.read("ledger.jsonl") == b"one\ntwo\nthree\n"


def test_names_are_those_of_files_that_are_not_hidden(folder: Folder) -> None:
    for name in ("b.parquet", "a.parquet", "c.txt", ".hidden.parquet", "below/d.parquet"):
        folder.write(name, b"x")
    assert folder.names(".parquet") == ["a.parquet", "b.parquet"]
    assert (folder / "absent").names() == []


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)
    folder.write("table", b"old")

    def fail(handle: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        folder.write("table", b"new")
    assert folder.read("table") == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["table"]


def test_a_storage_nobody_knows_is_refused() -> None:
    with pytest.raises(InputError, match="storage ftp://somewhere"):
        Folder("ftp://somewhere/else")
