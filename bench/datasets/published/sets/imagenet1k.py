"""ImageNet (ILSVRC2012), all 1,000 classes."""

from pathlib import Path

from bench.datasets.published.official import Contents
from bench.datasets.published.sets._imagenet import classes_of, imagenet_entry

DATASET = imagenet_entry(
    'imagenet1k', 'ImageNet (ILSVRC2012), 1,000 classes; tested on the validation images',
    classes=1000, train=1_281_167, test=50_000,
    citation='Deng, Dong, Socher, Li, Li, Fei-Fei: ImageNet: A Large-Scale Hierarchical Image Database. CVPR 2009',
    decode=False,
)  # fmt: skip


def read(root: Path) -> Contents:
    """Return all classes; the label is the index in the sorted list of wnids, as usual."""
    return classes_of('imagenet1k', root)
