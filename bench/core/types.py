"""The project's central types. Does not import torch, so that records and listings stay light.

Shape suffixes: N samples, C classes (in `NCHW`: channels), H height, W width, D feature width.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

import numpy as np

from bench.core.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

# Precision of a network's arithmetic. bfloat16 means autocast, and features are float32; with float64, all that follows from
# the pixels is float64: normalisation, network, features, and what methods and probes make of them.
Precision = Literal['float32', 'bfloat16', 'float64']
# filters of resizing
Interpolation = Literal['bilinear', 'bicubic']


@dataclass(frozen=True)
class Places:
    """The folders of this machine. Paths never enter a cell's key.

    `data_root` holds the datasets, `weights_root` local checkpoints, `cache_dir` files that can be recomputed.
    """

    data_root: 'Path | None'
    weights_root: 'Path | None'
    cache_dir: 'Path'


def data_root_of(places: Places, name: str) -> 'Path':
    """Return the folder of the datasets. `name` is the dataset in question, for the message.

    Raises:
      InputError: if the folder was not given or does not exist.
    """
    if places.data_root is None:
        raise InputError(f'{name}: expected --data_root=<folder that holds the datasets>, got none; add this flag')
    if not places.data_root.is_dir():
        got = f'--data_root={places.data_root}'
        raise InputError(f'{name}: expected an existing folder, got {got}; create it or correct the flag')
    return places.data_root


class Images(Protocol):
    """A sequence of RGB pictures that are read or drawn on access. Picklable, because loader workers read from it."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> 'Image.Image': ...


class Fingerprints(TypedDict):
    """The two hashes of a split, under the names of the fields of `Split`."""

    fingerprint: str
    listing: str


@dataclass(frozen=True)
class Split:
    """One named split of a dataset.

    `labels_N` are int64 in [0, C). `fingerprint` is a hash that changes whenever an image, a label or their order changes.
    `listing` is the weaker hash that records used before schema 3: of file names, sizes and labels; '' if the images are not
    files. `groups_N` (int64, with `group_names`) marks sub-populations such as bird x background. `skipped` lists images
    that were left out because they could not be read.
    """

    name: str
    images: Images
    labels_N: np.ndarray
    class_names: tuple[str, ...]
    fingerprint: str
    groups_N: np.ndarray | None = None
    group_names: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    listing: str = ''

    def __len__(self) -> int:
        return len(self.labels_N)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


@dataclass(frozen=True)
class Group:
    """A sub-population of a dataset: the images of class `label` on one background."""

    name: str
    label: int
    background: str


@dataclass(frozen=True)
class Dataset:
    """Labelled images with a training and a test split over the same classes.

    `groups[g]` describes group g of `Split.groups_N`. `homes[c]` is the name of the background that most training images of
    class c show. Both are empty if backgrounds are not known. `coarse` names the dataset that labels the same images more
    coarsely, '' if there is none.
    """

    name: str
    train: Split
    test: Split
    licence: str
    source: str
    citation: str = ''
    groups: tuple[Group, ...] = ()
    homes: tuple[str, ...] = ()
    coarse: str = ''

    @property
    def fingerprints(self) -> dict[str, str]:
        """The hashes that records of every schema contain."""
        return {split.name: split.listing or split.fingerprint for split in (self.train, self.test)}

    @property
    def contents(self) -> dict[str, str]:
        """The fingerprints that depend on every byte of every image."""
        return {split.name: split.fingerprint for split in (self.train, self.test)}

    @property
    def backgrounds(self) -> tuple[str, ...]:
        """The names of the backgrounds, numbered in the order in which the groups mention them."""
        return tuple(dict.fromkeys(group.background for group in self.groups))

    def backgrounds_of(self, groups_N: np.ndarray) -> np.ndarray:
        """Return the background of each group, as an int64 index into `backgrounds`."""
        return np.array([self.backgrounds.index(group.background) for group in self.groups])[groups_N]

    def homes_of(self, labels_N: np.ndarray) -> np.ndarray:
        """Return the home of each label, as an int64 index into `backgrounds`."""
        return np.array([self.backgrounds.index(home) for home in self.homes])[labels_N]


@dataclass(frozen=True)
class ProbeScore:
    """The result of a protocol: R repeats (probe seeds) of one distilled set on one test split.

    `correct_RN` is boolean, with one row per repeat and one column per test image. `top5_R` are fractions in [0, 1], or None
    with 5 classes or fewer. `curves` maps a tag to [(step, value), ...], averaged over repeats.
    """

    correct_RN: np.ndarray
    top5_R: np.ndarray | None
    curves: dict[str, list[tuple[int, float]]]
    facts: dict[str, Any]
