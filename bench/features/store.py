"""The feature store: backbone features of a split, computed once, kept on disk, read through a memory map.

Shape suffixes: V views, N images, M rows of views x images, D feature width.
"""

import json
import shutil
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from absl import logging
from torch import Tensor

from bench.backbones.base import Backbone
from bench.core.disk import new_folder
from bench.core.hashing import short_hash
from bench.core.types import Split
from bench.features.encode import encode
from bench.features.views import CenterView, RandomView, View
from bench.machine.processes import ALONE, World

# Raise it when images are encoded otherwise than before; views have versions of their own.
CODE_VERSION = 1


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
    # entries that were found or made sound by this store, with what the file looked like then
    _sound: dict[Path, tuple[int, ...]] = field(default_factory=dict, repr=False)

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
        if not self.world.agree(self.world.leads and self._has(folder, shape)):
            if self.world.leads:
                self._fill(folder, key, split, backbone, view, shape)
                self._sound[folder] = _look(folder)
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

    def _has(self, folder: Path, shape: tuple) -> bool:
        """Return whether an entry is there and sound; its bytes are read through once, which takes a while for many."""
        if self._sound.get(folder, ()) == _look(folder) != ():
            return True
        if not _is_whole(folder, shape):
            return False
        self._sound[folder] = _look(folder)
        return True

    def _fill(self, folder: Path, key: dict, split: Split, backbone: Backbone, view: View, shape: tuple) -> None:
        with new_folder(folder) as unfinished:
            path = unfinished / 'features.npy'
            np.lib.format.open_memmap(path, mode='w+', dtype=np.float32, shape=shape)
            self.world.agree(path)
            self._encode_share(path, split, backbone, view, shape)
            entry = {'key': key, 'shape': shape, 'bytes': path.stat().st_size, 'crc32': checksum(path)}
            (unfinished / 'key.json').write_text(json.dumps(entry, indent=1))

    def _encode_share(self, path: Path, split: Split, backbone: Backbone, view: View, shape: tuple) -> None:
        """Write this process's rows of a file that all processes fill; returns when every row is there."""
        offset, total = np.load(path, mmap_mode='r').offset, shape[0] * shape[1]
        rows = self.world.share(total)
        title = f'features of {split.name} x {backbone.name}' if self.world.leads else ''
        # not through a map: what is written there counts as this process's memory until the system has stored it
        with open(path, 'r+b') as file:
            file.seek(offset + rows.start * shape[-1] * np.dtype(np.float32).itemsize)
            for f_ND in encode(split, backbone, view, views=range(shape[0]), rows=rows, title=title):
                file.write(f_ND.cpu().contiguous().numpy().data)
        self.images_encoded += total
        self.world.wait()


def version() -> str:
    """Return what a cell's key says of how features are made: '' at first."""
    versions = {'features': CODE_VERSION, 'center view': CenterView.VERSION, 'random view': RandomView.VERSION}
    return ', '.join(f'{name} version {number}' for name, number in versions.items() if number != 1)


def _look(folder: Path) -> tuple[int, ...]:
    """Return what tells whether an entry's array was touched; () where it is not there."""
    try:
        found = (folder / 'features.npy').stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


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
        if path.stat().st_size != entry['bytes'] or checksum(path) != entry['crc32']:
            return 'its bytes have changed'
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f'{type(error).__name__}: {error}'
    return ''


def checksum(path: Path) -> int:
    """Return the CRC-32 of a file's bytes."""
    value = 0
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 22):
            value = zlib.crc32(chunk, value)
    return value
