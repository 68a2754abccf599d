"""Waterbirds: CUB birds pasted on scenes of land and water, 95 % of the training images on their own."""

import csv

from bench.core.errors import InputError
from bench.core.types import Dataset, Places
from bench.datasets.images import Listing, official_dataset, reason_of, remedy_for
from bench.datasets.published.catalogue import ENTRIES
from bench.datasets.published.obtain import obtain

_COLUMNS = ('img_filename', 'y', 'split', 'place')
_TRAIN, _TEST = '0', '2'  # 1 is validation, which is left out


def waterbirds(name: str, places: Places) -> Dataset:
    """Return Waterbirds with its official split, in the order of metadata.csv.

    Groups are bird x place, number 2 * label + place.

    Raises:
      InputError: where the files are absent and cannot be fetched, or are not the official ones.
    """
    entry = ENTRIES[name]
    root = obtain(entry, places)
    path = root / 'metadata.csv'
    try:
        with open(path, newline='', encoding='utf-8') as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(f'{path}: expected the official file, got: {reason_of(error)}; {remedy_for(root)}') from error
    for number, row in enumerate(rows, start=2):
        if not all(row.get(column) for column in _COLUMNS) or row['y'] not in '01' or row['place'] not in '01':
            raise InputError(f'{path}:{number}: expected columns {", ".join(_COLUMNS)}, got {row}; {remedy_for(root)}')
    splits = {}
    for split, mark in (('train', _TRAIN), ('test', _TEST)):
        kept = [row for row in rows if row['split'] == mark]
        labels, places_ = ([int(row[column]) for row in kept] for column in ('y', 'place'))
        groups = [2 * label + place for label, place in zip(labels, places_, strict=True)]
        splits[split] = Listing([row['img_filename'] for row in kept], labels, groups)
    return official_dataset(
        entry, root=root, class_names=('landbird', 'waterbird'), cache_dir=places.cache_dir, **splits
    )
