"""Your own images: `<data_root>/<path>/<split>/<class>/<image>`."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Annotated, Literal

import numpy as np

from bench.core.errors import InputError
from bench.core.ranges import Fraction, Positive, PositiveInt, Since
from bench.core.types import Dataset, Places, Split, data_root_of
from bench.datasets.images import (
    MAX_ASPECT,
    MAX_PIXELS,
    ImageFiles,
    Limits,
    fingerprints_of,
    image_extensions,
    verify_images,
)

_LAYOUT = '<data_root>/<folder.path>/<split>/<class>/<image>'


def folder(
    places: Places,
    *,
    path: str = '.',
    train_splits: Sequence[str] = ('train',),
    test_split: str = 'test',
    on_error: Literal['stop', 'skip'] = 'stop',
    licence: str = 'unknown',
    source: str = '',
    held_out: Annotated[Fraction, Since('2026-11', neutral=0.0)] = 0.0,
    max_pixels: Annotated[PositiveInt, Since('2026-11', neutral=MAX_PIXELS)] = MAX_PIXELS,
    max_aspect: Annotated[Positive, Since('2026-11', neutral=MAX_ASPECT)] = MAX_ASPECT,
) -> Dataset:
    """Load a dataset from class folders.

    The classes are the sorted folder names. Images lie directly inside them, in any format that PIL reads. Hidden files and
    other files (.txt, .csv, LICENSE) are ignored. Several training splits are concatenated in the given order; a class may
    be missing from some of them.

    Args:
      places: `data_root` holds the images; `cache_dir` caches which of them were readable.
      path: the dataset's folder, relative to `data_root`.
      train_splits: folders to train on, e.g. `('train', 'val')`.
      test_split: folder to test on.
      on_error: 'stop' raises an error before any work starts; 'skip' leaves unreadable images out and lists them in
        `Split.skipped`.
      licence: licence of the images, for the record.
      source: where the images come from, for the record.
      held_out: to choose settings without the test images: this share of the training images of each class, at equal
        distances in the order of files and at least one, becomes the test split, and `test_split` is not used. 0 holds out
        none.
      max_pixels: width times height above which an image counts as unreadable; it is not decoded.
      max_aspect: longer by shorter side above which an image counts as unreadable.

    Raises:
      InputError: for a missing data root or split, class folders that differ between training and test, a class
        without images, or, with `on_error='stop'`, an unreadable image; with `held_out`, for a class of one image.
    """
    root = _dataset_folder(places, path)
    splits = _checked_splits(root, train_splits, test_split)
    classes = {split: _class_folders(root / split) for split in [*splits, test_split]}
    class_names = tuple(sorted(set().union(*(classes[split] for split in splits))))
    _check_same_classes(class_names, classes[test_split], splits, test_split)
    loaded = {}
    for name, parts in (('train', splits), ('test', [test_split])):
        files, labels_N = _list_images(root, parts, class_names)
        _check_no_empty_class(labels_N, class_names, [root / part for part in parts])
        loaded[name] = (files, labels_N)
    if held_out:
        loaded = _held_out(*loaded['train'], held_out, class_names)
    made = {}
    for name, (files, labels_N) in loaded.items():
        made[name] = _readable_split(
            name, ImageFiles(root, tuple(files), Limits(max_pixels, max_aspect)), labels_N, class_names, on_error,
            places.cache_dir,
        )  # fmt: skip
    return Dataset('folder', made['train'], made['test'], licence, source)


def _held_out(
    files: list[str], labels_N: np.ndarray, share: float, class_names: Sequence[str]
) -> dict[str, tuple[list[str], np.ndarray]]:
    """Divide training images into a smaller training split and a test split; see `folder`."""
    held_N = np.zeros(len(files), dtype=bool)
    for label, name in enumerate(class_names):
        members = np.flatnonzero(labels_N == label)
        count = max(1, round(share * len(members)))
        if count >= len(members):
            raise InputError(f'folder.held_out = {share}: expected it to leave a training image of class {name}, got 0 of '
                             f'{len(members)}; hold out less, or leave the class out')  # fmt: skip
        held_N[members[((np.arange(count) + 0.5) * len(members) / count).astype(int)]] = True
    return {
        part: ([file for file, held in zip(files, held_N, strict=True) if held == wanted], labels_N[held_N == wanted])
        for part, wanted in (('train', False), ('test', True))
    }


def _dataset_folder(places: Places, path: str) -> Path:
    root = data_root_of(places, 'folder')
    if PurePath(path).is_absolute():
        raise InputError(f'folder.path: expected a path relative to --data_root, got {path!r}; correct it or the flag')
    if not (root / path).is_dir():
        raise InputError(f'folder.path: expected a folder in {root}, got {path!r}; existing folders: {_names(root)}')
    return root / path


def _checked_splits(root: Path, train_splits: Sequence[str], test_split: str) -> list[str]:
    """Check that all splits exist and that no training split is the test split; return the training splits."""
    if isinstance(train_splits, str) or not train_splits:
        raise InputError(f"folder.train_splits: expected a list such as ['train'], got {train_splits!r}")
    folders = [os.path.realpath(root / split) for split in [*train_splits, test_split]]
    if len(set(folders)) < len(folders):
        got = f'{list(train_splits)} and test_split {test_split!r}'
        raise InputError(f'folder.train_splits: expected different folders for training and test, got {got}')
    for split in [*train_splits, test_split]:
        if not (root / split).is_dir():
            raise InputError(f'folder: expected the split folder {root / split}, got none; existing folders: {_names(root)}')
    return list(train_splits)


def _class_folders(split: Path) -> set[str]:
    found = {name for name in os.listdir(split) if not name.startswith('.') and os.path.isdir(split / name)}
    if not found:
        raise InputError(f'folder: expected class folders in {split}, got none; the layout is {_LAYOUT}')
    return found


def _check_same_classes(train: Sequence[str], test: set[str], train_splits: list[str], test_split: str) -> None:
    only = {'+'.join(train_splits): sorted(set(train) - test), test_split: sorted(test - set(train))}
    differences = [f'only in {split}: {_join(names)}' for split, names in only.items() if names]
    if differences:
        raise InputError(f'folder: expected the same class folders in training and test, got {"; ".join(differences)}')


def _list_images(root: Path, splits: list[str], class_names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Return relative paths and labels, ordered by split, class, file name.

    The split comes first, so that adding a split never renumbers the images of earlier splits.
    """
    extensions = image_extensions()
    files, labels = [], []
    for split in splits:
        for label, name in enumerate(class_names):
            class_folder = root / split / name
            if not class_folder.is_dir():
                continue
            found = [
                name
                for name in os.listdir(class_folder)
                if os.path.splitext(name)[1].lower() in extensions
                and not name.startswith('.')
                and not os.path.isdir(class_folder / name)  # an unreadable image, such as a broken link, is named later
            ]
            files += [f'{split}/{name}/{file}' for file in sorted(found)]
            labels += [label] * len(found)
    return files, np.array(labels, dtype=np.int64)


