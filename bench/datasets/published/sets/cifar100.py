"""CIFAR-100: 32 px images with fine labels."""

from pathlib import Path

from bench.datasets.published.facts import OfficialFile, PublishedDataset
from bench.datasets.published.official import Contents
from bench.datasets.published.sets._torchvision import arrays_of

DATASET = PublishedDataset(
    'cifar100', 'CIFAR-100, fine labels, 32 px',
    classes=100, train=50_000, test=10_000, folder='cifar-100-python',
    licence='none stated', licence_url='https://www.cs.toronto.edu/~kriz/cifar.html',
    citation='Krizhevsky: Learning Multiple Layers of Features from Tiny Images. Technical report, 2009',
    files=(
        OfficialFile(
            'cifar-100-python.tar.gz', 'https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz',
            md5='eb9058c3a382ffc7106e4002c42a8d85', num_bytes=169_001_437,
            makes='cifar-100-python', inside='cifar-100-python',
        ),
    ),
)  # fmt: skip


def read(root: Path) -> Contents:
    """Return the official split, in the official order."""
    return arrays_of(DATASET, root, 'CIFAR100')
