"""Independent pieces of work side by side on a CPU's cores.

Every piece runs its operations on its own share of the cores. That beats running one piece after the other with each
operation spread over all cores: operations this short spend much of their time in waiting for one another.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_on_cores(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return `function` of every item, in order; it is called in several threads, with gradients and autocast off or on
    as these are by default, not as in the caller.
    """
    num_threads = torch.get_num_threads()
    num_workers = min(len(items), num_threads)
    if num_workers < 2:
        return [function(item) for item in items]
    return list(_start_workers(num_workers, num_threads // num_workers).map(function, items))


def fill_cores(num_pieces: int) -> int:
    """Return a number of pieces that keeps all cores busy to the end: at least `num_pieces`, a multiple of the threads.

    Fewer pieces than threads stay as they are.
    """
    num_threads = torch.get_num_threads()
    return num_pieces if num_pieces < num_threads else -(-num_pieces // num_threads) * num_threads


@lru_cache(maxsize=2)
def _start_workers(num_workers: int, num_threads_each: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(num_workers, initializer=_take_threads, initargs=(num_threads_each,))


def _take_threads(num_threads: int) -> None:
    torch.set_num_threads(num_threads)
    torch.get_num_threads()  # settles it: a thread's first use of torch takes the number that was set last anywhere
