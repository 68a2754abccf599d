"""ImageNet (ILSVRC2012) and subsets of its classes; the validation images are the test split.

The licence has to be accepted in person, so the archives are never fetched. Read are `imagenet/train/<wnid>/*.JPEG` and
`imagenet/val`, whose images may lie flat, as in the official archive (with the development kit, which holds their
labels), or in folders named by wnid, as most people sort them.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from bench.core.errors import InputError
from bench.core.types import Dataset, Places
from bench.datasets.images import Listing, load_mat, official_dataset, reason_of, remedy_for
from bench.datasets.published.catalogue import ENTRIES
from bench.datasets.published.obtain import Entry, obtain

_NUM_CLASSES = 1000
# The ten classes of each subset, by their number among the sorted wnids.
_SUBSETS = {
    'imagenet_birds': (84, 130, 88, 144, 145, 22, 96, 9, 100, 89),
    'imagenet_fruits': (953, 954, 949, 950, 951, 957, 952, 945, 943, 948),
}
# Contrastive Multiview Coding's list of wnids, as published with its code.
IMAGENET100 = Path(__file__).with_name('imagenet100.txt')
_DECODE_AT_MOST = 50_000  # images; beyond, decoding all of them before any work takes an hour


def imagenet(name: str, places: Places) -> Dataset:
    """Return ImageNet-1k, the subset of 100 classes, or one of ten classes.

    Labels number the sorted wnids, as everywhere; those of a subset follow its list of classes.

    Raises:
      InputError: where the files are absent or are not the official ones.
    """
    from torchvision.models import ResNet18_Weights

    entry = ENTRIES[name]
    root = obtain(entry, places)
    wnids = sorted(entry.name for entry in os.scandir(root / 'train') if entry.is_dir())
    if len(wnids) != _NUM_CLASSES:
        raise InputError(f'{name}: expected {_NUM_CLASSES} class folders in {root / "train"}, got {len(wnids)}')
    chosen = _chosen(name, wnids)
    words = dict(zip(wnids, ResNet18_Weights.DEFAULT.meta['categories'], strict=True))
    return official_dataset(
        entry,
        root=root,
        train=_train(root, chosen, entry),
        test=_validation(root, chosen, entry),
        class_names=[words[wnid] for wnid in chosen],
        cache_dir=places.cache_dir,
        decode=(entry.train or 0) <= _DECODE_AT_MOST,
    )


def _chosen(name: str, wnids: Sequence[str]) -> list[str]:
    """Return the wnids of a dataset's classes, by label."""
    if name in _SUBSETS:
        return [wnids[number] for number in _SUBSETS[name]]
    if name == 'imagenet100':
        return IMAGENET100.read_text(encoding='ascii').split()
    return list(wnids)


def _train(root: Path, wnids: Sequence[str], entry: Entry) -> Listing:
    devkit = root / 'ILSVRC2012_devkit_t12' / 'data'
    sizes = {wnid: size for wnid, size in _synsets(devkit).values()} if devkit.is_dir() else {}
    files, labels = [], []
    for label, wnid in enumerate(wnids):
        found = _images_in(root / 'train' / wnid)
        if len(found) != sizes.get(wnid, len(found)):
            got = f'{len(found)} in {root / "train" / wnid}'
            raise InputError(f'{entry.name}: expected {sizes[wnid]} training images, got {got}; {remedy_for(root)}')
        files += [f'train/{wnid}/{file}' for file in found]
        labels += [label] * len(found)
    return Listing(files, labels)


def _validation(root: Path, wnids: Sequence[str], entry: Entry) -> Listing:
    """Return the chosen validation images in the order of their official numbers."""
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    if (root / 'val' / wnids[0]).is_dir():
        found = [(file, f'val/{wnid}/{file}', wnid) for wnid in wnids for file in _images_in(root / 'val' / wnid)]
        found.sort()
        return Listing([path for _, path, _ in found], [label_of[wnid] for _, _, wnid in found])
    files = _images_in(root / 'val')
    truth = _ground_truth(root / 'ILSVRC2012_devkit_t12' / 'data')
    if len(files) != len(truth):
        got = f'{len(files)} for {len(truth)} labels'
        raise InputError(f'{entry.name}: expected one image a label in {root / "val"}, got {got}; {remedy_for(root)}')
    kept = [(f'val/{file}', label_of[wnid]) for file, wnid in zip(files, truth, strict=True) if wnid in label_of]
    return Listing([file for file, _ in kept], [label for _, label in kept])


def _ground_truth(data: Path) -> list[str]:
    """Return the wnid of each validation image from the development kit."""
    path = data / 'ILSVRC2012_validation_ground_truth.txt'
    synsets = _synsets(data)
    try:
        return [synsets[int(line)][0] for line in path.read_text(encoding='ascii').split()]
    except (OSError, ValueError, LookupError) as error:
        got = f'{reason_of(error)}; {remedy_for(data.parent)}'
        raise InputError(f'{path}: expected the official numbers of classes, got: {got}') from error


def _synsets(data: Path) -> dict[int, tuple[str, int]]:
    """Return the official number of each class -> its wnid and number of training images."""
    synsets = load_mat(data / 'meta.mat', root=data.parent)['synsets']
    return {int(s['ILSVRC2012_ID']): (str(s['WNID']), int(s['num_train_images'])) for s in synsets}


def _images_in(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise InputError(f'{folder}: expected the folder of official images, got none; {remedy_for(folder.parent)}')
    return sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith('.JPEG'))
