"""How a step is cut into passes: everything once, nothing too large, and the same results however it is cut."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import make_backbone
from tests.sweep.test_end_to_end import ROOT
from xpe_core.backbones.backbone import load_backbone
from xpe_core.config import RunConfig
from xpe_core.data.tokens import load_tokens
from xpe_core.pack import Pack
from xpe_core.stacked import Parameters
from xpe_core.training import passes as passes_module
from xpe_core.training.passes import Pass, Passes, is_out_of_memory
from xpe_core.training.training import train

CPU = torch.device("cpu")
GPU = torch.device("cuda")
NUM_VIRTUAL_TOKENS = 20


@pytest.fixture
def keep_num_threads() -> Iterator[None]:
    """Leave as many threads as there were."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def cut(lengths: np.ndarray) -> list[Pass]:
    """Return the passes of a step on a CPU, after checking that these were worked on, each once."""
    done: list[Pass] = []  # a list's append is safe in threads
    work = done.append

    passes = [part for part, _ in Passes(CPU, NUM_VIRTUAL_TOKENS).run(lengths, work)]
    assert sorted(map(repr, done)) == sorted(map(repr, passes))
    return passes


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 8, 31, 32, 100])
@pytest.mark.parametrize("longest", [3, 17, 76, 164, 492, 2_000])
def test_on_a_cpu_every_example_is_in_one_pass_that_is_not_too_large(batch_size: int, longest: int) -> None:
    lengths = np.random.default_rng(0).integers(3, longest, (3, batch_size), endpoint=True)
    lengths[1] = longest
    counts = np.zeros(lengths.shape, dtype=int)
    for part in cut(lengths):
        counts[part.runs, part.examples] += 1
        own = lengths[part.runs, part.examples]
        assert own.shape[0] == 1 and part.width == own.max()
        assert own.size == 1 or own.size * (part.width + NUM_VIRTUAL_TOKENS) <= passes_module.CPU_POSITIONS
    assert (counts == 1).all()


def test_on_a_cpu_small_batches_stay_whole_and_larger_ones_fall_into_equal_parts() -> None:
    # 32 x (12 + 20) positions are just one pass of 1,024; of 33 each, 31 would fit, so two halves
    lengths = np.full((2, 32), 12)
    lengths[1] = 13
    assert [(part.runs.start, part.examples.start, part.examples.stop) for part in cut(lengths)] == [
        (0, 0, 32),
        (1, 0, 16),
        (1, 16, 32),
    ]


@pytest.mark.usefixtures("keep_num_threads")
def test_on_a_cpu_a_run_is_cut_so_that_every_core_gets_as_many_passes() -> None:
    # 32 x (60 + 20) positions want three passes
    for num_threads, num_passes in ((1, 3), (2, 4), (3, 3), (8, 3)):
        torch.set_num_threads(num_threads)
        assert len(cut(np.full((1, 32), 60))) == num_passes


def test_on_a_cpu_the_cut_of_a_run_does_not_depend_on_the_others() -> None:
    lengths = np.random.default_rng(0).integers(3, 100, (4, 32))
    alone = [(part.examples, part.width) for part in cut(lengths[2:3])]
    assert [(part.examples, part.width) for part in cut(lengths) if part.runs.start == 2] == alone


@pytest.fixture
def configs(base: dict[str, Any]) -> list[RunConfig]:
    short = {**base, "max_steps": 20, "eval_steps": 20, "pooling": "first"}
    return [RunConfig(**{**short, "seed": seed}) for seed in (1, 2)]


def train_pack(configs: list[RunConfig]) -> Parameters:
    data = load_tokens(configs[0].data.dataset, configs[0].backbone, configs[0].data.max_length)
    model = Pack(load_backbone(configs[0].backbone), configs, len(data.label_names))
    for _ in train(model, data):
        pass
    return model.parameters


def assert_close(first: Parameters, second: Parameters) -> None:
    for name, value in first.items():
        assert (value - second[name]).abs().max() <= 1e-5, name


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_training_does_not_depend_on_the_cut(
    configs: list[RunConfig], pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [RunConfig(**{**config.values, "pooling": pooling}) for config in configs]
    found = {}
    for positions in (1, 50, 1_000_000):  # single examples, two or three, whole batches
        monkeypatch.setattr(passes_module, "CPU_POSITIONS", positions)
        found[positions] = train_pack(configs)
    assert_close(found[1], found[1_000_000])
    assert_close(found[50], found[1_000_000])


@pytest.mark.skipif(sys.platform != "linux", reason="a process's memory is limited, and read from /proc, on Linux")
def test_a_pack_that_does_not_fit_in_memory_is_split_and_ends_with_the_numbers_of_the_unsplit_one(
    dataset: str, tmp_path: Path
) -> None:
    arguments = [sys.executable, "-m", "tests.making.little_memory", dataset, make_backbone(tmp_path / "backbone", 512)]
    # else what is free within the process, and so what it lacks, is another amount every time
    exact = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=120, env={**os.environ, **exact})
    assert done.returncode == 0, done.stderr
    limited, unlimited = (json.loads(line) for line in done.stdout.splitlines())
    assert limited["positions"] < unlimited["positions"]  # of the largest pass
    assert limited["out_of_memory"] >= 1 and unlimited["out_of_memory"] == 0
    assert len(limited["losses"]) == 6 and limited["losses"] == pytest.approx(unlimited["losses"], abs=1e-5)
    assert limited["num_correct"] == unlimited["num_correct"]


