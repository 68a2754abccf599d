"""Spawrious O2O-Hard: generated dogs. In the test split, each dog stands in the training scene of another."""

import re
from pathlib import Path

from bench.core.types import Group
from bench.datasets.published.facts import OfficialFile, PublishedDataset
from bench.datasets.published.official import Contents, Listing, names_in

# dog -> (scene in training, scene in test), in the order of the published loader
_HOMES = {
    'bulldog': ('jungle', 'mountain'),
    'dachshund': ('mountain', 'snow'),
    'labrador': ('snow', 'desert'),
    'corgi': ('desert', 'jungle'),
}
_DOGS = sorted(_HOMES)  # by label
_FILLER = 'beach'
_SCENES = ('desert', 'jungle', 'mountain', 'snow', _FILLER)
_PER_FOLDER = 3168
# For each training environment, the share of a dog's images in its own scene; the rest are at the beach.
_SHARES = (0.97, 0.87)

DATASET = PublishedDataset(
    'spawrious', 'four dogs in generated scenes (O2O-Hard); in test, each stands in the training scene of another',
    classes=4, train=25_344, test=25_344, folder='spawrious/spawrious224',
    groups=tuple(Group(f'{dog} in {scene}', label, scene) for label, dog in enumerate(_DOGS) for scene in _SCENES),
    homes=tuple(_HOMES[dog][0] for dog in _DOGS),
    licence='CC BY 4.0', licence_url='https://github.com/aengusl/spawrious#licensing',
    citation='Lynch, Dovonon, Kaddour, Silva: Spawrious: A Benchmark for Fine Control of Spurious Correlation Biases. '
    'arXiv 2303.05470',
    files=(
        OfficialFile(
            'spawrious/spawrious224__o2o_hard.tar.gz',
            'https://www.dropbox.com/s/p1ry121m2gjj158/spawrious224__o2o_hard.tar.gz?dl=1',
            makes='spawrious/spawrious224', inside='spawrious224',
        ),
    ),
)  # fmt: skip


def read(root: Path) -> Contents:
    """Return both training environments joined, and both test environments joined.

    The published loader keeps the first images in the order of the file system, which differs between machines. We keep the
    first by number. No group of the test split occurs in training.
    """
    train, test = [], []
    for environment, share in enumerate(_SHARES):
        at_home = int(share * _PER_FOLDER)
        train += [(environment, home, dog, at_home) for dog, (home, _) in _HOMES.items()]
        train += [(environment, _FILLER, dog, _PER_FOLDER - at_home) for dog in _HOMES]
        test += [(environment, away, dog, _PER_FOLDER) for dog, (_, away) in _HOMES.items()]
    return Contents(_listing(root, train), _listing(root, test), _DOGS)


def _listing(root: Path, parts: list[tuple[int, str, str, int]]) -> Listing:
    """Return the first images by number (`beach_labrador_450.png`) of each (environment, scene, dog, limit)."""
    files, labels, groups = [], [], []
    for environment, scene, dog, limit in parts:
        folder = f'{environment}/{scene}/{dog}'
        found = [name for name in names_in(root / folder, root=root, ending='.png') if re.search(r'_\d+\.png$', name)]
        found = sorted(found, key=lambda file: int(file.rpartition('_')[2].removesuffix('.png')))[:limit]
        label = _DOGS.index(dog)
        files += [f'{folder}/{file}' for file in found]
        labels += [label] * len(found)
        groups += [label * len(_SCENES) + _SCENES.index(scene)] * len(found)
    return Listing(files, labels, groups)
