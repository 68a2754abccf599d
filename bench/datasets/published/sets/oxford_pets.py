"""Oxford-IIIT Pet: 37 breeds of cats and dogs; trained on train and val together."""

from pathlib import Path

from bench.datasets.published.facts import OfficialFile, PublishedDataset
from bench.datasets.published.official import Contents
from bench.datasets.published.sets._torchvision import files_of

DATASET = PublishedDataset(
    'oxford_pets', 'Oxford-IIIT Pet, 37 breeds; trainval and test',
    classes=37, train=3680, test=3669, folder='oxford-iiit-pet',
    licence='CC BY-SA 4.0', licence_url='https://www.robots.ox.ac.uk/~vgg/data/pets/',
    citation='Parkhi, Vedaldi, Zisserman, Jawahar: Cats and Dogs. CVPR 2012',
    files=(
        OfficialFile(
            'oxford-iiit-pet/images.tar.gz', 'https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz',
            md5='5c4f3ee8e5d25df40f4fd59a7f44e54c', num_bytes=791_918_971,
            makes='oxford-iiit-pet/images', inside='images',
        ),
        OfficialFile(
            'oxford-iiit-pet/annotations.tar.gz', 'https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz',
            md5='95a8c909bbe2e81eed6a22bccdf3f68f', num_bytes=19_173_078,
            makes='oxford-iiit-pet/annotations', inside='annotations',
        ),
    ),
)  # fmt: skip


def read(root: Path) -> Contents:
    """Return the official split, in the official order."""
    return files_of(DATASET, root, 'OxfordIIITPet', train=('trainval',))