def test_every_pass_is_returned_with_its_own_result() -> None:
    lengths = np.random.default_rng(0).integers(3, 100, (3, 32))
    for part, total in Passes(CPU, NUM_VIRTUAL_TOKENS).run(
        lengths, lambda part: lengths[part.runs, part.examples].sum()
    ):
        assert total == lengths[part.runs, part.examples].sum()


def test_training_side_by_side_is_the_same_to_the_last_bit(
    configs: list[RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    # eight passes a run, which end in any order
    monkeypatch.setattr(passes_module, "CPU_POSITIONS", 1)
    first, second = train_pack(configs), train_pack(configs)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.usefixtures("keep_num_threads")
def test_training_does_not_depend_on_the_number_of_threads(configs: list[RunConfig]) -> None:
    found = {}
    for num_threads in (1, 2, 3):
        torch.set_num_threads(num_threads)
        found[num_threads] = train_pack(configs)
    assert_close(found[2], found[1])
    assert_close(found[3], found[1])


class Memory:
    """Stands for a GPU's memory: passes of a fixed number of bytes a position, and a limit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, total: int, used: int = 0, reserved: int = 0) -> None:
        """Take the bytes in all, those in use, and those that torch holds (in use or cached)."""
        self.total, self.used, self.reserved = total, used, max(used, reserved)
        self.peak = 0
        self.num_emptied = 0
        self.sizes: list[int] = []
        """Runs of each pass that was tried."""
        values = {
            "mem_get_info": lambda device: (self.total - self.reserved, self.total),
            "memory_reserved": lambda device: self.reserved,
            "memory_allocated": lambda device: self.used,
            "max_memory_allocated": lambda device: self.peak,
            "reset_peak_memory_stats": self.reset_peak,
            "empty_cache": self.empty_cache,
        }
        for name, value in values.items():
            monkeypatch.setattr(torch.cuda, name, value)

    def reset_peak(self, device: torch.device) -> None:
        self.peak = self.used

    def empty_cache(self) -> None:
        self.num_emptied += 1
        self.reserved = self.used

    def hold(self, num_runs: int, num_bytes: int) -> None:
        """Do a pass that needs so many bytes for a while."""
        self.sizes.append(num_runs)
        if self.used + num_bytes > self.total:
            raise torch.OutOfMemoryError(f"tried to allocate {num_bytes}")
        self.peak = max(self.peak, self.used + num_bytes)
        self.reserved = max(self.reserved, self.used + num_bytes)


def count_runs(done: list[Pass], num_runs: int) -> list[int]:
    """Return how often each run was in a pass."""
    counts = np.zeros(num_runs, dtype=int)
    for part in done:
        counts[part.runs] += 1
    return counts.tolist()


def test_on_a_gpu_the_first_pass_is_one_run_and_the_next_as_many_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    # a run has 4 x (10 + 20) = 120 positions of 10 bytes; of 10,000 bytes 2,000 are in use and 85 % of the rest
    # may be taken: 5 runs at most, so the 8 that are left go in two equal passes
    memory = Memory(monkeypatch, total=10_000, used=2_000, reserved=5_000)
    lengths = np.full((9, 4), 10)
    done: list[Pass] = []

    def work(part: Pass) -> None:
        num_runs = len(lengths[part.runs])
        memory.hold(num_runs, num_runs * 1_200)
        done.append(part)

    passes = Passes(GPU, NUM_VIRTUAL_TOKENS)
    assert [part for part, _ in passes.run(lengths, work)] == done
    assert memory.sizes == [1, 4, 4]
    assert count_runs(done, 9) == [1] * 9
    assert all((part.examples, part.width) == (slice(0, 4), 10) for part in done)
    memory.sizes.clear()
    passes.run(lengths, work)
    assert memory.sizes == [5, 4]  # what was measured is remembered: 9 runs in two passes
    memory.sizes.clear()
    lengths = np.full((9, 4), 100)
    passes.run(lengths, work)
    assert memory.sizes == [1] * 9  # four times as many positions
    assert memory.num_emptied == 0


def test_on_a_gpu_a_pass_is_as_wide_as_its_longest_text(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(monkeypatch, total=10_000)
    lengths = np.array([[3, 4], [9, 5], [7, 8]])
    done = Passes(GPU, NUM_VIRTUAL_TOKENS).run(lengths, lambda part: memory.hold(1, 10))
    assert [(part.runs, part.width) for part, _ in done] == [(slice(0, 1), 4), (slice(1, 3), 9)]


def test_on_a_gpu_a_pass_that_runs_out_of_memory_is_tried_again_with_half_the_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # passes need more than the first one let expect: 4 runs do not fit, 2 do
    memory = Memory(monkeypatch, total=10_000)
    lengths = np.full((5, 4), 10)
    done: list[Pass] = []

    def work(part: Pass) -> None:
        num_runs = len(lengths[part.runs])
        memory.hold(num_runs, 1_000 * num_runs**2)
        done.append(part)

    passes = Passes(GPU, NUM_VIRTUAL_TOKENS)
    assert [part for part, _ in passes.run(lengths, work)] == done
    assert memory.sizes == [1, 4, 2, 2]
    assert count_runs(done, 5) == [1] * 5
    assert memory.num_emptied == 1  # blocks of the failed pass are of no use to smaller ones
    memory.sizes.clear()
    done.clear()
    passes.run(lengths, work)
    assert memory.sizes == [2, 2, 1]
    assert memory.num_emptied == 1
    assert count_runs(done, 5) == [1] * 5


def test_on_a_gpu_passes_are_halved_down_to_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(monkeypatch, total=10_000)
    lengths = np.full((9, 4), 10)
    done: list[Pass] = []

    def work(part: Pass) -> None:
        num_runs = len(lengths[part.runs])
        memory.hold(num_runs, 10 if num_runs == 1 else 20_000)
        done.append(part)

    Passes(GPU, NUM_VIRTUAL_TOKENS).run(lengths, work)
    assert memory.sizes == [1, 8, 4, 2] + [1] * 8
    assert count_runs(done, 9) == [1] * 9


def test_on_a_gpu_a_run_that_does_not_fit_is_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(monkeypatch, total=10_000)
    lengths = np.random.default_rng(0).integers(3, 10, (3, 10))
    counts = np.zeros(lengths.shape, dtype=int)

    def work(part: Pass) -> None:
        own = lengths[part.runs, part.examples]
        memory.hold(len(own), 10 if own.size <= 3 else 20_000)
        counts[part.runs, part.examples] += 1
        assert part.width == own.max()

    passes = Passes(GPU, NUM_VIRTUAL_TOKENS)
    passes.run(lengths, work)
    assert (counts == 1).all()
    memory.sizes.clear()
    passes.run(lengths, work)
    assert memory.sizes == [1] * 15  # 2 + 2 + 2 + 2 + 2 of every run: what did not fit is remembered
    assert (counts == 2).all()


def test_on_a_gpu_a_run_in_parts_is_cut_into_nearly_equal_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(monkeypatch, total=10_000)
    lengths = np.full((2, 9), 5)

    def work(part: Pass) -> None:
        memory.hold(1, 10 if len(lengths[0, part.examples]) <= 4 else 20_000)

    passes = Passes(GPU, NUM_VIRTUAL_TOKENS)
    done = passes.run(lengths, work)  # nine do not fit, four do
    parts = [(part.runs.start, part.examples.start, part.examples.stop) for part, _ in done]
    assert parts == [(run, start, stop) for run in (0, 1) for start, stop in ((0, 3), (3, 6), (6, 9))]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("any words"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("could not create a primitive"), True),
        (RuntimeError("oneDNN: could not create a memory object"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_memory_that_ran_out_is_told_from_other_errors(error: RuntimeError | MemoryError, expected: bool) -> None:
    assert is_out_of_memory(error) == expected


@pytest.mark.parametrize("num_steps_before", [0, 1])
def test_on_a_gpu_one_example_that_does_not_fit_is_an_error(
    num_steps_before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory(monkeypatch, total=10_000)
    passes, lengths = Passes(GPU, NUM_VIRTUAL_TOKENS), np.full((3, 4), 10)
    for _ in range(num_steps_before):
        passes.run(lengths, lambda part: memory.hold(len(lengths[part.runs]), 10))
    memory.sizes.clear()
    with pytest.raises(torch.OutOfMemoryError, match="tried to allocate 20000"):
        passes.run(lengths, lambda part: memory.hold(len(lengths[part.runs]), 20_000))
    assert memory.sizes == ([1, 1, 1] if num_steps_before == 0 else [3, 1, 1, 1])
