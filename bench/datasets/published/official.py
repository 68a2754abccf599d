"""From what the official index files say to a dataset that is checked against what is published.

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
from bench.datasets.published.entry import Entry


class Listing(NamedTuple):
    """A split of files in the official order: files relative to the dataset's folder, labels, groups where it has some."""

    files: Sequence[str]
    labels: Sequence[int]
    groups: Sequence[int] | None = None


class Pixels(NamedTuple):
    """A split that is held in memory: uint8 images_NHWC in RGB, and labels."""

    images_NHWC: np.ndarray
    labels: Sequence[int]


class Contents(NamedTuple):
    """What `read` of a published dataset returns: its splits, and the C class names by label."""

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


def official_dataset(entry: Entry, contents: Contents, *, root: Path, cache_dir: Path) -> Dataset:
    """Return a published dataset, after checking that all of it is there and, where the entry says so, readable.

    Args:
      entry: what the catalogue says of it.
      contents: what its index files say.
      root: the folder that files are relative to.
      cache_dir: remembers what the images hold, and that they were readable.

    Raises:
      InputError: for other sizes than the published ones, labels that no class has, a missing file or an unreadable one.
    """
    remedy = remedy_for(root)
    class_names = tuple(contents.class_names)
    train = _split(entry, 'train', contents.train, class_names, root, cache_dir)
    test = _split(entry, 'test', contents.test, class_names, root, cache_dir)
    _check_as_published(entry, train, test, remedy)
    for split in (train, test):
        if entry.decode and isinstance(split.images, ImageFiles):
            # A published set is used whole or not at all: numbers on parts of it would not be comparable.
            verify_images(split.images, on_error='stop', cache_dir=cache_dir, fingerprint=split.fingerprint, hint=remedy)
    return Dataset(
        entry.name, train, test, entry.licence, entry.source, entry.citation, groups=entry.groups, homes=entry.homes
    )


def _split(
    entry: Entry, name: str, found: Listing | Pixels, class_names: tuple[str, ...], root: Path, cache_dir: Path
) -> Split:
    labels_N = np.array(found.labels, dtype=np.int64)
    if isinstance(found, Pixels):
        fingerprint = hash_bytes([entry.name.encode(), found.images_NHWC.tobytes(), labels_N.tobytes()])
        return Split(name, ImageArray(found.images_NHWC), labels_N, class_names, fingerprint)
    images = ImageFiles(root, tuple(found.files))
    prints = fingerprints_of(root, found.files, found.labels, cache_dir=cache_dir, title=f'{entry.name} {name}')
    if found.groups is None:
        return Split(name, images, labels_N, class_names, **prints)
    groups_N, group_names = np.array(found.groups, dtype=np.int64), tuple(group.name for group in entry.groups)
    return Split(name, images, labels_N, class_names, groups_N=groups_N, group_names=group_names, **prints)


def _check_as_published(entry: Entry, train: Split, test: Split, remedy: str) -> None:
    published = {'train': entry.train, 'test': entry.test, 'classes': entry.classes}
    got = {'train': len(train), 'test': len(test), 'classes': train.num_classes}
    if {**got, **{name: size for name, size in published.items() if size is not None}} != got:
        raise InputError(f'{entry.name}: expected the published {published}, got {got}; {remedy}')
    if entry.train_groups:
        assert train.groups_N is not None, 'the files of an entry with groups are listed with theirs'
        sizes = tuple(np.bincount(train.groups_N).tolist())
        if sizes != entry.train_groups:
            raise InputError(f'{entry.name}: expected training groups of {entry.train_groups}, got {sizes}; {remedy}')
    for split in (train, test):
        low, high = split.labels_N.min(), split.labels_N.max()
        if low < 0 or high >= entry.classes:
            expected = f'labels 0 to {entry.classes - 1} in {split.name}'
            raise InputError(f'{entry.name}: expected {expected}, got {low} to {high}; {remedy}')


# ---- for reading official files --------------------------------------------------------------------------------------


def remedy_for(root: Path) -> str:
    """Return the advice for a published dataset that is not as published."""
    return f'restore the official files, or move {root} away and get it anew (python -m bench.data)'


def load_mat(path: Path, *, root: Path) -> dict[str, Any]:
    """Return the variables of an official MATLAB file, singleton dimensions removed.

    Raises:
      InputError: if it is missing or is no such file; `root` is the dataset's folder.
    """
    from scipy.io import loadmat

    try:
        return loadmat(path, squeeze_me=True)
    except Exception as error:  # on damaged files scipy raises nearly anything
        raise InputError(f'{path}: expected the official file, got: {reason_of(error)}; {remedy_for(root)}') from error


def names_in(folder: Path, *, root: Path, ending: str = '') -> list[str]:
    """Return the names in a folder of official images, sorted: those of its folders, or of its files with an ending.

    What begins with a dot is left out: macOS leaves `._<name>` in archives.

    Raises:
      InputError: if it is missing; `root` is the dataset's folder.
    """
    if not folder.is_dir():
        raise InputError(f'{folder}: expected the folder of official images, got none; {remedy_for(root)}')
    with os.scandir(folder) as found:
        names = [entry.name for entry in found if (entry.name.endswith(ending) if ending else entry.is_dir())]
    return sorted(name for name in names if not name.startswith('.'))
