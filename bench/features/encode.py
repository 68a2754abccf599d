"""Encoding: loader workers decode the views of a split, and the backbone encodes them in batches. Nothing is cached here.

Shape suffixes: N images, M rows of views x images, D feature width, C colour channels, H height, W width.
"""

import mmap
import os
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from bench.backbones.base import Backbone
from bench.core.progress import Waiting, progress, remark
from bench.core.types import Split
from bench.features.views import View

_BATCH_SIZE = 64
# Starting a worker costs as much as decoding a few hundred images. More workers than the maximum would wait for the disk.
_IMAGES_PER_WORKER, _MAX_WORKERS = 256, 16
# Passes of at least this many seconds report how long they waited for data.
_WORTH_TELLING = 5.0


def encode(
    split: Split,
    backbone: Backbone,
    view: View,
    *,
    views: range,
    rows: slice | None = None,
    title: str = '',
    batch_size: int = _BATCH_SIZE,
) -> Iterator[Tensor]:
    """Yield features of the backbone's `dtype` in batches (M, D), ordered by view, then by image.

    Args:
      split: the images to encode.
      backbone: the encoder.
      view: turns an image into a network input.
      views: view numbers, such as `range(num_views)`.
      rows: which of the views x images rows to encode; None encodes all.
      title: title of the progress line; '' shows none.
      batch_size: images per forward pass.
    """
    data: _Inputs | Subset[Tensor] = _Inputs(split, view, views)
    if rows is not None:
        data = Subset(data, range(rows.start, rows.stop))
    device, waiting = backbone.device, Waiting()
    on_gpu = device.type == 'cuda'
    workers = workers_for(len(data))
    if workers:
        split.images[0]  # images that are drawn or opened on first access do that here, not once per worker
    loader = DataLoader(
        data, batch_size=batch_size, num_workers=workers, pin_memory=on_gpu, collate_fn=_stacked,
        prefetch_factor=4 if workers else None,
    )
    with torch.inference_mode(), progress(total=len(data), title=title, unit='image') as advance:
        for x_NCHW in waiting.over(loader):
            yield backbone.encode(as_floats(x_NCHW.to(device, non_blocking=True)))
            advance(len(x_NCHW))
            if on_gpu and title:
                # The store has copied the batch's features by now, so this costs no time. From here on, the device waits
                # exactly as long as the loop does.
                torch.cuda.synchronize(device)
    if title and waiting.total >= _WORTH_TELLING:
        share = f'{100 * waiting.share:.0f} % of the time'
        remark(f'{title}: {len(data):,} images in {waiting.total:.0f} s, waiting for data {share}')


def release(array: np.ndarray) -> None:
    """Unmap the pages of a memory-mapped array that have been read; they are read from the file again when needed.

    The system may keep or drop such pages, but they count as memory of this process while they are mapped. Does nothing for
    other arrays.
    """
    mapped = getattr(array, '_mmap', None)
    if mapped is not None and hasattr(mmap, 'MADV_DONTNEED'):
        mapped.madvise(mmap.MADV_DONTNEED)


def workers_for(count: int) -> int:
    """Return the number of loader workers for `count` images: one per core that this process may use, 0 for few images."""
    if count < 2 * _IMAGES_PER_WORKER:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    # torchrun sets the number of processes that share the machine
    cores = max(1, cores // int(os.environ.get('LOCAL_WORLD_SIZE', '1')))
    return min(cores, count // _IMAGES_PER_WORKER, _MAX_WORKERS)


class _Inputs(Dataset[Tensor]):
    """Views of a split's images, ordered by view, then by image."""

    def __init__(self, split: Split, view: View, views: range) -> None:
        self.images, self.count, self.view, self.views = split.images, len(split), view, views

    def __len__(self) -> int:
        return self.count * len(self.views)

    def __getitem__(self, position: int) -> Tensor:
        view, index = divmod(position, self.count)
        return self.view(self.images[index], index=index, view=self.views[view])


def _stacked(batch: list[Tensor]) -> Tensor:
    """Return a batch, as bytes if all views are bytes: a quarter of the size of floats when workers pass it on."""
    if all(x.dtype is torch.uint8 for x in batch):
        return torch.stack(batch)
    return torch.stack([as_floats(x) for x in batch])


def as_floats(x: Tensor) -> Tensor:
    """Return bytes as float32 in [0, 1]; return floats unchanged."""
    # divide by a tensor, because with a plain number GPUs multiply by its rounded reciprocal
    return x.float() / torch.full((), 255.0, device=x.device) if x.dtype is torch.uint8 else x
