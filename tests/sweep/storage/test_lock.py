"""The lock on a file system."""

import shutil
from pathlib import Path

import pytest

from sweep.storage import Folder
from sweep.storage.lock import Lock, is_running
from xpe_core.errors import InputError


def test_a_second_driver_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "mine")
    assert not is_running(folder) and not (tmp_path / "mine").exists()
    lock = Lock(folder)
    assert is_running(folder)
    with pytest.raises(InputError, match="mine is being written by another driver; wait for it, stop it"):
        Lock(folder)
    lock.check()
    lock.release()
    assert not is_running(folder)
    Lock(folder).release()


def test_a_folder_that_is_deleted_while_it_is_written_is_not_begun_anew(tmp_path: Path) -> None:
    lock = Lock(Folder(tmp_path / "mine"))
    shutil.rmtree(tmp_path / "mine")
    with pytest.raises(InputError, match="mine was deleted or moved while it was written: what ran there is not kept"):
        lock.check()
    lock.release()
    assert not (tmp_path / "mine").exists()


def test_looking_whether_a_driver_is_at_work_wants_no_right_to_write(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "mine")
    Lock(folder).release()
    (tmp_path / "mine" / ".lock").chmod(0o444)
    (tmp_path / "mine").chmod(0o555)
    assert not is_running(folder)
    (tmp_path / "mine").chmod(0o755)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=f"storage {tmp_path}/file/mine cannot be written .*--storage DIR"):
        Lock(Folder(tmp_path / "file" / "mine"))
