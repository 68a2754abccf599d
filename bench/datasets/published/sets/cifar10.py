"""CIFAR-10: 32 px images of ten things."""

from pathlib import Path

from bench.datasets.published.facts import OfficialFile, PublishedDataset
from bench.datasets.published.official import Contents
from bench.datasets.published.sets._torchvision import arrays_of

DATASET = PublishedDataset(
    'cifar10', 'CIFAR-10, 32 px',
    classes=10, train=50_000, test=10_000, folder='cifar-10-batches-py',
    licence='none stated', licence_url='https://www.cs.toronto.edu/~kriz/cifar.html',
    citation='Krizhevsky: Learning Multiple Layers of Features from Tiny Images. Technical report, 2009',
    files=(
        OfficialFile(
            'cifar-10-python.tar.gz', 'https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz',
            md5='c58f30108f718f92721af3b95e74349a', num_bytes=170_498_071,
            makes='cifar-10-batches-py', inside='cifar-10-batches-py',
        ),
    ),
)  # fmt: skip


def read(root: Path) -> Contents:
    """Return the official split, in the official order."""
    return arrays_of(DATASET, root, 'CIFAR10')
