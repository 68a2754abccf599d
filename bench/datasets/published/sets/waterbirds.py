"""Waterbirds: CUB birds pasted onto scenes of land and water; 95% of the training images show a bird at home."""

import csv
from pathlib import Path

from bench.core.errors import InputError, reason_of
from bench.core.types import Group
from bench.datasets.published.facts import OfficialFile, PublishedDataset
from bench.datasets.published.official import Contents, Listing, remedy_for

_COLUMNS = ('img_filename', 'y', 'split', 'place')
_TRAIN, _TEST = '0', '2'  # 1 is validation, which is left out
_BIRDS = ('landbird', 'waterbird')

DATASET = PublishedDataset(
    'waterbirds', 'land birds and water birds, 95% at home in training, 50% in test, 4 groups',
    classes=2, train=4795, test=5794, folder='waterbird_complete95_forest2water2',
    # number 2 * label + place
    groups=tuple(Group(f'{bird} on {place}', y, place) for y, bird in enumerate(_BIRDS) for place in ('land', 'water')),
    homes=('land', 'water'),
    train_groups=(3498, 184, 56, 1057),
    licence='non-commercial research and education',
    licence_url='https://github.com/p-lambda/wilds/blob/main/wilds/datasets/waterbirds_dataset.py',
    citation='Sagawa, Koh, Hashimoto, Liang: Distributionally Robust Neural Networks for Group Shifts. ICLR 2020',
    files=(
        OfficialFile(
            'waterbird_complete95_forest2water2.tar.gz',
            'https://nlp.stanford.edu/data/dro/waterbird_complete95_forest2water2.tar.gz',
            makes='waterbird_complete95_forest2water2', inside='waterbird_complete95_forest2water2',
        ),
    ),
)  # fmt: skip


def read(root: Path) -> Contents:
    """Return the official split, in the order of metadata.csv."""
    path = root / 'metadata.csv'
    try:
        with open(path, newline='', encoding='utf-8') as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(f'{path}: expected the official file, got: {reason_of(error)}; {remedy_for(root)}') from error
    for number, row in enumerate(rows, start=2):
        if not all(row.get(column) for column in _COLUMNS) or row['y'] not in '01' or row['place'] not in '01':
            raise InputError(f'{path}:{number}: expected columns {", ".join(_COLUMNS)}, got {row}; {remedy_for(root)}')
    train, test = (_listing([row for row in rows if row['split'] == mark]) for mark in (_TRAIN, _TEST))
    return Contents(train, test, _BIRDS)


def _listing(rows: list[dict[str, str]]) -> Listing:
    labels, places = ([int(row[column]) for row in rows] for column in ('y', 'place'))
    groups = [2 * label + place for label, place in zip(labels, places, strict=True)]
    return Listing([row['img_filename'] for row in rows], labels, groups)
