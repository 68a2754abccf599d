"""The cost of a stage: seconds and peak memory."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass
class Cost:
    """Filled when the measured block ends. `peak_memory_mb` is the GPU's if one is used, else the process's."""

    seconds: float = 0.0
    peak_memory_mb: float = 0.0


@contextmanager
def measured(device: 'torch.device') -> Iterator[Cost]:
    """Measure a block that runs on a torch device.

    On a CPU, the peak is that of the whole process while the block ran (on Linux; elsewhere, since the process started).
    """
    import torch

    cost, on_gpu = Cost(), device.type == 'cuda'
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    else:
        _reset_peak()
    start = time.perf_counter()
    try:
        yield cost
    finally:
        if on_gpu:
            torch.cuda.synchronize(device)
        cost.seconds = time.perf_counter() - start
        cost.peak_memory_mb = torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else _peak_mb()


def _reset_peak() -> None:
    """Reset the high-water mark of resident memory, if the kernel allows it."""
    try:
        with open('/proc/self/clear_refs', 'w') as file:
            file.write('5')
    except OSError:
        pass


def _peak_mb() -> float:
    try:
        with open('/proc/self/status') as file:
            line = next(line for line in file if line.startswith('VmHWM:'))
        return int(line.split()[1]) / 1024
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == 'darwin' else peak / 1024
