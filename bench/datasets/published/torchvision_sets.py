"""Published datasets whose index files torchvision reads.

torchvision reads the official index files. Fetching and extracting is ours: its own falls back from https to http, and
takes a folder left behind by an interrupted extraction for the whole dataset. torchvision is imported inside the
functions, because it takes seconds.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.core.errors import InputError
from bench.core.hashing import hash_bytes
from bench.core.types import Dataset, Places, Split
from bench.datasets.images import Listing, checked_dataset, official_dataset, remedy_for
from bench.datasets.published.catalogue import ENTRIES
from bench.datasets.published.obtain import Entry, obtain

# name -> torchvision's class and its splits; several training splits are joined, one after the other
_KINDS = {
    'flowers102': ('Flowers102', ('train',), 'test'),  # the official validation split is left out
    'food101': ('Food101', ('train',), 'test'),
    'fgvc_aircraft': ('FGVCAircraft', ('trainval',), 'test'),  # photographs keep their 20-pixel credit line at the bottom
    'oxford_pets': ('OxfordIIITPet', ('trainval',), 'test'),
    'stanford_cars': ('StanfordCars', ('train',), 'test'),
    'dtd': ('DTD', ('train', 'val'), 'test'),  # partition 1
}


def files_of(name: str, places: Places) -> Dataset:
    """Return a dataset of image files with its official split, in the official order.

    Raises:
      InputError: where the files are absent and cannot be fetched, or are not the official ones.
    """
    entry = ENTRIES[name]
    root = obtain(entry, places)
    kind, train, test = _KINDS[name]
    parts = {part: _open(entry, root, kind, places.data_root, split=part) for part in (*train, test)}
    listings = {part: _listing(view, root) for part, view in parts.items()}
    joined = Listing(
        [file for part in train for file in listings[part].files], [y for part in train for y in listings[part].labels]
    )
    # Names of the flowers came with torchvision 0.22; the official files hold none.
    names = getattr(parts[train[0]], 'classes', None) or [f'flower {number}' for number in range(1, 103)]
    class_names = [name.replace('_', ' ') for name in names]
    return official_dataset(
        entry, root=root, train=joined, test=listings[test], class_names=class_names, cache_dir=places.cache_dir
    )


def _listing(view: Any, root: Path) -> Listing:
    """Return the files, relative to the root, and labels that torchvision has read."""
    if hasattr(view, '_samples'):
        files, labels = [file for file, _ in view._samples], [label for _, label in view._samples]
    else:
        files, labels = view._image_files if hasattr(view, '_image_files') else view._images, view._labels
    return Listing([Path(os.path.relpath(file, root)).as_posix() for file in files], [int(label) for label in labels])


def cifar(name: str, places: Places) -> Dataset:
    """Return CIFAR-10 or CIFAR-100 (fine labels): 32 px images, held in memory.

    The official files are pickles. torchvision opens none whose md5 is not the published one, so no other code can run.

    Raises:
      InputError: where the files are absent and cannot be fetched, or are not the official ones.
    """
    entry = ENTRIES[name]
    root = obtain(entry, places)
    kind = {'cifar10': 'CIFAR10', 'cifar100': 'CIFAR100'}[name]
    splits = []
    for split, train in (('train', True), ('test', False)):
        view = _open(entry, root, kind, places.data_root, train=train)
        labels_N = np.array(view.targets, dtype=np.int64)
        fingerprint = hash_bytes([name.encode(), view.data.tobytes(), labels_N.tobytes()])
        class_names = tuple(text.replace('_', ' ') for text in view.classes)
        splits.append(Split(split, ImageArray(view.data), labels_N, class_names, fingerprint))
    return checked_dataset(entry, *splits, remedy=remedy_for(root))


@dataclass(frozen=True)
class ImageArray(Sequence[Image.Image]):
    """An array (N, H, W, 3) of uint8 as a sequence of RGB images."""

    images_NHWC: np.ndarray

    def __len__(self) -> int:
        return len(self.images_NHWC)

    def __getitem__(self, index: int) -> Image.Image:
        return Image.fromarray(self.images_NHWC[index])


def _open(entry: Entry, root: Path, kind: str, data_root: Path, **split: Any) -> Any:
    """Return torchvision's view of a split; what it does not find or understand becomes one clear line."""
    from torchvision import datasets

    try:
        return getattr(datasets, kind)(str(data_root), **split)
    except Exception as error:  # readers of index files raise nearly anything where one is damaged
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f'{entry.name}: expected the official files, got: {reason}; {remedy_for(root)}') from error
