"""Stanford Dogs from its official lists."""

from pathlib import Path

from bench.core.errors import InputError
from bench.core.types import Dataset, Places
from bench.datasets.images import Listing, load_mat, official_dataset, reason_of, remedy_for
from bench.datasets.published.catalogue import ENTRIES
from bench.datasets.published.obtain import obtain


def stanford_dogs(name: str, places: Places) -> Dataset:
    """Return Stanford Dogs, 120 breeds, with its official split (100 training images a breed).

    Labels are the official ones less one; the order is that of train_list.mat and test_list.mat.

    Raises:
      InputError: where the files are absent and cannot be fetched, or are not the official ones.
    """
    entry = ENTRIES[name]
    root = obtain(entry, places)
    train, test = (_read_list(root / 'lists' / f'{split}_list.mat', root) for split in ('train', 'test'))
    breed_of = {label: file.split('/')[1] for file, label in zip(train.files, train.labels, strict=True)}
    # 'n02085620-Chihuahua'
    class_names = [breed_of[label].partition('-')[2].replace('_', ' ') for label in sorted(breed_of)]
    return official_dataset(
        entry, root=root, train=train, test=test, class_names=class_names, cache_dir=places.cache_dir
    )


def _read_list(path: Path, root: Path) -> Listing:
    """Return the images and labels of an official list: MATLAB columns `file_list` and `labels`, from 1."""
    content = load_mat(path, root=root)
    try:
        files = [f'Images/{file}' for file in content['file_list']]
        labels = [int(label) - 1 for label in content['labels']]
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(f'{path}: expected file_list and labels, got: {reason_of(error)}; {remedy_for(root)}') from error
    if len(files) != len(labels):
        raise InputError(f'{path}: expected one label a file, got {len(labels)} for {len(files)}; {remedy_for(root)}')
    return Listing(files, labels)