def _check_no_empty_class(labels_N: np.ndarray, class_names: Sequence[str], places: list[Path], why: str = '') -> None:
    counts = np.bincount(labels_N, minlength=len(class_names))
    empty = [name for name, count in zip(class_names, counts, strict=True) if not count]
    if empty:
        where = ' or '.join(map(str, places))
        raise InputError(
            f'folder: expected {why}images directly inside every class folder of {where}, got none in {_join(empty)}; '
            'add images or remove these folders from all splits'
        )


def _readable_split(
    name: str,
    images: ImageFiles,
    labels_N: np.ndarray,
    class_names: tuple[str, ...],
    on_error: Literal['stop', 'skip'],
    cache_dir: Path,
) -> Split:
    """Return the split without its unreadable images. With `on_error='stop'` an unreadable image raises instead."""
    root, files = images.root, images.files
    title = '+'.join(sorted({file.partition('/')[0] for file in files}))
    prints = fingerprints_of(root, files, labels_N, cache_dir=cache_dir, title=title)
    bad = verify_images(images, on_error=on_error, cache_dir=cache_dir, fingerprint=prints['fingerprint'])
    if bad:
        labels_N = np.delete(labels_N, bad)
        left_out = set(bad)
        images = replace(images, files=tuple(file for i, file in enumerate(files) if i not in left_out))
        prints = fingerprints_of(root, images.files, labels_N, cache_dir=cache_dir, title=f'{title} readable')
        _check_no_empty_class(labels_N, class_names, [root], why='readable ')
    return Split(name, images, labels_N, class_names, skipped=tuple(files[i] for i in bad), **prints)


def _names(folder: Path) -> str:
    return _join(sorted(name for name in os.listdir(folder) if os.path.isdir(folder / name))) or 'no folders'


def _join(names: Sequence[str]) -> str:
    return ', '.join(names[:8]) + (f' and {len(names) - 8} more' if len(names) > 8 else '')
