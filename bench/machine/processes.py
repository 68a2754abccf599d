"""Several processes as one: torchrun starts them, each holds a share of the rows, and all have the same results.

Rows (samples, classes, images) are divided into contiguous blocks. Quantities that every process needs in full are summed.
"""

import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from bench.core.errors import InputError


@dataclass(frozen=True)
class World:
    """This process's rank among `size` processes; a single process by default."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files and prints."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Return this process's block of `count` rows; blocks differ by at most one row, and may be empty."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum(self, x: Tensor) -> Tensor:
        """Return the sum of `x` over the processes, as a new tensor.

        Every process must go on to compute the same scalar from the sum. The gradient of that scalar with respect to
        one process's part is then the gradient with respect to the sum, so going backward needs no exchange.
        """
        return _Sum.apply(x) if self.size > 1 else x

    def gather(self, x: Tensor, *, first: int, count: int) -> Tensor:
        """Return all `count` rows; `x` holds this process's rows, which start at row `first`."""
        if self.size == 1:
            return x
        whole = torch.zeros(count, *x.shape[1:], dtype=x.dtype, device=x.device)
        whole[first : first + len(x)] = x
        dist.all_reduce(whole)
        return whole

    def agree(self, value: Any) -> Any:
        """Return the leading process's value (picklable) on every process; waits for all processes."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def any(self, value: bool, device: torch.device) -> bool:
        """Return whether the value is true in at least one process; waits for all processes."""
        return bool(self.sum(torch.tensor(float(value), device=device)) > 0)

    def wait(self) -> None:
        """Wait until every process has reached this call."""
        self.agree(None)


ALONE = World()


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def asked_for() -> bool:
    """Return whether torchrun (or another torch.distributed launcher) started this process as one of several."""
    return int(os.environ.get('WORLD_SIZE', '1')) > 1


def local_rank() -> int:
    """Return this process's rank on its machine, which is the number of its GPU."""
    return int(os.environ.get('LOCAL_RANK', '0'))


def join(device: torch.device) -> World:
    """Join the process group of torchrun: NCCL for CUDA, gloo otherwise. Return `ALONE` for a single process.

    Raises:
      InputError: if the launcher's variables are incomplete.
    """
    if not asked_for():
        return ALONE
    if missing := [name for name in ('RANK', 'MASTER_ADDR', 'MASTER_PORT') if name not in os.environ]:
        raise InputError(f'WORLD_SIZE is set but {missing[0]} is not: start several processes with torchrun')
    # Adam imports this module. Imported after the group was created, it would keep the group alive beyond `leave`, and
    # gloo's threads would abort when Python exits.
    import torch._dynamo  # noqa: F401

    dist.init_process_group('nccl' if device.type == 'cuda' else 'gloo')
    return World(dist.get_rank(), dist.get_world_size())


def leave() -> None:
    """Part in good order; after an error processes just end, so that the launcher stops the others."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
