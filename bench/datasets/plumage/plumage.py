"""plumage: procedural bird pictures for fine-grained recognition that need no download.

Twenty species in five families. A family has its own build and colours; its four species are near-twins, each known by
one small mark (crest, wing bar, cap, bill or belly; family k lacks mark k). Pose, scale, flip, light, clutter, twigs in
front and noise are nuisances. `render` draws a picture, `drawn` caches the pictures of a split, and this file makes the
splits. `plumage_families` labels the same pictures by family.

Shape suffixes: N images, H height, W width, C colour channels.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.core.hashing import numpy_generator, short_hash
from bench.core.ranges import Count, PositiveInt
from bench.core.types import Dataset, Places, Split
from bench.datasets.plumage.drawn import Drawing, RenderedImages
from bench.datasets.plumage.render import RENDER_VERSION, render
from bench.datasets.plumage.species import BIRDS, CLASS_NAMES, FAMILY_NAMES, FAMILY_OF_CLASS, SPECIES


def labels_of(seed: int, split: str, count: int) -> np.ndarray:
    """Return labels_N in int64. In the labelled splits the species alternate, so that every prefix is balanced."""
    if split == 'stream':
        return numpy_generator('plumage', 'species', seed, split).integers(len(SPECIES), size=count)
    return np.arange(count, dtype=np.int64) % len(SPECIES)


def draw(seed: int, split: str, index: int, label: int) -> np.ndarray:
    """Return picture `index` of a split as uint8 pixels_HWC. It depends only on the arguments and the render version."""
    return render(BIRDS[label], numpy_generator('plumage', RENDER_VERSION, seed, split, index))


PLUMAGE = Drawing('plumage', labels_of, draw)


def plumage(
    places: Places, *, seed: Count = 0, train_per_class: PositiveInt = 200, test_per_class: PositiveInt = 100
) -> Dataset:
    """Return the plumage dataset; pictures are drawn when the first image is read.

    Args:
      places: pictures are cached under `cache_dir / 'plumage'`, about 74 MB for the official sizes.
      seed: every seed gives different pictures; 0 is the official set.
      train_per_class: training images per species, of which there are 20. Image i does not depend on the sizes.
      test_per_class: test images per species.
    """
    return Dataset(
        name='plumage',
        train=_split(places, 'train', seed, train_per_class),
        test=_split(places, 'test', seed, test_per_class),
        licence='Apache-2.0',
        source=f'drawn by bench.datasets.plumage, render version {RENDER_VERSION}, seed {seed}',
        coarse='plumage_families',
    )


def plumage_families(
    places: Places, *, seed: Count = 0, train_per_class: PositiveInt = 200, test_per_class: PositiveInt = 100
) -> Dataset:
    """Return the plumage pictures in the same order and from the same cache, labelled by family: five coarse classes.

    Args:
      places: as for plumage; nothing is drawn twice.
      seed: as for plumage.
      train_per_class: training images per species, as for plumage; a family has four times as many.
      test_per_class: test images per species.
    """
    fine = plumage(places, seed=seed, train_per_class=train_per_class, test_per_class=test_per_class)
    return replace(
        fine, name='plumage_families', train=_by_family(fine.train), test=_by_family(fine.test), coarse=''
    )


def _by_family(split: Split) -> Split:
    return replace(
        split,
        labels_N=np.array(FAMILY_OF_CLASS, dtype=np.int64)[split.labels_N],
        class_names=FAMILY_NAMES,
        fingerprint=short_hash(['plumage_families', split.fingerprint]),
    )


def unlabelled_stream(places: Places, *, count: PositiveInt, seed: Count = 0) -> RenderedImages:
    """Return `count` unlabelled pictures of random species for pre-training, disjoint from both labelled splits."""
    return _images(places, 'stream', seed, count)


def _split(places: Places, name: str, seed: int, per_class: int) -> Split:
    count = per_class * len(SPECIES)
    return Split(
        name=name,
        images=_images(places, name, seed, count),
        labels_N=labels_of(seed, name, count),
        class_names=CLASS_NAMES,
        fingerprint=short_hash(['plumage', RENDER_VERSION, seed, name, count]),
    )


def _images(places: Places, split: str, seed: int, count: int) -> RenderedImages:
    key = short_hash(['plumage', RENDER_VERSION, seed])
    return RenderedImages(Path(places.cache_dir) / 'plumage' / key / f'{split}_{count}.npy', seed, split, count, PLUMAGE)
