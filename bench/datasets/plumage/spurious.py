"""plumage_spurious: birds whose background predicts the class in training and misleads in half of the test pictures.

Waterbirds (Sagawa et al. 2020, arXiv 1911.08731) in miniature: four near-twin ducks of plumage, two at home on water, two
on land. 95% of the training pictures of a class show its home background, and half of its test pictures. A group is a class
on a background. Picture i shows the same bird, pose, light and noise on either background.

Shape suffixes: N images.
"""

import math
from functools import partial
from pathlib import Path

import numpy as np

from bench.core.hashing import numpy_generator, short_hash
from bench.core.ranges import Count, Fraction, PositiveInt
from bench.core.types import Dataset, Group, Places, Split
from bench.datasets.plumage.drawn import Drawing, RenderedImages
from bench.datasets.plumage.render import RENDER_VERSION, render
from bench.datasets.plumage.scenes import GROUNDS, SCENE_VERSION
from bench.datasets.plumage.species import BIRDS, SPECIES

CLASS_NAMES = ('crested duck', 'bar-winged duck', 'capped duck', 'pale-bellied duck')
BACKGROUND_NAMES = GROUNDS  # 'water', 'land'
# HOME_OF_CLASS[c] indexes BACKGROUND_NAMES. Each home has one mark on the head and one on the body.
HOME_OF_CLASS = (0, 0, 1, 1)
# Group class * 2 + background.
GROUPS = tuple(
    Group(f'{bird} on {ground}', label, ground)
    for label, bird in enumerate(CLASS_NAMES)
    for ground in BACKGROUND_NAMES
)
GROUP_NAMES = tuple(group.name for group in GROUPS)
TEST_AGREEMENT = 0.5
_SPECIES_OF_CLASS = tuple([species.name for species in SPECIES].index(name) for name in CLASS_NAMES)


def plumage_spurious(
    places: Places,
    *,
    seed: Count = 0,
    train_per_class: PositiveInt = 200,
    test_per_class: PositiveInt = 200,
    agreement: Fraction = 0.95,
) -> Dataset:
    """Return the dataset, with groups; pictures are drawn when the first image is read.

    Args:
      places: pictures are cached under `cache_dir / 'plumage_spurious'`, about 20 MB for the official sizes.
      seed: every seed gives different pictures; 0 is the official set.
      train_per_class: training images per class, of which there are 4. Image i does not depend on the sizes.
      test_per_class: test images per class.
      agreement: share of a class's training images on its home background; 0.5 removes the correlation. In the test split
        it is always 0.5.
    """
    return Dataset(
        name='plumage_spurious',
        train=_split(places, 'train', seed, train_per_class, agreement),
        test=_split(places, 'test', seed, test_per_class, TEST_AGREEMENT),
        licence='Apache-2.0',
        source=f'drawn by bench.datasets.plumage.spurious, versions {RENDER_VERSION} and {SCENE_VERSION}, seed {seed}',
        groups=GROUPS,
        homes=tuple(BACKGROUND_NAMES[home] for home in HOME_OF_CLASS),
    )


def class_of(groups_N: np.ndarray) -> np.ndarray:
    """Return the class of each group, as an index into CLASS_NAMES."""
    return groups_N // len(BACKGROUND_NAMES)


def groups_of(count: int, agreement: float) -> np.ndarray:
    """Return groups_N in int64.

    The classes alternate, and `agreement * k` (rounded) of the first k images of a class are at home. So every prefix is
    balanced.
    """
    labels_N = np.arange(count, dtype=np.int64) % len(CLASS_NAMES)
    turns = np.arange(count) // len(CLASS_NAMES)  # number of earlier images of the same class
    at_home = [math.floor(agreement * (k + 1) + 0.5) > math.floor(agreement * k + 0.5) for k in turns.tolist()]
    homes_N = np.array(HOME_OF_CLASS, dtype=np.int64)[labels_N]
    return labels_N * len(BACKGROUND_NAMES) + np.where(at_home, homes_N, 1 - homes_N)


def draw(seed: int, split: str, index: int, group: int) -> np.ndarray:
    """Return picture `index` of a split as uint8 pixels_HWC. It depends only on the arguments and the two versions."""
    rng = numpy_generator('plumage_spurious', RENDER_VERSION, seed, split, index)
    return render(BIRDS[_SPECIES_OF_CLASS[GROUPS[group].label]], rng, ground=GROUPS[group].background)


def _split(places: Places, name: str, seed: int, per_class: int, agreement: float) -> Split:
    count = per_class * len(CLASS_NAMES)
    groups_N = groups_of(count, agreement)
    facts = ['plumage_spurious', RENDER_VERSION, SCENE_VERSION, seed, float(agreement)]
    path = Path(places.cache_dir) / 'plumage_spurious' / short_hash(facts) / f'{name}_{count}.npy'
    drawing = Drawing('plumage_spurious', partial(_codes_of, agreement=agreement), draw)
    return Split(
        name=name,
        images=RenderedImages(path, seed, name, count, drawing),
        labels_N=class_of(groups_N),
        class_names=CLASS_NAMES,
        fingerprint=short_hash([*facts, name, count]),
        groups_N=groups_N,
        group_names=GROUP_NAMES,
    )


def _codes_of(seed: int, split: str, count: int, *, agreement: float) -> np.ndarray:
    return groups_of(count, agreement)
