"""Folders made once: whole or not at all, whoever else wants them at the same time."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from xpe_core.cache import build_once, cache_folder, read_built
from xpe_core.errors import InputError
from xpe_core.steps import Step, listening


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


def write_number(folder: Path) -> None:
    np.save(folder / "numbers.npy", np.arange(1000))


def read_numbers(folder: Path) -> np.ndarray:
    return np.load(folder / "numbers.npy", mmap_mode="r")


@pytest.mark.parametrize("damage", ["cut off", "empty", "absent"])
def test_a_damaged_folder_is_made_again(tmp_path: Path, damage: str) -> None:
    file = build_once(tmp_path / "kind" / "made", write_number) / "numbers.npy"
    if damage == "absent":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: 500 if damage == "cut off" else 0])
    assert read_built(tmp_path / "kind" / "made", write_number, read_numbers).sum() == 499_500
    assert [path.name for path in (tmp_path / "kind").iterdir() if not path.name.endswith(".lock")] == ["made"]


def test_what_cannot_be_read_after_it_was_made_again_is_no_endless_loop(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_built(tmp_path / "kind" / "made", lambda folder: None, read_numbers)


def run_apart(code: str, **environment: str) -> str:
    """Run a build in a process of its own and return what it prints."""
    start = "import os, resource, sys\nfrom pathlib import Path\nimport numpy as np\n"
    start += "from xpe_core.cache import build_once, cache_folder, explain_stand_in\n"
    start += "from xpe_core.errors import InputError\n"
    values = {name: value for name, value in os.environ.items() if name not in ("XPE_CACHE_DIR", "XDG_CACHE_HOME")}
    process = subprocess.run(
        [sys.executable, "-c", start + code], env=values | environment, capture_output=True, text=True, timeout=60
    )
    assert process.stderr == ""
    return process.stdout.strip()


@pytest.mark.parametrize(
    "write", ["np.save(folder / 'a.npy', np.zeros(10**6))", "(folder / 'a').write_bytes(bytes(10**7))"]
)
def test_a_disk_without_space_is_one_sentence_and_leaves_nothing_behind(tmp_path: Path, write: str) -> None:
    code = f"""
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    build_once(cache_folder() / "tokens" / "made", lambda folder: {write})
except InputError as error:
    print(error)
"""
    message = run_apart(code, XPE_CACHE_DIR=str(tmp_path / "cache"))
    assert message.startswith(f"cannot write to the cache folder {tmp_path}/cache/tokens: ")
    assert message.endswith("; set XPE_CACHE_DIR to a writable folder with free space") and message.count("\n") == 0
    assert [path for path in (tmp_path / "cache" / "tokens").iterdir() if not path.name.endswith(".lock")] == []


@pytest.mark.parametrize(
    "error", [Exception("No space left on device (os error 28)"), OSError("9 requested and 0 written")], ids=str
)
def test_what_libraries_say_of_a_full_disk_is_said_in_the_same_words(tmp_path: Path, error: Exception) -> None:
    def fail(folder: Path) -> None:
        raise error

    with pytest.raises(InputError, match="No space left on device; set XPE_CACHE_DIR"):
        build_once(tmp_path / "kind" / "made", fail)


def test_an_error_of_what_is_read_is_not_taken_for_one_of_the_cache(tmp_path: Path) -> None:
    def read(folder: Path) -> None:
        Path("/nowhere/data.tsv").read_bytes()

    with pytest.raises(FileNotFoundError, match="nowhere"):
        build_once(tmp_path / "cache" / "kind" / "made", read)


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder in which nobody may write")
def test_a_cache_that_nobody_may_write_is_made_among_the_temporary_files_and_said(tmp_path: Path) -> None:
    code = """
folder = build_once(cache_folder() / "tokens" / "made", lambda folder: (folder / "whole").touch())
print(folder)
print(explain_stand_in())
"""
    folder, sentence = run_apart(code, XDG_CACHE_HOME="/sys", TMPDIR=str(tmp_path)).splitlines()
    private = tmp_path / f"xpe-sweep-cache-{os.getuid()}"
    assert Path(folder) == private / "tokens" / "made" and Path(folder, "whole").exists()
    assert private.stat().st_mode & 0o077 == 0
    assert sentence == (
        f"/sys/xpe-sweep cannot be written, so what is made once lies in {private}; "
        "set XPE_CACHE_DIR to a folder that stays"
    )


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder in which nobody may write")
def test_a_cache_that_was_asked_for_and_cannot_be_written_is_refused() -> None:
    code = """
try:
    build_once(cache_folder() / "tokens" / "made", lambda folder: None)
except InputError as error:
    print(error)
print(explain_stand_in())
"""
    sentence, said = run_apart(code, XPE_CACHE_DIR="/sys/own").splitlines()
    assert sentence.startswith("cannot write to the cache folder /sys/own/tokens: ") and "XPE_CACHE_DIR" in sentence
    assert said == "None"


def test_a_user_without_a_home_has_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XPE_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "expanduser", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert cache_folder() == tmp_path / f"xpe-sweep-cache-{os.getuid()}"


def test_a_killed_builder_keeps_nobody_waiting(tmp_path: Path) -> None:
    code = f"build_once(Path({str(tmp_path / 'kind' / 'made')!r}), lambda folder: os.kill(os.getpid(), 9))"
    start = "import os\nfrom pathlib import Path\nfrom xpe_core.cache import build_once\n"
    assert subprocess.run([sys.executable, "-c", start + code], timeout=60).returncode == -9
    assert list((tmp_path / "kind").glob(".made.partial-*"))
    build_once(tmp_path / "kind" / "made", write_number)
    names = [path.name for path in (tmp_path / "kind").iterdir() if not path.name.endswith(".lock")]
    assert names == ["made"]


def test_waiting_for_another_process_is_a_step_that_can_be_shown(tmp_path: Path) -> None:
    names: list[str] = []

    @contextmanager
    def listen(step: Step) -> Iterator[None]:
        names.append(step.name)
        lock.release()
        yield

    (tmp_path / "kind").mkdir()
    lock = FileLock(tmp_path / "kind" / ".made.lock", thread_local=False)
    lock.acquire()
    with listening(listen):
        build_once(tmp_path / "kind" / "made", write_number)
    assert names == [f"Waiting for another process that makes {tmp_path}/kind/made"]
