"""Published datasets whose labels are the names of folders: ArtBench-10 and EuroSAT."""

import os
from pathlib import Path

from bench.core.errors import InputError
from bench.core.types import Dataset, Places
from bench.datasets.images import Listing, official_dataset, reason_of, remedy_for
from bench.datasets.published.catalogue import ENTRIES
from bench.datasets.published.obtain import obtain


def artbench(name: str, places: Places) -> Dataset:
    """Return ArtBench-10 at 256 px with its official split; classes and files are sorted by name.

    Raises:
      InputError: where the files are absent and cannot be fetched, or are not the official ones.
    """
    entry = ENTRIES[name]
    root = obtain(entry, places)
    styles = _folders(root / 'train', root)
    splits = {split: _listing(root, split, styles) for split in ('train', 'test')}
    class_names = [style.replace('_', ' ') for style in styles]
    return official_dataset(entry, root=root, class_names=class_names, cache_dir=places.cache_dir, **splits)


def eurosat(name: str, places: Places) -> Dataset:
    """Return EuroSAT (RGB, 64 px): the release has no split, so this is the one of torchgeo, whose validation is left out.

    The order is that of its lists, which name the images without their folder.

    Raises:
      InputError: where the files are absent and cannot be fetched, or are not the official ones.
    """
    entry = ENTRIES[name]
    root = obtain(entry, places)
    kinds = _folders(root / '2750', root)
    splits = {}
    for split in ('train', 'test'):
        path = root / f'eurosat-{split}.txt'
        try:
            files = path.read_text(encoding='ascii').split()
        except (OSError, UnicodeError) as error:
            raise InputError(f'{path}: expected the official list, got: {reason_of(error)}; {remedy_for(root)}') from error
        names = [file.rpartition('_')[0] for file in files]
        if unknown := sorted(set(names) - set(kinds)):
            got = f'{unknown[0]!r} in {path.name}'
            raise InputError(f'{name}: expected images of {", ".join(kinds)}, got {got}; {remedy_for(root)}')
        paths = [f'2750/{kind}/{file}' for kind, file in zip(names, files, strict=True)]
        splits[split] = Listing(paths, [kinds.index(kind) for kind in names])
    return official_dataset(entry, root=root, class_names=kinds, cache_dir=places.cache_dir, **splits)


def _folders(folder: Path, root: Path) -> list[str]:
    if not folder.is_dir():
        raise InputError(f'{folder}: expected the folder of official images, got none; {remedy_for(root)}')
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())


def _listing(root: Path, split: str, names: list[str]) -> Listing:
    files, labels = [], []
    for label, name in enumerate(names):
        if not (root / split / name).is_dir():
            raise InputError(f'{root / split / name}: expected a folder of official images, got none; {remedy_for(root)}')
        found = sorted(entry.name for entry in os.scandir(root / split / name) if _is_picture(entry.name))
        files += [f'{split}/{name}/{file}' for file in found]
        labels += [label] * len(found)
    return Listing(files, labels)


def _is_picture(name: str) -> bool:
    """Whether it is one, and not what macOS leaves in archives (`._<name>`)."""
    return name.endswith('.jpg') and not name.startswith('.')
