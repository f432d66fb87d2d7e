"""The memory of a trial: what an earlier one took does not count."""

import sys

import pytest
import torch

from sweep.driver.memory import begin_memory, measure_memory_bytes

LARGE = 256 * 2**20
CPU = torch.device("cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process can be forgotten on Linux alone")
def test_a_trial_is_measured_without_those_before_it() -> None:
    begin_memory("cpu")
    before = measure_memory_bytes(CPU)
    large = torch.ones(LARGE // 4)
    with_large = measure_memory_bytes(CPU)
    del large
    assert measure_memory_bytes(CPU) == with_large >= before + LARGE * 0.9
    begin_memory("cpu")
    assert measure_memory_bytes(CPU) < before + LARGE * 0.5
