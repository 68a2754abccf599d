"""The feature store: backbone features of a split, computed once, kept on disk, read through a memory map.

Shape suffixes: V views, N images, D feature width, C colour channels, H height, W width.
"""

import json
import os
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from absl import logging
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from bench.backbones.base import Backbone
from bench.disk import new_folder
from bench.distributed import ALONE, World
from bench.hashing import short_hash
from bench.progress import progress
from bench.transforms import View
from bench.types import Split

CODE_VERSION = 1
_BATCH_SIZE = 64


@dataclass
class FeatureStore:
    """Features by content: equal data, weights and view share one entry, whoever asked first.

    An entry is a folder with `features.npy` (float32, (V, N, D)) and `key.json` (the key's fields, the array's size and
    checksum). It is filled under a temporary name and renamed when complete, so two processes may make the same one.
    `images_encoded` counts the images that went through a backbone on behalf of this store. The processes of a `world`
    ask for the same entries in the same order, encode a share each, and read the cache folder that all of them see.
    """

    cache_dir: Path
    images_encoded: int = 0
    world: World = ALONE

    def features(self, split: Split, backbone: Backbone, view: View, *, num_views: int = 1) -> np.ndarray:
        """Return features f_VND of views 0..num_views-1 of every image, float32, memory-mapped and read-only.

        Raises:
          InputError: if an image cannot be read (named).
        """
        key = {
            'code': CODE_VERSION,
            'data': split.fingerprint,
            'split': split.name,
            'source': backbone.source,
            'weights': backbone.fingerprint,
            'mean_std': [backbone.mean, backbone.std],
            'feature': backbone.feature,
            'precision': backbone.precision,
            'device': backbone.device.type,
            'view': view.key(),
            'num_views': num_views,
        }
        folder = self.cache_dir / 'features' / short_hash(key)
        shape = (num_views, len(split), backbone.feature_dim)
        if not self.world.agree(self.world.leads and _is_whole(folder, shape)):
            if self.world.leads:
                self._fill(folder, key, split, backbone, view, shape)
            else:
                self._encode_share(self.world.agree(None), split, backbone, view, shape)
            self.world.wait()
        return np.load(folder / 'features.npy', mmap_mode='r')

    def fresh(self, split: Split, backbone: Backbone, view: View, *, views: range) -> Tensor:
        """Return features f_VND of some views on the CPU, kept nowhere."""
        total = len(views) * len(split)
        rows = self.world.share(total)
        parts = list(encode(split, backbone, view, views=views, rows=rows))
        f_MD = torch.cat(parts) if parts else torch.zeros(0, backbone.feature_dim, device=backbone.device)
        self.images_encoded += total
        f_MD = self.world.gather(f_MD.clone(), first=rows.start, count=total)
        return f_MD.cpu().unflatten(0, (len(views), len(split)))

    def _fill(self, folder: Path, key: dict, split: Split, backbone: Backbone, view: View, shape: tuple) -> None:
        with new_folder(folder) as unfinished:
            path = unfinished / 'features.npy'
            np.lib.format.open_memmap(path, mode='w+', dtype=np.float32, shape=shape)
            self.world.agree(path)
            self._encode_share(path, split, backbone, view, shape)
            entry = {'key': key, 'shape': shape, 'bytes': path.stat().st_size, 'crc32': _checksum(path)}
            (unfinished / 'key.json').write_text(json.dumps(entry, indent=1))

    def _encode_share(self, path: Path, split: Split, backbone: Backbone, view: View, shape: tuple) -> None:
        """Write this process's rows of a file that all processes have open; returns when every row is there."""
        array = np.lib.format.open_memmap(path, mode='r+')
        rows_MD = array.reshape(-1, shape[-1])
        rows = self.world.share(len(rows_MD))
        start = rows.start
        title = f'features of {split.name} x {backbone.name}' if self.world.leads else ''
        for f_ND in encode(split, backbone, view, views=range(shape[0]), rows=rows, title=title):
            rows_MD[start : start + len(f_ND)] = f_ND.cpu().numpy()
            start += len(f_ND)
        self.images_encoded += len(rows_MD)
        array.flush()
        self.world.wait()


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
      batch_size: images a pass.
    """
    data: Dataset = _Views(split, view, views)
    if rows is not None:
        data = Subset(data, range(rows.start, rows.stop))
    on_gpu = backbone.device.type == 'cuda'
    # starting workers costs more than decoding a few hundred images
    workers = min(os.cpu_count() or 1, 8) if len(data) >= 512 else 0
    if workers:
        split.images[0]  # what draws or opens itself on first access does so here, not once in each worker
    loader = DataLoader(
        data, batch_size=batch_size, num_workers=workers, pin_memory=on_gpu, collate_fn=_as_floats,
        prefetch_factor=4 if workers else None,
    )
    with torch.inference_mode(), progress(total=len(data), title=title, unit='image') as advance:
        for x_NCHW in loader:
            yield backbone.encode(x_NCHW.to(backbone.device, non_blocking=True))
            advance(len(x_NCHW))


class _Views(Dataset):
    def __init__(self, split: Split, view: View, views: range) -> None:
        self.images, self.count, self.view, self.views = split.images, len(split), view, views

    def __len__(self) -> int:
        return self.count * len(self.views)

    def __getitem__(self, position: int) -> Tensor:
        view, index = divmod(position, self.count)
        return self.view(self.images[index], index=index, view=self.views[view])


def _as_floats(batch: list[Tensor]) -> Tensor:
    return torch.stack([x.float() / 255 if x.dtype is torch.uint8 else x for x in batch])


def _is_whole(folder: Path, shape: tuple[int, ...]) -> bool:
    """Return whether an entry is there and sound; a damaged one is removed."""
    if not folder.exists():
        return False
    problem = _damage(folder, shape)
    if problem:
        logging.warning('feature cache entry %s is damaged (%s): it is made again', folder, problem)
        shutil.rmtree(folder)
    return not problem


def _damage(folder: Path, shape: tuple[int, ...]) -> str:
    """Return what is wrong with an entry, or ''."""
    try:
        entry = json.loads((folder / 'key.json').read_text())
        path = folder / 'features.npy'
        if tuple(entry['shape']) != shape or np.load(path, mmap_mode='r').shape != shape:
            return f'expected shape {shape}, found {tuple(entry["shape"])}'
        if path.stat().st_size != entry['bytes'] or _checksum(path) != entry['crc32']:
            return 'its bytes have changed'
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f'{type(error).__name__}: {error}'
    return ''


def _checksum(path: Path) -> int:
    value = 0
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 22):
            value = zlib.crc32(chunk, value)
    return value
