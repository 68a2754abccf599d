"""Ten fruits of ImageNet."""

from pathlib import Path

from bench.datasets.published.official import Contents
from bench.datasets.published.sets._imagenet import MTT, classes_of, imagenet_entry

# indices of the classes in the sorted list of wnids
_NUMBERS = (953, 954, 949, 950, 951, 957, 952, 945, 943, 948)

DATASET = imagenet_entry(
    'imagenet_fruits', 'ten fruits of ImageNet',
    classes=10, train=None, test=500, citation=MTT,
)  # fmt: skip


def read(root: Path) -> Contents:
    """Return the ten classes."""
    return classes_of('imagenet_fruits', root, lambda wnids: [wnids[number] for number in _NUMBERS])
