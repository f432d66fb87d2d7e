"""Two experiments on one machine at the same time: each has a Ray of its own, and the numbers that it has alone."""

from pathlib import Path

import pytest

from tests.cases.two_experiments import compare, count_reports, run_together, write_experiments
from tests.conftest import Run

pytestmark = pytest.mark.usefixtures("preloaded_commands")


def test_two_experiments_at_once_end_with_the_numbers_of_each_alone(
    dataset: str, backbone: str, tmp_path: Path, local_ray: None, run_here: Run
) -> None:
    write_experiments(tmp_path, dataset, backbone)
    for name in ("first", "second"):
        run_here("search", str(tmp_path / f"{name}.yaml"), "--storage", str(tmp_path / "alone"))
    lives = run_together(tmp_path)
    before, after = count_reports(tmp_path, lives)
    assert before > 0 and after > 0  # the first ended in the middle of the second
    assert compare(tmp_path) == []
    assert "take longer; the numbers stay the same" in " ".join(lives.outputs["first"].split())
