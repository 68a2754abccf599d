"""aviary: thirty kinds of procedural birds that differ in build, silhouette and colours; needs no download.

Where plumage hides its classes in marks of 2-8 px, a kind of aviary shows all over: the mean of a class says much about it,
as with published data sets of birds. Individuals of a kind differ in colours, lengths and marks, a few of them a lot. Pose,
size, place, flip, light, background (soft, water or land, alike for all kinds), clutter and twigs in front are nuisances.
Pictures are drawn by `render`. How much individuals differ was chosen on other pictures than the official ones (the training
split of seed 1), so that relative scores are like published ones (`bench.analysis.pattern`).

Shape suffixes: N images, H height, W width, C colour channels.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.core.hashing import numpy_generator, short_hash
from bench.core.ranges import Count, PositiveInt
from bench.core.types import Dataset, Places, Split
from bench.datasets.plumage.drawn import Drawing, RenderedImages
from bench.datasets.plumage.kinds import GROUPS, KIND_NAMES, KINDS, individual
from bench.datasets.plumage.render import RENDER_VERSION, render
from bench.datasets.plumage.scenes import GROUNDS, SCENE_VERSION

KINDS_VERSION = 3  # part of every fingerprint: raise it when a kind or a constant below changes
EXTENT = (0.58, 0.86)  # longer side of the bird's bounding box as a share of the picture
_BACKGROUNDS = (None, None, *GROUNDS)  # half of the pictures have the soft ground of plumage
_VERSIONS = [RENDER_VERSION, SCENE_VERSION, KINDS_VERSION]


def labels_of(seed: int, split: str, count: int) -> np.ndarray:
    """Return labels_N in int64. The kinds alternate, so that every prefix is balanced."""
    return np.arange(count, dtype=np.int64) % len(KINDS)


def draw(seed: int, split: str, index: int, label: int) -> np.ndarray:
    """Return picture `index` of a split as uint8 pixels_HWC. It depends only on the arguments and the versions."""
    rng = numpy_generator('aviary', *_VERSIONS, seed, split, index)
    return render(individual(KINDS[label], rng), rng, ground=_BACKGROUNDS[rng.integers(len(_BACKGROUNDS))], extent=EXTENT)


AVIARY = Drawing('aviary', labels_of, draw)


def aviary(
    places: Places, *, seed: Count = 0, train_per_class: PositiveInt = 45, test_per_class: PositiveInt = 200
) -> Dataset:
    """Return the aviary dataset; pictures are drawn when the first image is read, all of them in about 10 s on one core.

    Args:
      places: pictures are cached under `cache_dir / 'aviary'`, about 90 MB for the official sizes.
      seed: every seed gives different pictures; 0 is the official set.
      train_per_class: training images per kind, of which there are 30. Image i does not depend on the sizes.
      test_per_class: test images per kind; many, because the test sample is the largest part of an accuracy's error.
    """
    return Dataset(
        name='aviary',
        train=_split(places, 'train', seed, train_per_class),
        test=_split(places, 'test', seed, test_per_class),
        licence='Apache-2.0',
        source=f'drawn by bench.datasets.plumage.aviary, versions {", ".join(map(str, _VERSIONS))}, seed {seed}',
        coarse='aviary_coarse',
    )


def aviary_coarse(
    places: Places, *, seed: Count = 0, train_per_class: PositiveInt = 45, test_per_class: PositiveInt = 200
) -> Dataset:
    """Return the aviary pictures in the same order and from the same cache, with ten labels: groups of three kinds.

    Args:
      places: as for aviary; nothing is drawn twice.
      seed: as for aviary.
      train_per_class: training images per kind, as for aviary; a group has three times as many.
      test_per_class: test images per kind.
    """
    fine = aviary(places, seed=seed, train_per_class=train_per_class, test_per_class=test_per_class)
    return replace(fine, name='aviary_coarse', train=_by_group(fine.train), test=_by_group(fine.test), coarse='')


def _by_group(split: Split) -> Split:
    group_of = {kind: label for label, kinds in enumerate(GROUPS.values()) for kind in kinds}
    return replace(
        split,
        labels_N=np.array([group_of[kind] for kind in KIND_NAMES], dtype=np.int64)[split.labels_N],
        class_names=tuple(GROUPS),
        fingerprint=short_hash(['aviary_coarse', split.fingerprint]),
    )


def _split(places: Places, name: str, seed: int, per_class: int) -> Split:
    count = per_class * len(KINDS)
    facts = ['aviary', *_VERSIONS, seed]
    path = Path(places.cache_dir) / 'aviary' / short_hash(facts) / f'{name}_{count}.npy'
    return Split(
        name=name,
        images=RenderedImages(path, seed, name, count, AVIARY),
        labels_N=labels_of(seed, name, count),
        class_names=KIND_NAMES,
        fingerprint=short_hash([*facts, name, count]),
    )
