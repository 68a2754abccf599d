"""Stanford Dogs: 120 breeds, 100 training images each."""

from pathlib import Path

from bench.core.errors import InputError, reason_of
from bench.datasets.published.facts import OfficialFile, PublishedDataset
from bench.datasets.published.official import Contents, Listing, load_mat, remedy_for

DATASET = PublishedDataset(
    'stanford_dogs', 'Stanford Dogs, 120 breeds, from ImageNet',
    classes=120, train=12_000, test=8580, folder='stanford_dogs',
    licence='none stated; photographs of ImageNet, for research',
    licence_url='http://vision.stanford.edu/aditya86/ImageNetDogs/',
    citation='Khosla, Jayadevaprakash, Yao, Fei-Fei: Novel Dataset for Fine-Grained Image Categorization. FGVC 2011',
    files=(
        OfficialFile(
            'stanford_dogs/images.tar', 'http://vision.stanford.edu/aditya86/ImageNetDogs/images.tar', num_bytes=793_579_520,
            sha256='a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58',
            makes='stanford_dogs/Images', inside='Images',
        ),
        OfficialFile(
            'stanford_dogs/lists.tar', 'http://vision.stanford.edu/aditya86/ImageNetDogs/lists.tar', num_bytes=481_280,
            sha256='34b47cacd9a98b5d150e084f24d29391c084c55272295ec65c85651bc35f4d6c', makes='stanford_dogs/lists',
        ),
    ),
)  # fmt: skip


def read(root: Path) -> Contents:
    """Return the official split, in the order of its two lists; labels are the official ones minus one."""
    train, test = (_read_list(root / 'lists' / f'{split}_list.mat', root) for split in ('train', 'test'))
    breed_of = {label: file.split('/')[1] for file, label in zip(train.files, train.labels, strict=True)}
    # 'n02085620-Chihuahua'
    names = [breed_of[label].partition('-')[2].replace('_', ' ') for label in sorted(breed_of)]
    return Contents(train, test, names)


def _read_list(path: Path, root: Path) -> Listing:
    """Return the images and labels of an official list: the MATLAB columns `file_list` and `labels` (which count from 1)."""
    content = load_mat(path, root=root)
    try:
        files = [f'Images/{file}' for file in content['file_list']]
        labels = [int(label) - 1 for label in content['labels']]
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(f'{path}: expected file_list and labels, got: {reason_of(error)}; {remedy_for(root)}') from error
    if len(files) != len(labels):
        raise InputError(f'{path}: expected one label per file, got {len(labels)} for {len(files)}; {remedy_for(root)}')
    return Listing(files, labels)
