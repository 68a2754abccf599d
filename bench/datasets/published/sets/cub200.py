"""Caltech-UCSD Birds-200-2011: 200 species."""

from pathlib import Path

from bench.core.errors import InputError
from bench.datasets.published.facts import OfficialFile, PublishedDataset
from bench.datasets.published.official import Contents, Listing, remedy_for

DATASET = PublishedDataset(
    'cub200', 'Caltech-UCSD Birds-200-2011, 200 species',
    classes=200, train=5994, test=5794, folder='CUB_200_2011',
    licence='none stated in the files; photographs of Flickr users, for research',
    licence_url='https://www.vision.caltech.edu/datasets/cub_200_2011/',
    citation='Wah, Branson, Welinder, Perona, Belongie: The Caltech-UCSD Birds-200-2011 Dataset. CNS-TR-2011-001',
    files=(
        OfficialFile(
            'CUB_200_2011.tgz', 'https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz',
            md5='97eceeb196236b17998738112f37df78', num_bytes=1_150_585_339,
            makes='CUB_200_2011', inside='CUB_200_2011',
        ),
    ),
)  # fmt: skip


def read(root: Path) -> Contents:
    """Return the official split, in the order of images.txt; labels are the official class ids minus one."""
    files = _read_table(root / 'images.txt')
    labels = _read_table(root / 'image_class_labels.txt')
    is_train = _read_table(root / 'train_test_split.txt')
    names = _read_table(root / 'classes.txt')
    if not files.keys() == labels.keys() == is_train.keys() or not set(labels.values()) <= names.keys():
        raise InputError(f'cub200: expected index files that list the same images, got different ones; {remedy_for(root)}')
    label_of = {class_id: label for label, class_id in enumerate(sorted(names, key=int))}

    def listing(mark: str) -> Listing:
        ids = [image for image in files if is_train[image] == mark]
        return Listing([f'images/{files[image]}' for image in ids], [label_of[labels[image]] for image in ids])

    return Contents(listing('1'), listing('0'), [_readable(names[class_id]) for class_id in label_of])


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
