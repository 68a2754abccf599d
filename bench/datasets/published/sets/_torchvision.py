"""Datasets whose official index files are read by torchvision.

Download and extraction are our own: torchvision falls back from https to http, and takes the folder of an interrupted
extraction for the complete dataset. It is imported inside the functions, because the import takes seconds.
"""

import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from bench.core.errors import InputError
from bench.datasets.published.facts import PublishedDataset
from bench.datasets.published.official import Contents, Listing, Pixels, remedy_for


def files_of(
    published: PublishedDataset, root: Path, kind: str, *, train: Sequence[str] = ('train',), test: str = 'test'
) -> Contents:
    """Return a dataset of image files in the official order.

    Args:
      published: the facts of the catalogue.
      root: the dataset's folder.
      kind: name of torchvision's class.
      train: torchvision's splits to train on, concatenated in this order.
      test: torchvision's split to test on.

    Raises:
      InputError: if torchvision does not find or understand the official files.
    """
    views = {split: _torchvision_split(published, root, kind, split=split) for split in (*train, test)}
    listings = {split: _listing(view, root) for split, view in views.items()}
    joined = Listing(
        [file for split in train for file in listings[split].files],
        [label for split in train for label in listings[split].labels],
    )
    names = getattr(views[train[0]], 'classes', ())
    return Contents(joined, listings[test], [name.replace('_', ' ') for name in names])


def _listing(view: Any, root: Path) -> Listing:
    """Return the files (relative to the root) and the labels that torchvision has read."""
    if hasattr(view, '_samples'):
        files, labels = [file for file, _ in view._samples], [label for _, label in view._samples]
    else:
        files, labels = view._image_files if hasattr(view, '_image_files') else view._images, view._labels
    return Listing([Path(os.path.relpath(file, root)).as_posix() for file in files], [int(label) for label in labels])


def arrays_of(published: PublishedDataset, root: Path, kind: str) -> Contents:
    """Return CIFAR-10 or CIFAR-100, held in memory, in the official order.

    The official files are pickles. torchvision opens only files with the published MD5, so no foreign code can run.

    Raises:
      InputError: if torchvision does not find or understand the official files.
    """
    train, test = (_torchvision_split(published, root, kind, train=is_train) for is_train in (True, False))
    names = [name.replace('_', ' ') for name in train.classes]
    return Contents(Pixels(train.data, train.targets), Pixels(test.data, test.targets), names)


def _torchvision_split(published: PublishedDataset, root: Path, kind: str, **split: Any) -> Any:
    """Return torchvision's dataset of a split; any failure becomes an error of one line."""
    from torchvision import datasets

    data_root = root.parents[len(PurePath(published.folder).parts) - 1]
    try:
        return getattr(datasets, kind)(str(data_root), **split)
    except Exception as error:  # on damaged index files the readers raise almost any type
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f'{published.name}: expected the official files, got: {reason}; {remedy_for(root)}') from error
