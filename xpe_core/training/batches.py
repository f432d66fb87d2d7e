"""Texts in batches of similar length, on whatever device: side by side on a CPU's cores, one after the other on a GPU.

What does not fit in memory is halved, with the same results.
"""

from collections.abc import Callable

import numpy as np
import torch

from xpe_core.training.cores import fill_cores, map_on_cores
from xpe_core.training.passes import is_out_of_memory

BATCH_TOKENS = {"cpu": 2_048, "cuda": 131_072}
"""Tokens of one batch, prompt, padding and all runs counted; on a CPU small batches stay in its caches."""


def run_in_batches(widths: np.ndarray, work: Callable[[slice], None], device: torch.device, num_runs: int = 1) -> None:
    """Call `work` with slices that cover texts of these `widths` once; they ascend, and count prompt and text.

    On a CPU the calls are made in several threads. Raises what torch raises where one text does not fit in memory.
    """
    if not len(widths):
        return
    budget = BATCH_TOKENS.get(device.type, BATCH_TOKENS["cuda"]) // num_runs
    if device.type == "cpu":
        num_batches = fill_cores(-(-int(widths.sum()) // budget))
        # the longest first, so that no core ends long after the others
        batches = cut_batches(widths, -(-int(widths.sum()) // num_batches))[::-1]
        fitted = map_on_cores(lambda rows: _fits(work, rows), batches)
        waiting = [half for rows, fits in zip(batches, fitted, strict=True) if not fits for half in _halve(rows)]
    else:
        waiting = cut_batches(widths, budget)[::-1]
    while waiting:
        if not _fits(work, rows := waiting.pop()):
            torch.cuda.empty_cache()  # does nothing without a GPU
            waiting += _halve(rows)


def cut_batches(lengths: np.ndarray, budget: int) -> list[slice]:
    """Cut ascending lengths into slices of at most `budget` padded tokens, at least one example each."""
    slices: list[slice] = []
    start = 0
    for stop in range(1, len(lengths) + 1):
        if stop == len(lengths) or (stop + 1 - start) * lengths[stop] > budget:
            slices.append(slice(start, stop))
            start = stop
    return slices


def _fits(work: Callable[[slice], None], rows: slice) -> bool:
    """Do the work, or say that memory is too small for so many texts; what torch raises where it is for one."""
    try:
        work(rows)
    except (RuntimeError, MemoryError) as error:
        if rows.stop - rows.start == 1 or not is_out_of_memory(error):
            raise
        return False
    return True


def _halve(rows: slice) -> list[slice]:
    """Return the second half and the first, which is taken next."""
    middle = (rows.start + rows.stop) // 2
    return [slice(middle, rows.stop), slice(rows.start, middle)]
