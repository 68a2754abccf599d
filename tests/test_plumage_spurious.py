"""plumage_spurious: exact shares, groups and their metrics, two grounds that show; plumage_families: the same pictures."""

import hashlib
import pickle

import numpy as np
import pytest
from test_leaderboard import ORIGIN

from bench.core.types import Places, ProbeScore
from bench.datasets.plumage import drawn, render
from bench.datasets.plumage.plumage import plumage, plumage_families
from bench.datasets.plumage.species import FAMILY_NAMES, FAMILY_OF_CLASS
from bench.datasets.plumage.spurious import (
    BACKGROUND_NAMES,
    CLASS_NAMES,
    GROUP_NAMES,
    HOME_OF_CLASS,
    class_of,
    draw,
    groups_of,
    plumage_spurious,
)
from bench.results import summary
from bench.results.make import make_record
from bench.results.record import DistilledFacts, Seconds, WorstGroup
from bench.results.store import write

# SHA-256 over pictures 0, 5, 18 and 39 of each split at seed 0, for the Pillow pinned in requirements.txt.
PIXELS = {
    'train': '6731cd5c6c112e654f885ba384caacf4ad28fa03f808bf8a98ffce406cda102c',
    'test': 'ebdcbaae91c10cd7388d19635fa941e67b90c259dc1f5a2a964e3d5b9ab2556c',
}
HOME = np.array(HOME_OF_CLASS)


def background_of(groups_N):
    """Return the background of each group, as an index into BACKGROUND_NAMES."""
    return groups_N % len(BACKGROUND_NAMES)


@pytest.fixture
def places(tmp_path):
    return Places(data_root=None, weights_root=None, cache_dir=tmp_path)


def home_N(split):
    return background_of(split.groups_N) == HOME[split.labels_N]


# --- splits and groups ------------------------------------------------------------------------------------------------


def test_official_sizes_shares_and_groups(places):
    data = plumage_spurious(places)
    assert (data.name, len(data.train), len(data.test), data.train.num_classes) == ('plumage_spurious', 800, 800, 4)
    assert not list(places.cache_dir.iterdir()), 'constructing the dataset must not draw'
    for split, at_home in ((data.train, 190), (data.test, 100)):
        assert split.labels_N.dtype == split.groups_N.dtype == np.int64
        assert split.class_names == CLASS_NAMES and split.group_names == GROUP_NAMES and len(GROUP_NAMES) == 8
        assert np.array_equal(class_of(split.groups_N), split.labels_N)
        sizes_CB = np.bincount(split.groups_N, minlength=8).reshape(4, 2)
        for label, home in enumerate(HOME_OF_CLASS):
            assert (sizes_CB[label, home], sizes_CB[label, 1 - home]) == (at_home, 200 - at_home)
    assert np.bincount(HOME_OF_CLASS).tolist() == [2, 2]


def test_groups_are_named_after_what_they_show():
    for group, name in enumerate(GROUP_NAMES):
        assert name == f'{CLASS_NAMES[class_of(group)]} on {BACKGROUND_NAMES[background_of(group)]}'
    assert 'capped duck on water' in GROUP_NAMES


@pytest.mark.parametrize('agreement', [0.0, 0.5, 0.8, 0.95, 1.0])
def test_every_prefix_is_balanced(agreement):
    groups_N = groups_of(400, agreement)
    labels_N, at_home_N = class_of(groups_N), background_of(groups_N) == HOME[class_of(groups_N)]
    for n in range(1, 401):
        sizes = np.bincount(labels_N[:n], minlength=4)
        assert sizes.max() - sizes.min() <= 1
        homes = np.bincount(labels_N[:n], weights=at_home_N[:n], minlength=4)
        assert np.abs(homes - agreement * sizes).max() <= 0.5 + 1e-9
    assert np.array_equal(groups_of(37, agreement), groups_N[:37])


def test_agreement_is_of_the_training_split_alone(places):
    plain, even = plumage_spurious(places), plumage_spurious(places, agreement=0.5)
    assert home_N(even.train).mean() == 0.5 and home_N(plain.train).mean() == 0.95
    assert even.test.fingerprint == plain.test.fingerprint and even.test.images.path == plain.test.images.path
    assert even.train.fingerprint != plain.train.fingerprint and even.train.images.path != plain.train.images.path


