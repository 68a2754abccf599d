"""From the contents of official index files to a dataset whose sizes are checked against the published ones.

Shape suffixes: N samples, C classes, H height, W width.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from bench.core.errors import InputError, reason_of
from bench.core.hashing import hash_bytes
from bench.core.types import Dataset, Split
from bench.datasets.images import ImageFiles, fingerprints_of, verify_images
from bench.datasets.published.facts import PublishedDataset


class Listing(NamedTuple):
    """A split of files in the official order: paths relative to the dataset's folder, labels, and groups (optional)."""

    files: Sequence[str]
    labels: Sequence[int]
    groups: Sequence[int] | None = None


class Pixels(NamedTuple):
    """A split held in memory: uint8 images_NHWC in RGB, and labels."""

    images_NHWC: np.ndarray
    labels: Sequence[int]


class Contents(NamedTuple):
    """The return value of a published dataset's `read`: its splits, and the C class names indexed by label."""

    train: Listing | Pixels
    test: Listing | Pixels
    class_names: Sequence[str]


@dataclass(frozen=True)
class ImageArray:
    """An array (N, H, W, 3) of uint8 as `bench.core.types.Images`."""

    images_NHWC: np.ndarray

    def __len__(self) -> int:
        return len(self.images_NHWC)

    def __getitem__(self, index: int) -> Image.Image:
        return Image.fromarray(self.images_NHWC[index])


# ---- from contents to a dataset --------------------------------------------------------------------------------------


def official_dataset(published: PublishedDataset, contents: Contents, *, root: Path, cache_dir: Path) -> Dataset:
    """Return a published dataset, after checking that it is complete and, with `decode`, that every image is readable.

    Args:
      published: the facts of the catalogue.
      contents: the contents of the index files.
      root: folder that the paths are relative to.
      cache_dir: caches hashes of the images, and that they were readable.

    Raises:
      InputError: if a size differs from the published one, a label is out of range, or a file is missing or unreadable.
    """
    remedy = remedy_for(root)
    class_names = tuple(contents.class_names)
    train = _split(published, 'train', contents.train, class_names, root, cache_dir)
    test = _split(published, 'test', contents.test, class_names, root, cache_dir)
    _check_as_published(published, train, test, remedy)
    for split in (train, test):
        if published.decode and isinstance(split.images, ImageFiles):
            # A published dataset is used whole or not at all: numbers on a part of it would not be comparable.
            verify_images(split.images, on_error='stop', cache_dir=cache_dir, fingerprint=split.fingerprint, hint=remedy)
    return Dataset(
        published.name, train, test, published.licence, published.source, published.citation, groups=published.groups,
        homes=published.homes,
    )


def _split(
    published: PublishedDataset, name: str, found: Listing | Pixels, class_names: tuple[str, ...], root: Path,
    cache_dir: Path,
) -> Split:  # fmt: skip
    labels_N = np.array(found.labels, dtype=np.int64)
    if isinstance(found, Pixels):
        fingerprint = hash_bytes([published.name.encode(), found.images_NHWC.tobytes(), labels_N.tobytes()])
        return Split(name, ImageArray(found.images_NHWC), labels_N, class_names, fingerprint)
    images = ImageFiles(root, tuple(found.files))
    prints = fingerprints_of(root, found.files, found.labels, cache_dir=cache_dir, title=f'{published.name} {name}')
    if found.groups is None:
        return Split(name, images, labels_N, class_names, **prints)
    groups_N, group_names = np.array(found.groups, dtype=np.int64), tuple(group.name for group in published.groups)
    return Split(name, images, labels_N, class_names, groups_N=groups_N, group_names=group_names, **prints)


def _check_as_published(published: PublishedDataset, train: Split, test: Split, remedy: str) -> None:
    sizes = {'train': published.train, 'test': published.test, 'classes': published.classes}
    got = {'train': len(train), 'test': len(test), 'classes': train.num_classes}
    if {**got, **{name: size for name, size in sizes.items() if size is not None}} != got:
        raise InputError(f'{published.name}: expected the published {sizes}, got {got}; {remedy}')
    if published.train_groups:
        assert train.groups_N is not None, 'a listing of a dataset with groups holds the group of each file'
        counts = tuple(np.bincount(train.groups_N).tolist())
        if counts != published.train_groups:
            expected = f'expected training groups of {published.train_groups}'
            raise InputError(f'{published.name}: {expected}, got {counts}; {remedy}')
    for split in (train, test):
        low, high = split.labels_N.min(), split.labels_N.max()
        if low < 0 or high >= published.classes:
            expected = f'labels 0 to {published.classes - 1} in {split.name}'
            raise InputError(f'{published.name}: expected {expected}, got {low} to {high}; {remedy}')


# ---- for reading official files --------------------------------------------------------------------------------------


def remedy_for(root: Path) -> str:
    """Return the advice for files that differ from the published ones."""
    return f'restore the official files, or move {root} away and get it anew (python -m bench.data)'


def load_mat(path: Path, *, root: Path) -> dict[str, Any]:
    """Return the variables of an official MATLAB file, with singleton dimensions removed.

    Raises:
      InputError: if the file is missing or is not a MATLAB file; `root` is the dataset's folder.
    """
    from scipy.io import loadmat

    try:
        return loadmat(path, squeeze_me=True)
    except Exception as error:  # on damaged files scipy raises almost any type
        raise InputError(f'{path}: expected the official file, got: {reason_of(error)}; {remedy_for(root)}') from error


def names_in(folder: Path, *, root: Path, ending: str = '') -> list[str]:
    """Return the sorted names of a folder's subfolders, or of its files with the given ending.

    Names that start with a dot are left out: macOS adds `._<name>` to archives.

    Raises:
      InputError: if the folder is missing; `root` is the dataset's folder.
    """
    if not folder.is_dir():
        raise InputError(f'{folder}: expected the folder of official images, got none; {remedy_for(root)}')
    with os.scandir(folder) as found:
        names = [entry.name for entry in found if (entry.name.endswith(ending) if ending else entry.is_dir())]
    return sorted(name for name in names if not name.startswith('.'))
