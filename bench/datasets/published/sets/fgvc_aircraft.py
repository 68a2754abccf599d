"""FGVC Aircraft: 100 variants; trained on train and val together. Photographs keep their 20-pixel credit line."""

from pathlib import Path

from bench.datasets.published.facts import OfficialFile, PublishedDataset
from bench.datasets.published.official import Contents
from bench.datasets.published.sets._torchvision import files_of

DATASET = PublishedDataset(
    'fgvc_aircraft', 'FGVC Aircraft, 100 variants; trainval and test',
    classes=100, train=6667, test=3333, folder='fgvc-aircraft-2013b', revision='2013b',
    licence='non-commercial research only', licence_url='https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/',
    citation='Maji, Rahtu, Kannala, Blaschko, Vedaldi: Fine-Grained Visual Classification of Aircraft. arXiv 1306.5151',
    files=(
        OfficialFile(
            'fgvc-aircraft-2013b.tar.gz',
            'https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz',
            md5='d4acdd33327262359767eeaa97a4f732', num_bytes=2_753_340_328,
            makes='fgvc-aircraft-2013b', inside='fgvc-aircraft-2013b',
        ),
    ),
)  # fmt: skip


def read(root: Path) -> Contents:
    """Return the official split, in the official order."""
    return files_of(DATASET, root, 'FGVCAircraft', train=('trainval',))