def test_fingerprint_tells_seed_split_size_and_agreement_apart(places):
    settings = ({}, {'seed': 1}, {'train_per_class': 10, 'test_per_class': 10}, {'agreement': 0.9})
    made = [plumage_spurious(places, **chosen) for chosen in settings]
    prints = [split.fingerprint for data in made for split in (data.train, data.test)]
    paths = [split.images.path for data in made for split in (data.train, data.test)]
    assert len(set(prints)) == len(set(paths)) == 7, 'only the test split of the last equals the first'
    assert plumage_spurious(places).fingerprints == made[0].fingerprints


def test_the_dataset_says_which_class_and_background_a_group_is(places):
    data = plumage_spurious(places, train_per_class=20, test_per_class=10)
    assert data.backgrounds == BACKGROUND_NAMES and data.homes == ('water', 'water', 'land', 'land')
    assert tuple(group.name for group in data.groups) == data.train.group_names
    for split, at_home in ((data.train, 0.95), (data.test, 0.5)):
        assert [data.groups[group].label for group in split.groups_N] == split.labels_N.tolist()
        shown_N, home_N = data.backgrounds_of(split.groups_N), data.homes_of(split.labels_N)
        assert shown_N.dtype == home_N.dtype == np.int64 and (shown_N == home_N).mean() == at_home
        assert [data.backgrounds[b] for b in shown_N] == [data.groups[group].background for group in split.groups_N]


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('split', PIXELS)
def test_pixels_are_pinned(split):
    groups_N = groups_of(40, {'train': 0.95, 'test': 0.5}[split])
    drawn = b''.join(draw(0, split, i, int(groups_N[i])).tobytes() for i in (0, 5, 18, 39))
    assert hashlib.sha256(drawn).hexdigest() == PIXELS[split]


def test_images_are_what_their_groups_say_from_a_pool_too(places, monkeypatch):
    monkeypatch.setattr(drawn, '_POOL_FROM', 1)
    monkeypatch.setattr(drawn, '_CHUNK', 7)
    monkeypatch.setattr(drawn, '_cpu_count', lambda: 2)
    split = plumage_spurious(places, train_per_class=5, agreement=0.6).train
    assert len(pickle.dumps(split.images)) < 1000
    pixels_NHWC = pickle.loads(pickle.dumps(split.images)).pixels_NHWC
    expected = np.stack([draw(0, 'train', i, int(group)) for i, group in enumerate(split.groups_N)])
    assert np.array_equal(pixels_NHWC, expected)
    assert np.array_equal(np.asarray(split.images[-1]), expected[19])
    assert split.images.path.parent.parent == places.cache_dir / 'plumage_spurious'
    with pytest.raises(IndexError, match='plumage_spurious train has 20 images'):
        split.images[20]


def test_splits_share_no_image_nor_bird(places, monkeypatch):
    data = plumage_spurious(places, train_per_class=5, test_per_class=5)
    seen = [image.tobytes() for split in (data.train, data.test) for image in split.images]
    assert len(set(seen)) == 40
    birds = [shapes_of(monkeypatch, split, i, 0)[0][0] for split in ('train', 'test') for i in range(5)]
    assert len({str(points) for points in birds}) == 10


def shapes_of(monkeypatch, split, index, group):
    """Return the polygons of the bird in a picture, as placed."""
    made, place = [], render._place
    with monkeypatch.context() as patch:
        patch.setattr(render, '_place', lambda *args, **kw: made.append(place(*args, **kw)) or made[-1])
        draw(0, split, index, group)
    return made[0]


def test_a_bird_does_not_depend_on_its_background(monkeypatch):
    for index in range(6):
        for label in range(4):
            assert shapes_of(monkeypatch, 'train', index, 2 * label) == shapes_of(monkeypatch, 'train', index, 2 * label + 1)
        water, land = (draw(0, 'train', index, group).astype(int) for group in (0, 1))
        same = np.abs(water - land).max(-1) == 0  # bird, leaves and twigs with their light and noise
        assert 0.1 < same.mean() < 0.7


def test_twins_differ_in_their_mark_only():
    """On either background. A crest makes a bird taller, which moves it a little."""
    for background in (0, 1):
        same = [draw(0, 'train', 0, 2 * label + background).astype(int) for label in range(4)]
        for a in range(4):
            for b in range(a):
                changed = (np.abs(same[a] - same[b]).max(-1) > 24).mean()
                assert 0.001 < changed < 0.3


def test_mean_colour_tells_the_backgrounds_apart_but_not_every_time():
    """Least squares on three numbers a picture: the hint is tempting, and no constant."""
    groups_N = groups_of(320, 0.5)
    colour_N3 = np.stack([draw(0, 'test', i, int(group)).mean((0, 1)) for i, group in enumerate(groups_N)])
    features_N4 = np.concatenate([colour_N3 / 128 - 1, np.ones((320, 1))], axis=1)
    sign_N = 2.0 * background_of(groups_N) - 1
    weights_4 = np.linalg.lstsq(features_N4[:160], sign_N[:160], rcond=None)[0]
    right = (features_N4[160:] @ weights_4 * sign_N[160:] > 0).mean()
    assert 0.9 < right < 1.0


