"""How much memory a trial takes, on an actor that has run others before it."""

import ctypes
import gc
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

RESET_PEAK = "5"
"""What Linux takes in `clear_refs` for: forget the most memory that the process has had (man proc_pid_clear_refs)."""


def begin_memory(device: str) -> None:
    """Forget the most memory that was in use before; on macOS it cannot be forgotten."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return
    gc.collect()
    with suppress(OSError, AttributeError):  # what was freed goes back to the system: only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):  # some containers forbid it, and another system has no such file
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)


def measure_memory_bytes(device: torch.device) -> int:
    """Return the most memory that was in use since `begin_memory`: of the GPU, or of this process.

    A process has Python's and the libraries' own memory in it, and the cached backbone and data.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # macOS counts in bytes, Linux in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
