"""ImageNet-100: the classes of Contrastive Multiview Coding, in the order of its list."""

from pathlib import Path

from bench.datasets.published.official import Contents
from bench.datasets.published.sets._imagenet import classes_of, imagenet_entry

# wnids, as published with the code of Contrastive Multiview Coding
LIST = Path(__file__).with_name('imagenet100.txt')

DATASET = imagenet_entry(
    'imagenet100', 'ImageNet-100: the 100 classes of Contrastive Multiview Coding',
    classes=100, train=126_689, test=5000,
    citation='Tian, Krishnan, Isola: Contrastive Multiview Coding. ECCV 2020', decode=False,
)  # fmt: skip


def read(root: Path) -> Contents:
    """Return the listed classes."""
    listed = LIST.read_text(encoding='ascii').split()
    return classes_of('imagenet100', root, lambda wnids: listed)
