"""Folders made once: whole or not at all, whoever else wants them at the same time."""

import multiprocessing
import os
from pathlib import Path

import pytest

from xpe_core.cache import build_once, cache_folder
from xpe_core.errors import InputError


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XPE_CACHE_DIR", "/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/shared")
    assert cache_folder() == Path("/own")
    monkeypatch.delenv("XPE_CACHE_DIR")
    assert cache_folder() == Path("/shared/xpe-sweep")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "xpe-sweep"


def write_slowly(folder: Path) -> None:
    with (folder.parent.parent / "builds").open("a") as builds:
        builds.write(f"{os.getpid()}\n")
    for number in range(20):
        (folder / str(number)).write_text("content")


def build_and_count(folder: Path) -> int:
    return len(list(build_once(folder, write_slowly).iterdir()))


def test_concurrent_processes_build_a_folder_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        counts = pool.map(build_and_count, [tmp_path / "made"] * 16, chunksize=1)
    assert counts == [20] * 16
    assert len((tmp_path / "builds").read_text().splitlines()) == 1


def test_a_failed_build_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        build_once(tmp_path / "made", fail)
    assert [path for path in tmp_path.rglob("*") if not path.name.endswith(".lock")] == []


def test_what_a_killed_build_left_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / ".made.partial-x1" / "made").mkdir(parents=True)
    build_once(tmp_path / "made", lambda folder: (folder / "whole").touch())
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")) == ["made"]


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"cache folder {tmp_path}/file/tokens: .* set XPE_CACHE_DIR"):
        build_once(tmp_path / "file" / "tokens" / "made", lambda folder: None)
