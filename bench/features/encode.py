"""Images through a backbone, once: a split's views are decoded by workers, encoded in batches and kept nowhere.

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
# Starting a worker costs as much as decoding a few hundred images; more workers than this wait for the disk.
_IMAGES_PER_WORKER, _MAX_WORKERS = 256, 16
# Passes from this many seconds on tell what they waited for.
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
    """Yield float32 features in batches (M, D), view by view, image by image, without keeping any.

    Args:
      split: what to encode.
      backbone: the encoder.
      view: how an image becomes an input.
      views: the view numbers, such as `range(num_views)`.
      rows: the part of the views x images that is wanted; None takes all.
      title: of the progress line; '' shows none.
      batch_size: images per pass.
    """
    data: _Inputs | Subset[Tensor] = _Inputs(split, view, views)
    if rows is not None:
        data = Subset(data, range(rows.start, rows.stop))
    device, waiting = backbone.device, Waiting()
    on_gpu = device.type == 'cuda'
    workers = workers_for(len(data))
    if workers:
        split.images[0]  # what draws or opens itself on first access does so here, not once in each worker
    loader = DataLoader(
        data, batch_size=batch_size, num_workers=workers, pin_memory=on_gpu, collate_fn=_stacked,
        prefetch_factor=4 if workers else None,
    )
    with torch.inference_mode(), progress(total=len(data), title=title, unit='image') as advance:
        for x_NCHW in waiting.over(loader):
            yield backbone.encode(as_floats(x_NCHW.to(device, non_blocking=True)))
            advance(len(x_NCHW))
            if on_gpu and title:
                # The store has fetched the batch's features by now, so there is nothing left to finish: from here on the
                # device waits for as long as the loop does.
                torch.cuda.synchronize(device)
    if title and waiting.total >= _WORTH_TELLING:
        share = f'{100 * waiting.share:.0f} % of the time'
        remark(f'{title}: {len(data):,} images in {waiting.total:.0f} s, waiting for data {share}')


def release(array: np.ndarray) -> None:
    """Let go of the pages of a memory-mapped array that were read; what is read again comes from the file.

    They are the system's to keep or to drop, but count as this process's memory while they are mapped. Does nothing for
    other arrays.
    """
    mapped = getattr(array, '_mmap', None)
    if mapped is not None and hasattr(mmap, 'MADV_DONTNEED'):
        mapped.madvise(mmap.MADV_DONTNEED)


def workers_for(count: int) -> int:
    """Return how many processes decode `count` images: one for each core that this process may use, 0 for few images."""
    if count < 2 * _IMAGES_PER_WORKER:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    # torchrun tells how many processes share the machine
    cores = max(1, cores // int(os.environ.get('LOCAL_WORLD_SIZE', '1')))
    return min(cores, count // _IMAGES_PER_WORKER, _MAX_WORKERS)


class _Inputs(Dataset[Tensor]):
    """Views of a split's images, view by view, image by image."""

    def __init__(self, split: Split, view: View, views: range) -> None:
        self.images, self.count, self.view, self.views = split.images, len(split), view, views

    def __len__(self) -> int:
        return self.count * len(self.views)

    def __getitem__(self, position: int) -> Tensor:
        view, index = divmod(position, self.count)
        return self.view(self.images[index], index=index, view=self.views[view])


def _stacked(batch: list[Tensor]) -> Tensor:
    """Return a batch, in bytes where all views are: a quarter of what would have to be passed on as floats."""
    if all(x.dtype is torch.uint8 for x in batch):
        return torch.stack(batch)
    return torch.stack([as_floats(x) for x in batch])


def as_floats(x: Tensor) -> Tensor:
    """Return bytes as float32 in [0, 1], floats as they are."""
    # divided by a tensor, because GPUs multiply by the rounded reciprocal of a number
    return x.float() / torch.full((), 255.0, device=x.device) if x.dtype is torch.uint8 else x
