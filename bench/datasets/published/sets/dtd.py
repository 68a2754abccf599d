"""Describable Textures: 47 kinds, partition 1; trained on train and val together."""

from pathlib import Path

from bench.datasets.published.facts import OfficialFile, PublishedDataset
from bench.datasets.published.official import Contents
from bench.datasets.published.sets._torchvision import files_of

DATASET = PublishedDataset(
    'dtd', 'Describable Textures, 47 kinds; train and val of partition 1, and test',
    classes=47, train=3760, test=1880, folder='dtd/dtd', revision='r1.0.1, partition 1',
    licence='research', licence_url='https://www.robots.ox.ac.uk/~vgg/data/dtd/',
    citation='Cimpoi, Maji, Kokkinos, Mohamed, Vedaldi: Describing Textures in the Wild. CVPR 2014',
    files=(
        OfficialFile(
            'dtd/dtd-r1.0.1.tar.gz', 'https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz',
            md5='fff73e5086ae6bdbea199a49dfb8a4c1', num_bytes=625_239_812, makes='dtd/dtd', inside='dtd',
        ),
    ),
)  # fmt: skip


def read(root: Path) -> Contents:
    """Return the official split of partition 1, in the official order: train before val."""
    return files_of(DATASET, root, 'DTD', train=('train', 'val'))
