"""Lines of a terminal: words and numbers whole, names broken at their joints, widths in cells."""

import pytest
from rich.cells import cell_len

from sweep.report.wrapping import measure_chunks, measure_joints, measure_whole, wrap


def test_a_line_is_broken_at_spaces_and_goes_on_behind_the_indent() -> None:
    assert wrap("one two three four", 9, "  ") == ["one two", "  three", "  four"]
    assert wrap("first\nsecond line", 20) == ["first", "second line"]
    assert wrap("", 10) == [""]


@pytest.mark.parametrize("number", ["[45.0, 55.0]", "43.4 ± 3.8", "10 x 46", "21.5 %", "(p 0.033).", "[+1.6, +5.4]."])
def test_a_number_with_what_belongs_to_it_stays_together(number: str) -> None:
    for width in range(len(number), 30):
        assert any(number in line for line in wrap(f"it is {number} here", width))


def test_a_longer_name_is_broken_behind_its_joints_only() -> None:
    assert wrap("seen_without_joshi5", 13) == ["seen_without_", "joshi5"]
    assert wrap("/tmp/results/quickstart", 12) == ["/tmp/", "results/", "quickstart"]
    assert wrap("seen_without_joshi5", 19) == ["seen_without_joshi5"]
    assert wrap("-0.25", 5) == ["-0.25"]


def test_a_name_without_joints_is_broken_where_it_must() -> None:
    assert wrap("abcdefghij", 4) == ["abcd", "efgh", "ij"]


@pytest.mark.parametrize(
    "text", ["提示词编码器比例零点五", "한국어 이름", "प्रयोग की भाषा", "é́lan", "👩‍👩‍👧 family", "نص عربي طويل"]
)
@pytest.mark.parametrize("width", [2, 3, 7, 12])
def test_no_line_is_wider_than_asked_and_no_letter_is_lost(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert max(map(cell_len, lines)) <= width
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_widths_are_measured_in_cells() -> None:
    assert measure_whole("提示 ab\nx") == 7
    assert measure_chunks("50.0 [45.0, 55.0]") == 12
    assert measure_joints("a_very_long_name_of_an_arm") == 5
    assert measure_joints("dual_70") == 7  # a short name is not broken
