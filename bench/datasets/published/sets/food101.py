"""Food-101: dishes as people photographed them."""

from pathlib import Path

from bench.datasets.published.facts import OfficialFile, PublishedDataset
from bench.datasets.published.official import Contents
from bench.datasets.published.sets._torchvision import files_of

DATASET = PublishedDataset(
    'food101', 'Food-101, 101 dishes',
    classes=101, train=75_750, test=25_250, folder='food-101',
    licence='scientific fair use; the photographs belong to their Foodspotting authors (license_agreement.txt)',
    licence_url='https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/',
    citation='Bossard, Guillaumin, Van Gool: Food-101 - Mining Discriminative Components with Random Forests. ECCV 2014',
    files=(
        OfficialFile(
            'food-101.tar.gz', 'http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz',
            md5='85eeb15f3717b99a5da872d97d918f87', num_bytes=4_996_278_331, makes='food-101', inside='food-101',
        ),
    ),
)  # fmt: skip


def read(root: Path) -> Contents:
    """Return the official split, in the official order."""
    return files_of(DATASET, root, 'Food101')
