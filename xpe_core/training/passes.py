"""The forward and backward passes that one training step of a pack is cut into.

On a GPU one pass takes as many runs as its memory was seen to hold, or a part of one run's batch where that is all. On
a CPU a pass is a part of one run's batch, and passes run side by side on the cores. The cut does not change results.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from accelerate.utils.memory import should_reduce_batch_size

from xpe_core.training.cores import fill_cores, map_on_cores

Result = TypeVar("Result")

CPU_POSITIONS = 1_024
"""Positions of one pass on a CPU at most, prompts and padding counted: larger ones fall out of a core's cache."""
SHARE_OF_FREE = 0.85
"""Of a GPU's free memory that a pass may take; batches differ in length, and memory is split into blocks."""
ONEDNN_OUT_OF_MEMORY = ("could not create a primitive", "could not create a memory object")
"""What oneDNN's errors say where it cannot have the memory for a product."""


@dataclass(frozen=True)
class Pass:
    """Some of the active runs, and some of the examples of each."""

    runs: slice
    examples: slice
    width: int
    """Tokens of the longest of its texts."""


class Passes:
    """Cuts steps into passes and runs them, remembering what was seen to fit."""

    def __init__(self, device: torch.device, num_tokens: int, alone: bool = False) -> None:
        """Take the positions before each text; `alone`: a pass holds one run, and its gradients are large."""
        self._device = device
        self._num_tokens = num_tokens
        self._alone = alone
        self._cpu_positions = CPU_POSITIONS
        self._bytes_per_position: float | None = None
        self._most_runs: int | None = None
        self._most_examples: int | None = None

    def run(self, lengths: np.ndarray, work: Callable[[Pass], Result]) -> Iterable[tuple[Pass, Result]]:
        """Call `work` with passes that cover texts of these `lengths` [R, B] once; yield these, each with its result.

        On a CPU the calls are made in several threads. For runs that are alone there is one call at a time, and the
        next is made when the last one's result has been taken. A call that runs out of memory is made again with fewer
        runs, then with fewer examples of one, so `work` must leave nothing behind but its result. Raises what torch
        raises where one example does not fit.
        """
        if self._alone:
            return self._run_in_turn(lengths, work)
        return self._run_on_cores(lengths, work) if self._device.type == "cpu" else [*self._run_in_turn(lengths, work)]

    def _run_on_cores(self, lengths: np.ndarray, work: Callable[[Pass], Result]) -> list[tuple[Pass, Result]]:
        while True:
            passes = self._cut_batches(lengths)
            try:
                return list(zip(passes, map_on_cores(work, passes), strict=True))
            except (RuntimeError, MemoryError) as error:
                most_examples = max(part.examples.stop - part.examples.start for part in passes)
                if most_examples == 1 or not is_out_of_memory(error):
                    raise
            # here, where the error no longer holds what it had in memory
            self._cpu_positions = most_examples // 2 * (int(lengths.max()) + self._num_tokens)

    def _run_in_turn(self, lengths: np.ndarray, work: Callable[[Pass], Result]) -> Iterator[tuple[Pass, Result]]:
        run = example = 0
        while run < len(lengths):
            candidate = self._next_pass(lengths, run, example)
            own = lengths[candidate.runs, candidate.examples]
            result: list[Result] = []
            try:
                with self._measure(own.size * (candidate.width + self._num_tokens)):
                    result.append(work(candidate))
            except (RuntimeError, MemoryError) as error:
                if own.size == 1 or not is_out_of_memory(error):
                    raise
                self._shrink(*own.shape)
            if not result:  # here, where the error no longer holds what it had in memory
                torch.cuda.empty_cache()
                continue
            yield candidate, result.pop()
            if candidate.examples.stop < lengths.shape[1]:
                example = candidate.examples.stop
            else:
                run, example = candidate.runs.stop, 0

    def _cut_batches(self, lengths: np.ndarray) -> list[Pass]:
        passes: list[Pass] = []
        num_examples = lengths.shape[1]
        for run, own in enumerate(lengths):
            most_examples = max(self._cpu_positions // (int(own.max()) + self._num_tokens), 1)
            num_parts = min(fill_cores(-(-num_examples // most_examples)), num_examples)
            bounds = [num_examples * part // num_parts for part in range(num_parts + 1)]
            for start, stop in zip(bounds, bounds[1:], strict=False):
                passes.append(Pass(slice(run, run + 1), slice(start, stop), int(own[start:stop].max())))
        return passes

    def _next_pass(self, lengths: np.ndarray, run: int, example: int) -> Pass:
        """Return the pass that starts at a run's example: several runs, one, or a part of one."""
        runs, examples = slice(run, run + 1), slice(example, lengths.shape[1])
        if self._most_examples is None:
            runs = slice(run, run + self._choose(lengths[run:]))
        else:
            left = lengths.shape[1] - example
            examples = slice(example, example + -(-left // -(-left // self._most_examples)))
        return Pass(runs, examples, int(lengths[runs, examples].max()))

    def _shrink(self, num_runs: int, num_examples: int) -> None:
        """Take note that so many examples of so many runs do not fit."""
        if num_runs > 1:
            self._most_runs = num_runs // 2
        else:
            self._most_examples = num_examples // 2

    def _choose(self, lengths: np.ndarray) -> int:
        """Return how many of the runs that are left go into the next pass, so that all are of nearly equal size."""
        if self._alone or self._bytes_per_position is None:
            return 1
        free, _ = torch.cuda.mem_get_info(self._device)
        free += torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        bytes_per_run = self._bytes_per_position * lengths.shape[1] * (int(lengths.max()) + self._num_tokens)
        limit = max(1, min(int(free * SHARE_OF_FREE / bytes_per_run), self._most_runs or len(lengths)))
        return -(-len(lengths) // -(-len(lengths) // limit))

    @contextmanager
    def _measure(self, num_positions: int) -> Iterator[None]:
        """Measure what the enclosed pass needs, the first time."""
        if self._alone or self._bytes_per_position is not None:
            yield
            return
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        yield
        self._bytes_per_position = (torch.cuda.max_memory_allocated(self._device) - before) / num_positions


def cut_nothing(lengths: np.ndarray, work: Callable[[Pass], Result]) -> list[tuple[Pass, Result]]:
    """Call `work` with one pass of all texts, of these `lengths` [R, B]."""
    num_runs, num_examples = lengths.shape
    whole = Pass(slice(0, num_runs), slice(0, num_examples), int(lengths.max()))
    return [(whole, work(whole))]


def is_out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Whether memory ran out, on a GPU or a CPU, in any of the ways in which torch, oneDNN and NumPy say so."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or should_reduce_batch_size(error):
        return True
    return any(words in str(error) for words in ONEDNN_OUT_OF_MEMORY)
