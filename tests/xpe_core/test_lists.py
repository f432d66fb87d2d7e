"""Lists as people write them in one value."""

import pytest

from xpe_core.errors import InputError
from xpe_core.lists import join_list, split_list, split_pieces


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b", ["a", "b"]),
        (" a , b ", ["a", "b"]),
        ("a,,b,", ["a", "b"]),
        ("a\nb\r\nc\n", ["a", "b", "c"]),
        ('"Politik, Inland" , Sport', ["Politik, Inland", "Sport"]),
        ('5" disk,"the ""best"" one"', ['5" disk', 'the "best" one']),
        ("", []),
        (" , ", []),
    ],
)
def test_blanks_and_empty_pieces_are_no_part_of_a_list_and_quotes_keep_a_comma(text: str, names: list[str]) -> None:
    assert split_list(text) == names


def test_an_empty_piece_is_there_for_those_who_ask() -> None:
    assert split_pieces("a,,b") == ["a", "", "b"]


def test_a_quote_that_is_never_closed_is_refused() -> None:
    with pytest.raises(InputError, match="a quotation mark must stand before and after a whole name"):
        split_list('"Politik, Inland,Sport')


def test_a_list_that_was_joined_is_the_same_list_when_it_is_split() -> None:
    names = ["Politik, Inland", 'the "best"', "Sport"]
    assert split_list(join_list(names)) == names
