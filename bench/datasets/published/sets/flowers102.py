"""Oxford Flowers: 102 kinds; the official validation split is left out."""

from pathlib import Path

from bench.datasets.published.facts import OfficialFile, PublishedDataset
from bench.datasets.published.official import Contents
from bench.datasets.published.sets._torchvision import files_of

DATASET = PublishedDataset(
    'flowers102', 'Oxford Flowers, 102 kinds, 10 training images each',
    classes=102, train=1020, test=6149, folder='flowers-102',
    licence='none stated; photographs from the web, for research',
    licence_url='https://www.robots.ox.ac.uk/~vgg/data/flowers/102/',
    citation='Nilsback, Zisserman: Automated Flower Classification over a Large Number of Classes. ICVGIP 2008',
    files=(
        OfficialFile(
            'flowers-102/imagelabels.mat', 'https://www.robots.ox.ac.uk/~vgg/data/flowers/102/imagelabels.mat',
            md5='e0620be6f572b9609742df49c70aed4d', num_bytes=502,
        ),
        OfficialFile(
            'flowers-102/setid.mat', 'https://www.robots.ox.ac.uk/~vgg/data/flowers/102/setid.mat',
            md5='a5357ecc9cb78c4bef273ce3793fc85c', num_bytes=14_989,
        ),
        OfficialFile(
            'flowers-102/102flowers.tgz', 'https://www.robots.ox.ac.uk/~vgg/data/flowers/102/102flowers.tgz',
            md5='52808999861908f626f3c1f4e79d11fa', num_bytes=344_862_509, makes='flowers-102/jpg', inside='jpg',
        ),
    ),
)  # fmt: skip


def read(root: Path) -> Contents:
    """Return the official split, in the official order."""
    contents = files_of(DATASET, root, 'Flowers102')
    # The official files hold no names; torchvision has them since 0.22.
    return contents if contents.class_names else contents._replace(class_names=[f'flower {n}' for n in range(1, 103)])
