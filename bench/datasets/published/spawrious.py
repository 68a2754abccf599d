"""Spawrious O2O-Hard: generated dogs whose usual scene in training is another dog's in test."""

import os
import re
from pathlib import Path

from bench.core.errors import InputError
from bench.core.types import Dataset, Places
from bench.datasets.images import Listing, official_dataset, remedy_for
from bench.datasets.published.catalogue import ENTRIES
from bench.datasets.published.obtain import obtain

# dog -> its scene in training, and in test, in the order of the published loader
_HOMES = {
    'bulldog': ('jungle', 'mountain'),
    'dachshund': ('mountain', 'snow'),
    'labrador': ('snow', 'desert'),
    'corgi': ('desert', 'jungle'),
}
_DOGS = sorted(_HOMES)  # by label
_FILLER = 'beach'
_PER_FOLDER = 3168
# Of each training environment: the share of a dog's images in its own scene; the rest is at the beach.
_SHARES = (0.97, 0.87)


def spawrious(name: str, places: Places) -> Dataset:
    """Return Spawrious O2O-Hard: both training environments joined, and both test environments.

    The published loader keeps the first images in the order in which the file system lists them, which differs between
    machines; here they are the first by number. Groups are dog x scene; those of the test split are not in training.

    Raises:
      InputError: where the files are absent and cannot be fetched, or are not the official ones.
    """
    entry = ENTRIES[name]
    root = obtain(entry, places)
    wanted = {'train': [], 'test': []}
    for environment, share in enumerate(_SHARES):
        at_home = int(share * _PER_FOLDER)
        wanted['train'] += [(environment, home, dog, at_home) for dog, (home, _) in _HOMES.items()]
        wanted['train'] += [(environment, _FILLER, dog, _PER_FOLDER - at_home) for dog in _HOMES]
        wanted['test'] += [(environment, away, dog, _PER_FOLDER) for dog, (_, away) in _HOMES.items()]
    splits = {}
    for split, parts in wanted.items():
        files, labels, groups = [], [], []
        for environment, scene, dog, limit in parts:
            folder = f'{environment}/{scene}/{dog}'
            found = _numbered(root / folder, root)[:limit]
            label = _DOGS.index(dog)
            files += [f'{folder}/{file}' for file in found]
            labels += [label] * len(found)
            groups += [entry.groups.index(f'{dog} in {scene}')] * len(found)
        splits[split] = Listing(files, labels, groups)
    return official_dataset(entry, root=root, class_names=_DOGS, cache_dir=places.cache_dir, **splits)


def _numbered(folder: Path, root: Path) -> list[str]:
    """Return the images of a folder by their number: `beach_labrador_450.png`."""
    if not folder.is_dir():
        raise InputError(f'{folder}: expected the folder of official images, got none; {remedy_for(root)}')
    found = [entry.name for entry in os.scandir(folder) if re.fullmatch(r'[^.].*_\d+\.png', entry.name)]
    return sorted(found, key=lambda file: int(file.rpartition('_')[2].removesuffix('.png')))