# --- metrics of groups ------------------------------------------------------------------------------------------------


def record_of(data, correct_N):
    cell = {
        'dataset': data.name, 'method': 'random', 'source_backbone': 'any', 'eval_backbone': 'toy', 'ipc': 1, 'seed': 0,
        'protocol': 'ridge-v1', 'method_name': 'random', 'method_settings': {},
    }  # fmt: skip
    return make_record(
        ProbeScore(np.asarray(correct_N)[None], None, {}, {}), cell=cell, protocol_hash='p', dataset=data,
        probe_seeds=[0], distilled=DistilledFacts(hash='d', bytes=9, kind='real', facts={}), n_train_images=4,
        source_weights=None, eval_weights='w', seconds=Seconds(method=1.0, probe=1.0), peak_memory_mb=None, device='cpu',
        provenance=ORIGIN,
    )  # fmt: skip


def test_group_metrics_worked_by_hand(places, tmp_path):
    """20 training images per class: 19 at home, 1 away. 4 test images per class: 2 and 2."""
    data = plumage_spurious(places, train_per_class=20, test_per_class=4)
    at_home_N, labels_N = home_N(data.test), data.test.labels_N
    # Right at home; away one of two right, but neither of the capped ducks (home: land).
    away_seen_N = np.array([(~at_home_N[:i] & (labels_N[:i] == labels_N[i])).sum() for i in range(16)])
    correct_N = at_home_N | ((away_seen_N == 0) & (labels_N != CLASS_NAMES.index('capped duck')))
    record = record_of(data, correct_N)
    found = {group.name: (group.n, group.n_train, group.accuracy) for group in record.per_group.groups}
    assert found == {
        'crested duck on water': (2, 19, 1.0), 'crested duck on land': (2, 1, 0.5),
        'bar-winged duck on water': (2, 19, 1.0), 'bar-winged duck on land': (2, 1, 0.5),
        'capped duck on water': (2, 1, 0.0), 'capped duck on land': (2, 19, 1.0),
        'pale-bellied duck on water': (2, 1, 0.5), 'pale-bellied duck on land': (2, 19, 1.0),
    }  # fmt: skip
    assert record.mean == 11 / 16
    assert record.per_group.worst == WorstGroup('capped duck on water', 0.0)
    assert record.per_group.adjusted_mean == (4 * 19 * 1.0 + 3 * 1 * 0.5 + 1 * 0.0) / 80
    write(record, results_dir=tmp_path)
    (row,) = summary.read(tmp_path).rows
    assert (row['worst_group'], row['group_adjusted']) == (0.0, 96.875)


def test_a_group_without_training_images_weighs_nothing(places):
    data = plumage_spurious(places, train_per_class=4, test_per_class=2)
    per_group = record_of(data, home_N(data.test)).per_group
    assert sorted(group.n_train for group in per_group.groups) == [0] * 4 + [4] * 4
    assert per_group.worst.accuracy == 0.0 and per_group.adjusted_mean == 1.0


# --- plumage_families -------------------------------------------------------------------------------------------------


def test_families_share_the_pictures_of_plumage(places):
    sizes = {'train_per_class': 2, 'test_per_class': 1, 'seed': 3}
    fine, coarse = plumage(places, **sizes), plumage_families(places, **sizes)
    assert coarse.name == fine.coarse == 'plumage_families' and not coarse.coarse
    assert coarse.test.class_names == FAMILY_NAMES
    for a, b in ((fine.train, coarse.train), (fine.test, coarse.test)):
        assert b.images == a.images and b.images.path.parent.parent == places.cache_dir / 'plumage'
        assert b.labels_N.dtype == np.int64
        assert b.labels_N.tolist() == [FAMILY_OF_CLASS[label] for label in a.labels_N]
    prints = [data.fingerprints[name] for data in (fine, coarse) for name in ('train', 'test')]
    assert len(set(prints)) == 4
    assert np.bincount(coarse.train.labels_N).tolist() == [8] * 5


def test_the_official_prints_of_plumage_stay(places):
    """Committed records name them."""
    assert plumage(places).fingerprints == {'train': 'a2acce58dc9595b1', 'test': 'ddd1975c04535fcf'}
    assert plumage(places).train.images.path.parent.name == '4117fd3eef70b0ea'
