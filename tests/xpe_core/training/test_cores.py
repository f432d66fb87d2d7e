"""Work spread over a CPU's cores: the same as a plain loop."""

import threading
from collections.abc import Iterator

import pytest
import torch

from xpe_core.training.cores import fill_cores, map_on_cores


@pytest.fixture(params=[1, 2, 3], autouse=True)
def num_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Run every test with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_items(num_threads: int) -> None:
    last_may_go = threading.Event()

    def square(number: int) -> int:
        if number == 1 and num_threads > 1:
            assert last_may_go.wait(timeout=30)  # the first piece ends after the others
        if number == 7:
            last_may_go.set()
        return number**2

    # as many workers as threads, so that the others are done while one waits
    assert map_on_cores(square, [1, 2, 3, 4, 5, 6, 7]) == [1, 4, 9, 16, 25, 36, 49]


def test_every_piece_has_its_share_of_the_threads(num_threads: int) -> None:
    all_there = threading.Barrier(num_threads)

    def count(_: int) -> tuple[str, int]:
        all_there.wait(timeout=30)  # passes only where all pieces run at the same time
        return threading.current_thread().name, torch.get_num_threads()

    found = map_on_cores(count, range(num_threads))
    assert len({name for name, _ in found}) == num_threads
    assert {number for _, number in found} == {1}
    assert torch.get_num_threads() == num_threads


def test_one_item_has_all_threads_and_none_gives_nothing(num_threads: int) -> None:
    assert map_on_cores(lambda _: torch.get_num_threads(), [0]) == [num_threads]
    assert map_on_cores(lambda _: torch.get_num_threads(), []) == []


def test_two_items_share_the_threads(num_threads: int) -> None:
    # with one thread they run one after the other, with three each has one
    assert map_on_cores(lambda _: torch.get_num_threads(), [0, 0]) == [1, 1]


def test_work_is_cut_so_that_every_core_gets_as_many_pieces(num_threads: int) -> None:
    wanted = {1: [1, 2, 3, 4, 5], 2: [1, 2, 4, 4, 6], 3: [1, 2, 3, 6, 6]}[num_threads]
    assert [fill_cores(number) for number in (1, 2, 3, 4, 5)] == wanted


def test_an_exception_reaches_the_caller_and_the_cores_stay_usable() -> None:
    def fail_at_two(number: int) -> int:
        if number == 2:
            raise ValueError("two is too many")
        return number

    with pytest.raises(ValueError, match="two is too many"):
        map_on_cores(fail_at_two, [0, 1, 2, 3])
    assert map_on_cores(fail_at_two, [3, 4, 5]) == [3, 4, 5]


def test_inference_in_the_caller_does_not_reach_the_pieces_and_gradients_work_in_them(num_threads: int) -> None:
    def differentiate(number: int) -> float:
        value = torch.tensor(float(number), requires_grad=True)
        (gradient,) = torch.autograd.grad(value**2, value)
        return gradient.item()

    assert map_on_cores(differentiate, [1, 2, 3]) == [2.0, 4.0, 6.0]
