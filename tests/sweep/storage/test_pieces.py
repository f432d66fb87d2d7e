"""Files that grow in pieces: nothing is lost, whoever dies or comes late, and little is written twice."""

from pathlib import Path

import pytest

from sweep.storage import Folder
from sweep.storage.pieces import GROWTH, SHORT_BYTES, Pieces, read_pieces
from xpe_core.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "ledger")


def lines(numbers: range, length: int = 1000) -> list[bytes]:
    return [f"{number:0{length - 1}}\n".encode() for number in numbers]


class Counting(Folder):
    """A folder that counts the bytes it is given."""

    written = 0

    def write(self, name: str, content: bytes) -> None:
        self.written += len(content)
        super().write(name, content)


def test_a_file_of_megabytes_is_a_few_pieces_and_written_a_few_times(tmp_path: Path) -> None:
    folder = Counting(tmp_path)
    pieces, most, appended = Pieces(folder, ".jsonl"), 0, lines(range(300), length=7000)
    for content in appended:
        pieces.append(content)
        pieces.tidy()
        most = max(most, len(folder.names()))
    assert read_pieces(folder, ".jsonl") == b"".join(appended)
    assert most <= 6
    assert folder.written < 10 * 300 * 7000
    sizes = [folder.size(name) for name in folder.names()]
    assert all(before > max(SHORT_BYTES, GROWTH * after) for before, after in zip(sizes[:-2], sizes[1:-1], strict=True))


def test_many_writers_one_after_another_leave_few_pieces(folder: Folder) -> None:
    appended = lines(range(60))
    for content in appended:
        Pieces(folder, ".jsonl").append(content)
    assert read_pieces(folder, ".jsonl") == b"".join(appended)
    assert len(folder.names()) <= 4


def test_a_piece_that_was_taken_in_and_not_yet_deleted_counts_once(folder: Folder) -> None:
    pieces = Pieces(folder, ".jsonl")
    for content in (b"one\n", b"two\n", b"three\n"):
        pieces.append(content)
    assert len(folder.names()) == 3
    assert read_pieces(folder, ".jsonl") == b"one\ntwo\nthree\n"
    again = Pieces(folder, ".jsonl")
    assert len(folder.names()) == 1
    again.append(b"four\n")
    assert read_pieces(folder, ".jsonl") == b"one\ntwo\nthree\nfour\n"


def test_a_writer_that_comes_late_takes_nothing_from_the_next_one(folder: Folder) -> None:
    paused = Pieces(folder, ".jsonl")
    paused.append(b"one\n")
    following = Pieces(folder, ".jsonl")
    following.append(b"two\n")
    paused._read = lambda index: b"one\n"  # type: ignore[method-assign]  # it had read already, and was about to write
    paused.append(b"late\n")
    paused.tidy()
    assert read_pieces(folder, ".jsonl") == b"one\ntwo\n"
    following.append(b"three\n")
    assert read_pieces(folder, ".jsonl") == b"one\ntwo\nthree\n"


def test_the_next_writer_finds_what_it_knows_after_the_last_write_of_a_paused_one(folder: Folder) -> None:
    paused = Pieces(folder, ".jsonl")
    paused.append(b"one\n")
    following = Pieces(folder, ".jsonl")
    paused.append(b"late\n")  # paused between its check of the lock and this; before it tidies it checks again
    assert read_pieces(folder, ".jsonl") == b"one\nlate\n"
    following.append(b"two\n")
    assert read_pieces(folder, ".jsonl") == b"one\ntwo\n"


def test_a_reader_looks_again_where_a_piece_is_taken_in_meanwhile(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = Pieces(folder, ".jsonl")
    pieces.append(b"one\n")
    read = Folder.read

    def append_and_read(self: Folder, name: str) -> bytes | None:
        monkeypatch.setattr(Folder, "read", read)
        pieces.append(b"two\n")
        pieces.tidy()
        return read(self, name)

    monkeypatch.setattr(Folder, "read", append_and_read)
    assert read_pieces(folder, ".jsonl") == b"one\ntwo\n"


def test_what_cannot_be_written_is_not_there_and_may_be_written_again(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = Pieces(folder, ".jsonl")
    pieces.append(b"one\n")

    def fail(self: Folder, name: str, content: bytes) -> None:
        raise InputError("out of reach")

    with monkeypatch.context() as broken:
        broken.setattr(Folder, "write", fail)
        with pytest.raises(InputError, match="out of reach"):
            pieces.append(b"two\n")
    assert read_pieces(folder, ".jsonl") == b"one\n"
    pieces.append(b"two\n")
    assert read_pieces(folder, ".jsonl") == b"one\ntwo\n"


def test_other_files_in_the_folder_are_left_alone(folder: Folder) -> None:
    folder.write("notes.jsonl", b"mine")
    Pieces(folder, ".jsonl").append(b"one\n")
    assert read_pieces(folder, ".jsonl") == b"one\n"
    assert folder.read("notes.jsonl") == b"mine"
