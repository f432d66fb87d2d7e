"""Texts in batches: each once, none too large, and halved where memory runs out."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from xpe_core.training.batches import cut_batches, run_in_batches

CPU, GPU = torch.device("cpu"), torch.device("cuda")
WIDTHS = np.array([1, 2, 2, 3, 5, 8, 8, 9])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Run the calls one after the other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def list_batches(device: torch.device, num_runs: int = 1) -> list[tuple[int, int]]:
    """Return start and stop of every call."""
    calls: list[tuple[int, int]] = []
    run_in_batches(WIDTHS, lambda rows: calls.append((rows.start, rows.stop)), device, num_runs)
    return calls


def test_batches_are_as_long_as_a_plain_loop_makes_them() -> None:
    for budget in range(1, 60):
        expected, start = [], 0
        while start < len(WIDTHS):
            stop = start + 1
            while stop < len(WIDTHS) and (stop + 1 - start) * WIDTHS[stop] <= budget:
                stop += 1
            expected.append(slice(start, stop))
            start = stop
        assert cut_batches(WIDTHS, budget) == expected


def test_a_batch_has_the_devices_size_shared_by_all_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpe_core.training.batches.BATCH_TOKENS", {"cpu": 20, "cuda": 16})
    assert list_batches(CPU) == [(6, 8), (4, 6), (0, 4)]  # 38 tokens are two times 19, the longest first
    assert list_batches(CPU, num_runs=2) == [(7, 8), (6, 7), (5, 6), (3, 5), (0, 3)]
    assert list_batches(GPU) == [(0, 4), (4, 6), (6, 7), (7, 8)]
    assert list_batches(GPU, num_runs=2) == [(0, 3), (3, 4), (4, 5), (5, 6), (6, 7), (7, 8)]


def test_no_texts_are_no_call() -> None:
    calls: list[slice] = []
    run_in_batches(WIDTHS[:0], calls.append, CPU)
    assert calls == []


@pytest.mark.parametrize(
    ("device", "expected"),
    [(CPU, [(5, 8), (0, 5), (0, 2), (2, 5)]), (GPU, [(0, 8), (0, 4), (0, 2), (2, 4), (4, 8), (4, 6), (6, 8)])],
)
def test_what_does_not_fit_in_memory_is_halved_until_it_does(
    device: torch.device, expected: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    calls, done = [], np.zeros(len(WIDTHS), dtype=int)

    def work(rows: slice) -> None:
        calls.append((rows.start, rows.stop))
        if rows.stop - rows.start > 3:
            raise torch.OutOfMemoryError("too much")
        done[rows] += 1

    run_in_batches(WIDTHS, work, device)
    assert calls == expected
    assert done.tolist() == [1] * 8


@pytest.mark.parametrize("device", [CPU, GPU])
@pytest.mark.parametrize(
    ("error", "num_calls"), [(torch.OutOfMemoryError("too much"), 4), (RuntimeError("shapes differ"), 1)]
)
def test_what_does_not_fit_alone_and_any_other_error_is_raised(
    device: torch.device, error: RuntimeError, num_calls: int
) -> None:
    calls: list[slice] = []

    def work(rows: slice) -> None:
        calls.append(rows)
        raise error

    with pytest.raises(type(error), match=str(error)):
        run_in_batches(WIDTHS, work, device)
    assert len(calls) == num_calls
