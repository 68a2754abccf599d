"""The feature store: a cache on disk for the backbone features of splits, read through memory maps.

Shape suffixes: V views, N images, M rows of views x images, D feature width.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from absl import logging
from torch import Tensor

from bench.backbones.base import Backbone
from bench.core import leases
from bench.core.disk import checksum, look, new_folder, set_aside
from bench.core.hashing import short_hash
from bench.core.progress import remark
from bench.core.types import Split
from bench.features.encode import encode
from bench.features.views import CenterView, RandomView, View
from bench.machine.processes import ALONE, World

# Raise it when the encoding of images changes; views have versions of their own.
CODE_VERSION = 1


@dataclass
class FeatureStore:
    """A cache of features, addressed by content: equal data, weights and view share one cache entry.

    An entry is a folder with `features.npy` ((V, N, D), of the backbone's `dtype`) and `key.json` (the fields of the key,
    the array's size and its checksum). It is written under a temporary name and renamed when complete. Runs that share the
    folder wait for the one that encodes an entry. `images_encoded` counts the images that this store sent through a
    backbone. The processes of a `world` request the same entries in the same order; each encodes a share, and all read one
    shared cache folder.
    """

    cache_dir: Path
    images_encoded: int = 0
    world: World = ALONE
    # entries that this store has verified or written, with the status of the file at that time
    _sound: dict[Path, tuple[int, ...]] = field(default_factory=dict, repr=False)

    def features(self, split: Split, backbone: Backbone, view: View, *, num_views: int = 1) -> np.ndarray:
        """Return features f_VND of views 0..num_views-1 of every image, memory-mapped and read-only.

        Raises:
          InputError: if an image cannot be read; the message names it.
        """
        key = {
            'code': CODE_VERSION,
            'data': split.fingerprint,
            'split': split.name,
            'source': backbone.source,
            'weights': backbone.fingerprint,
            'mean_std': [backbone.mean, backbone.std],
            'feature': backbone.output,
            'precision': backbone.precision,
            'device': backbone.device.type,
            'view': view.key(),
            'num_views': num_views,
        }
        folder = self.cache_dir / 'features' / short_hash(key)
        shape = (num_views, len(split), backbone.feature_dim)
        with self._turn(folder, shape, title=f'{split.name} x {backbone.name}') as found:
            if not self.world.agree(found):
                if self.world.leads:
                    self._fill(folder, key, split, backbone, view, shape)
                    self._sound[folder] = look(folder / 'features.npy')
                else:
                    self._encode_share(self.world.agree(None), split, backbone, view, shape)
                self.world.wait()
        return np.load(folder / 'features.npy', mmap_mode='r')

    def fresh(self, split: Split, backbone: Backbone, view: View, *, views: range) -> Tensor:
        """Return features f_VND of some views, on the CPU, without caching them."""
        total = len(views) * len(split)
        rows = self.world.share(total)
        parts = list(encode(split, backbone, view, views=views, rows=rows))
        none_MD = torch.zeros(0, backbone.feature_dim, device=backbone.device, dtype=backbone.dtype)
        f_MD = torch.cat(parts) if parts else none_MD
        self.images_encoded += total
        f_MD = self.world.gather(f_MD.clone(), first=rows.start, count=total)
        return f_MD.cpu().unflatten(0, (len(views), len(split)))

    @contextmanager
    def _turn(self, folder: Path, shape: tuple, *, title: str) -> Iterator[bool]:
        """Yield whether an entry exists. If not, other runs wait for the block to end, as this one did for theirs."""
        if not self.world.leads or self._has(folder, shape):
            yield self.world.leads
            return
        tell = partial('{1} encodes {0}: waiting for its features'.format, title)
        with leases.hold(leases.path_for(folder), waiting=lambda holder: remark(tell(holder))):
            yield self._has(folder, shape)

    def _has(self, folder: Path, shape: tuple) -> bool:
        """Return whether an entry exists and is valid. Its checksum is verified once, which is slow for large entries."""
        if self._sound.get(folder, ()) == look(folder / 'features.npy') != ():
            return True
        if not _is_whole(folder, shape):
            return False
        self._sound[folder] = look(folder / 'features.npy')
        return True

    def _fill(self, folder: Path, key: dict, split: Split, backbone: Backbone, view: View, shape: tuple) -> None:
        with new_folder(folder) as unfinished:
            path = unfinished / 'features.npy'
            np.lib.format.open_memmap(path, mode='w+', dtype=_numpy(backbone.dtype), shape=shape)
            self.world.agree(path)
            self._encode_share(path, split, backbone, view, shape)
            entry = {'key': key, 'shape': shape, 'bytes': path.stat().st_size, 'crc32': checksum(path)}
            (unfinished / 'key.json').write_text(json.dumps(entry, indent=1))

    def _encode_share(self, path: Path, split: Split, backbone: Backbone, view: View, shape: tuple) -> None:
        """Write this process's rows of a file that all processes fill; return when all rows are written."""
        offset, total = np.load(path, mmap_mode='r').offset, shape[0] * shape[1]
        rows = self.world.share(total)
        title = f'features of {split.name} x {backbone.name}' if self.world.leads else ''
        # not through a memory map: pages written there count as memory of this process until the system has stored them
        with open(path, 'r+b') as file:
            file.seek(offset + rows.start * shape[-1] * backbone.dtype.itemsize)
            for f_ND in encode(split, backbone, view, views=range(shape[0]), rows=rows, title=title):
                file.write(f_ND.cpu().contiguous().numpy().data)
        self.images_encoded += total
        self.world.wait()


def _numpy(dtype: torch.dtype) -> np.dtype:
    return torch.empty(0, dtype=dtype).numpy().dtype


def version() -> str:
    """Return the part of a cell's key that identifies the feature code: '' at the first versions."""
    versions = {'features': CODE_VERSION, 'center view': CenterView.VERSION, 'random view': RandomView.VERSION}
    return ', '.join(f'{name} version {number}' for name, number in versions.items() if number != 1)


def _is_whole(folder: Path, shape: tuple[int, ...]) -> bool:
    """Return whether an entry exists and is valid; remove a damaged one."""
    if not folder.exists():
        return False
    problem = _damage(folder, shape)
    if problem:
        logging.warning('feature cache entry %s is damaged (%s): it is computed again', folder, problem)
        shutil.rmtree(set_aside(folder, 'damaged'))
    return not problem


def _damage(folder: Path, shape: tuple[int, ...]) -> str:
    """Return a description of an entry's damage, or ''."""
    try:
        entry = json.loads((folder / 'key.json').read_text())
        path = folder / 'features.npy'
        if tuple(entry['shape']) != shape or np.load(path, mmap_mode='r').shape != shape:
            return f'expected shape {shape}, found {tuple(entry["shape"])}'
        if path.stat().st_size != entry['bytes'] or checksum(path) != entry['crc32']:
            return 'its bytes have changed'
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f'{type(error).__name__}: {error}'
    return ''
