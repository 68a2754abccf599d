"""Caltech-UCSD Birds-200-2011 from its official index files."""

from pathlib import Path

from bench.core.errors import InputError
from bench.core.types import Dataset, Places
from bench.datasets.images import Listing, official_dataset, remedy_for
from bench.datasets.published.catalogue import ENTRIES
from bench.datasets.published.obtain import obtain


def cub200(name: str, places: Places) -> Dataset:
    """Return CUB-200-2011 with its official split.

    Labels are the official class ids less one; the order is that of images.txt.

    Raises:
      InputError: where the files are absent and cannot be fetched, or are not the official ones.
    """
    entry = ENTRIES[name]
    root = obtain(entry, places)
    files = _read_table(root / 'images.txt')
    labels = _read_table(root / 'image_class_labels.txt')
    is_train = _read_table(root / 'train_test_split.txt')
    names = _read_table(root / 'classes.txt')
    if not files.keys() == labels.keys() == is_train.keys() or not set(labels.values()) <= names.keys():
        raise InputError(f'cub200: expected index files about the same images, got others; {remedy_for(root)}')
    label_of = {class_id: label for label, class_id in enumerate(sorted(names, key=int))}
    splits = {}
    for split, mark in (('train', '1'), ('test', '0')):
        ids = [image for image in files if is_train[image] == mark]
        splits[split] = Listing([f'images/{files[image]}' for image in ids], [label_of[labels[image]] for image in ids])
    class_names = [_readable(names[class_id]) for class_id in label_of]
    return official_dataset(entry, root=root, class_names=class_names, cache_dir=places.cache_dir, **splits)


def _read_table(path: Path) -> dict[str, str]:
    """Return the lines `<id> <value>` of an official index file, in order."""
    if not path.is_file():
        raise InputError(f'cub200: expected the official file {path}, got none; {remedy_for(path.parent)}')
    table = {}
    for number, line in enumerate(path.read_text(encoding='utf-8', errors='replace').splitlines(), start=1):
        key, _, value = line.strip().partition(' ')
        if not key:
            continue
        if not key.isdigit() or not value:
            raise InputError(f'{path}:{number}: expected "<number> <value>", got {line!r}; restore the official file')
        table[key] = value
    return table


def _readable(name: str) -> str:
    """Return '001.Black_footed_Albatross' as 'Black footed Albatross'."""
    return name.partition('.')[2].replace('_', ' ') or name
