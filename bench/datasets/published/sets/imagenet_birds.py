"""Ten birds of ImageNet."""

from pathlib import Path

from bench.datasets.published.official import Contents
from bench.datasets.published.sets._imagenet import MTT, classes_of, imagenet_entry

# indices of the classes in the sorted list of wnids
_NUMBERS = (84, 130, 88, 144, 145, 22, 96, 9, 100, 89)

DATASET = imagenet_entry(
    'imagenet_birds', 'ten birds of ImageNet',
    classes=10, train=None, test=500, citation=MTT,
)  # fmt: skip


def read(root: Path) -> Contents:
    """Return the ten classes."""
    return classes_of('imagenet_birds', root, lambda wnids: [wnids[number] for number in _NUMBERS])
