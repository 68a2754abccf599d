"""The device of this process: its choice, its name, and the reuse of freed memory."""

import ctypes
import sys

import torch

from bench.core.errors import InputError
from bench.machine import processes

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def choose_device(wanted: str = 'auto') -> torch.device:
    """Return the device that a command computes on, and reuse freed memory from now on.

    With CUDA, every process started by torchrun gets its own GPU.

    Args:
      wanted: `cuda`, `mps` or `cpu`; `auto` takes the first of them that is available.

    Raises:
      InputError: if the device is not available, or if there are fewer GPUs than processes.
    """
    available = {'cuda': torch.cuda.is_available(), 'mps': torch.backends.mps.is_available(), 'cpu': True}
    if wanted == 'auto':
        wanted = next(name for name, present in available.items() if present)
    if not available[wanted]:
        raise InputError(f'--device={wanted}: torch finds no such device here; use --device=auto')
    keep_freed_memory()
    if wanted != 'cuda' or not processes.asked_for():
        return torch.device(wanted)
    if processes.local_rank() >= torch.cuda.device_count():
        raise InputError(f'torchrun started more processes than the {torch.cuda.device_count()} GPUs of this machine')
    device = torch.device('cuda', processes.local_rank())
    torch.cuda.set_device(device)
    return device


def device_name(device: torch.device) -> str:
    """Return the model name of a GPU, or the type of any other device."""
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type


def keep_freed_memory() -> None:
    """Ask glibc to reuse freed memory instead of returning it to the system.

    By default, every large tensor is mapped and unmapped anew, and the first access to every page causes a page fault.
    Without these faults, training convolutions on a CPU is 1.3 to 2 times faster. The process's memory then stays at its
    peak. Does nothing without glibc.
    """
    if not sys.platform.startswith('linux'):
        return
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
