"""The option --classes: names as people have them, in a list or a file."""

from pathlib import Path

import pytest

from sweep.experiment.classes import read_classes
from xpe_core.errors import InputError


def test_blanks_are_trimmed_and_quotes_keep_a_comma() -> None:
    assert read_classes("Politik, Sport , Wirtschaft") == ("Politik", "Sport", "Wirtschaft")
    assert read_classes('"Politik, Inland",Sport,') == ("Politik, Inland", "Sport")


@pytest.mark.parametrize(
    "content", [b"Politik, Inland\nSport\n", b"\xef\xbb\xbfPolitik, Inland\r\n\r\n Sport \r\n\r\n"]
)
def test_a_file_has_one_name_a_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    for value in (f"@{tmp_path}/labels.txt", f"{tmp_path}/labels.txt"):
        assert read_classes(value) == ("Politik, Inland", "Sport")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("", "names no class"),
        (" , ", "empty name between two commas"),
        ("a,,b", "empty name between two commas"),
        ("a, b,a", "the class 'a' stands there twice"),
        ('"Politik, Inland,Sport', "a quotation mark must stand before and after a whole name"),
        ("@{here}/none.txt", "cannot be read: No such file or directory"),
        ("@{here}", "cannot be read: Is a directory"),
        ("@{here}/latin1.txt", "is no UTF-8 text"),
        ("{here}/empty.txt", "names no class"),
    ],
)
def test_what_names_no_classes_is_refused_in_a_sentence(tmp_path: Path, value: str, sentence: str) -> None:
    (tmp_path / "latin1.txt").write_bytes("Öl\n".encode("latin-1"))
    (tmp_path / "empty.txt").write_bytes(b"\n")
    with pytest.raises(InputError, match=f"--classes .*{sentence}"):
        read_classes(value.format(here=tmp_path))


def test_a_list_that_is_too_long_for_a_path_is_a_list() -> None:
    names = tuple(f"class {number} of many" for number in range(600))
    assert read_classes(", ".join(names)) == names
