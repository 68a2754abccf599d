"""aviary: thirty kinds of birds that differ all over, drawn reproducibly and cached like plumage."""

import hashlib
from collections import Counter

import numpy as np
import pytest

from bench.core.types import Places
from bench.datasets.plumage import aviary as module
from bench.datasets.plumage import kinds
from bench.datasets.plumage.aviary import aviary, aviary_coarse, draw
from bench.datasets.plumage.kinds import KIND_NAMES, KINDS, individual
from bench.datasets.plumage.render import render
from bench.datasets.plumage.species import MARKS

# SHA-256 over pictures 0, 7 and 29 of each split at seed 0, for the Pillow pinned in requirements.txt (see test_plumage).
PIXELS = {
    'train': 'a1d285f3ddd834502cd8ac653b72c028f71fd35888cc9739901fbcf83db57aac',
    'test': '069ff0874c4333c05931767eb1677cbc10453adc635590f0fd6a6fe3225239cc',
}


@pytest.fixture
def places(tmp_path):
    return Places(data_root=None, weights_root=None, cache_dir=tmp_path)


@pytest.mark.parametrize('split', PIXELS)
def test_pixels_are_pinned(split):
    pixels = b''.join(draw(0, split, i, i).tobytes() for i in (0, 7, 29))
    assert hashlib.sha256(pixels).hexdigest() == PIXELS[split]


def test_official_sizes_and_balance(places):
    data = aviary(places)
    assert (len(data.train), len(data.test), data.train.num_classes) == (1350, 6000, 30)
    assert set(np.bincount(data.train.labels_N)) == {45} and set(np.bincount(data.test.labels_N)) == {200}
    assert not list(places.cache_dir.iterdir()), 'constructing the dataset must not draw'


def test_every_kind_has_a_build_and_colours_of_its_own():
    assert len(set(KIND_NAMES)) == len(KINDS) == 30
    builds = Counter((k.build.body, k.build.neck, k.build.head, k.build.bill, k.build.tail, k.build.wing) for k in KINDS)
    colours = Counter((k.build.coat, k.build.wing_coat, k.build.bill_colour, k.build.head_coat, k.marks) for k in KINDS)
    assert set(builds.values()) == set(colours.values()) == {1}
    assert all(set(kind.marks) <= set(MARKS) for kind in KINDS)


def test_splits_share_no_image_and_do_not_depend_on_their_size(places):
    small, large = aviary(places, train_per_class=1, test_per_class=1), aviary(places, train_per_class=2, test_per_class=1)
    seen = [np.asarray(image).tobytes() for images in (large.train.images, large.test.images) for image in images]
    assert len(set(seen)) == 90
    assert all(np.array_equal(small.train.images[i], large.train.images[i]) for i in (0, 13, 29))


def test_fingerprint_tells_seed_split_and_size_apart(places):
    sets = [aviary(places), aviary(places, seed=1), aviary(places, train_per_class=10)]
    prints = [split.fingerprint for data in sets for split in (data.train, data.test)]
    assert len(set(prints)) == 5, 'only the test split of the third equals the first'


def test_kinds_differ_by_more_than_a_mark():
    """From one generator state two kinds share ground and light; more pixels differ than between twins of plumage."""
    same = [render(kind, np.random.default_rng(0)).astype(int) for kind in KINDS]
    changed = [(np.abs(same[a] - same[b]).max(-1) > 24).mean() for a in range(30) for b in range(a)]
    assert min(changed) > 0.06


def test_individuals_of_a_kind_differ_and_most_only_a_little():
    kind = KINDS[KIND_NAMES.index('goldfinch')]
    birds = [individual(kind, np.random.default_rng(i)) for i in range(300)]
    length_N = np.array([bird.build.tail[0] / kind.build.tail[0] for bird in birds])
    assert 1 - kinds.STRETCH <= length_N.min() < 0.85 and 1.15 < length_N.max() <= 1 + kinds.STRETCH
    assert np.median(np.abs(length_N - 1)) < 0.25 * kinds.STRETCH, 'a typical bird is near its kind'
    lost = np.mean([bird.marks != kind.marks for bird in birds])
    assert set(kind.marks) >= {mark for bird in birds for mark in bird.marks} and 0.1 < lost < 0.4
    assert all(bird.build.head_coat is None for bird in birds), 'a part without a colour of its own gets none'


def test_every_kind_is_seen_on_every_background(monkeypatch):
    """The background says nothing about the kind."""
    shown = Counter()
    monkeypatch.setattr(module, 'render', lambda bird, rng, *, ground, extent: shown.update([(bird.build.name, ground)]))
    for index in range(30 * 45):
        draw(0, 'train', index, index % 30)
    assert len(shown) == 30 * 3 and min(shown.values()) >= 3
    share = sum(count for (_, ground), count in shown.items() if ground is None) / 1350
    assert 0.45 < share < 0.55


def test_coarse_labels_are_groups_of_all_kinds_on_the_same_pictures(places):
    sizes = {'train_per_class': 2, 'test_per_class': 1}
    fine, coarse = aviary(places, **sizes), aviary_coarse(places, **sizes)
    assert coarse.name == fine.coarse == 'aviary_coarse' and not coarse.coarse
    assert sorted(kind for group in kinds.GROUPS.values() for kind in group) == sorted(KIND_NAMES)
    named = dict(zip(coarse.train.labels_N, fine.train.labels_N, strict=True))
    assert all(KIND_NAMES[kind] in kinds.GROUPS[coarse.train.class_names[group]] for group, kind in named.items())
    assert coarse.train.images.path == fine.train.images.path
    assert coarse.train.fingerprint != fine.train.fingerprint
