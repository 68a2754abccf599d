"""The methods that choose real images, on points in the plane where the right answer is known."""

import numpy as np
import pytest
from conftest import methods_where

from bench.config.registry import find
from bench.core.errors import InputError
from bench.core.types import Split
from bench.distillation.task import Task
from methods import k_center
from methods.herding import herd

pytestmark = pytest.mark.numerical


class PlaneTask(Task):
    """A task whose features are given points."""

    def features(self):
        return PLANE[self.title]


PLANE = {}
SELECTORS = methods_where(lambda needs: needs.real and needs.ipc and needs.of is None)


def task_of(f_ND, labels_N, *, ipc=1, seed=0):
    labels_N = np.asarray(labels_N)
    names = tuple('abcdefgh'[: labels_N.max() + 1])
    PLANE['points'] = np.asarray(f_ND, dtype=np.float32)
    return PlaneTask(Split('train', range(len(labels_N)), labels_N, names, 'p'), ipc, seed, title='points')


def choose(name, task):
    distilled = find('method', name)[0].load()(task)
    np.testing.assert_array_equal(distilled.labels_N, task.train.labels_N[distilled.indices_N])
    assert distilled.kind == 'real' and (np.diff(distilled.labels_N) >= 0).all()
    return distilled.indices_N.tolist()


def random_task(ipc, seed=0, count=60):
    generator = np.random.default_rng(5)
    return task_of(generator.normal(size=(count, 4)), generator.permutation(np.arange(count) % 3), ipc=ipc, seed=seed)


# Class a: mean (2, 0). Class b: mean (10, 3). Interleaved, so that order in the file is not order in the class.
POINTS = [[0, 0], [10, 0], [1, 0], [10, 2], [5, 0], [10, 7]]
LABELS = [0, 1, 0, 1, 0, 1]


def test_centroid_takes_the_images_nearest_to_their_own_class_mean():
    assert choose('centroid', task_of(POINTS, LABELS)) == [2, 3]
    # distances to the mean: a: 2, 1, 3; b: 3, 1, 4
    assert choose('centroid', task_of(POINTS, LABELS, ipc=2)) == [2, 0, 3, 1]


def test_herding_worked_by_hand():
    # a: 1 is nearest to 2; then the mean of {1, 5} is 3 and that of {1, 0} is 0.5: 5 is taken; then 0.
    # b: 2 is nearest to 3; then the mean of {2, 7} is 4.5 and that of {2, 0} is 1: 7 is taken; then 0.
    assert choose('herding', task_of(POINTS, LABELS, ipc=3)) == [2, 4, 0, 3, 5, 1]


def test_herding_keeps_the_running_mean_nearest_to_the_class_mean():
    f_MD = np.random.default_rng(0).normal(size=(30, 3))
    chosen = herd(f_MD, 30)
    assert sorted(chosen) == list(range(30))
    for step in range(1, 31):
        distance = np.linalg.norm(f_MD[chosen[:step]].mean(axis=0) - f_MD.mean(axis=0))
        for other in set(range(30)) - set(chosen[:step]):
            swapped = [*chosen[: step - 1], other]
            assert distance <= np.linalg.norm(f_MD[swapped].mean(axis=0) - f_MD.mean(axis=0)) + 1e-9


def plain_herd(f_MD, count):
    mean_D, chosen = f_MD.mean(axis=0), []
    for step in range(1, count + 1):
        sum_D = sum((f_MD[i] for i in chosen), start=np.zeros(f_MD.shape[1]))
        distance_M = np.linalg.norm((sum_D + f_MD) / step - mean_D, axis=1)
        distance_M[chosen] = np.inf
        chosen.append(int(distance_M.argmin()))
    return chosen


def random_features(generator, kind, count):
    """Points in general position, far from the origin, on a grid (many equal distances), or with each one repeated."""
    if kind == 'grid':
        return generator.integers(0, 3, (count, 3)).astype(np.float32)
    f_ND = generator.normal(size=(count, 6)) + (100 if kind == 'far' else 0)
    return f_ND[generator.integers(0, count, count) if kind == 'repeated' else slice(None)].astype(np.float32)


KINDS = ['general', 'far', 'grid', 'repeated']


@pytest.mark.parametrize('kind', KINDS)
def test_herding_takes_what_its_plain_formula_would_the_first_of_equals(kind):
    generator = np.random.default_rng(1)
    for count in (1, 2, 30, 60):
        f_MD = random_features(generator, kind, count)
        assert herd(f_MD, count) == plain_herd(f_MD, count)


def test_with_one_image_per_class_herding_is_the_centroid_and_more_are_distinct():
    assert choose('herding', random_task(1)) == choose('centroid', random_task(1))
    for name in SELECTORS:
        chosen = choose(name, random_task(7))
        assert len(set(chosen)) == len(chosen) == 21, name
        assert np.bincount(random_task(7).train.labels_N[chosen]).tolist() == [7, 7, 7], name


def test_k_center_worked_by_hand():
    # Mean of all: 4.5 on a line. It starts at 4 (class a, full then), so the farthest is looked for in b and c: 10 (b);
    # then c must give its own, the one farthest from {4, 10}: 1 is 3 away, 7.5 is 2.5 away.
    points = [[0, 0], [4, 0], [10, 0], [6, 0], [1, 0], [7.5, 0]]
    assert choose('k_center', task_of(points, [0, 0, 1, 1, 2, 2])) == [1, 2, 4]


def test_k_center_covers_better_than_it_would_without_the_quota_of_a_near_class():
    # Without quotas the second image would be 100 (class a again); with them class b gives its farthest.
    points = [[0, 0], [1, 0], [100, 0], [2, 0], [3, 0]]
    chosen = choose('k_center', task_of(points, [0, 0, 0, 1, 1]))
    assert len(chosen) == 2 and chosen[1] in (3, 4)
    whole = choose('k_center', task_of(points, [0, 0, 0, 1, 1], ipc=2))
    assert 2 in whole and np.bincount(np.array([0, 0, 0, 1, 1])[whole]).tolist() == [2, 2]


def test_k_center_takes_everything_once_where_the_quota_is_everything():
    assert sorted(choose('k_center', random_task(20))) == list(range(60))


def plain_cover(f_ND, labels_N, quota_C):
    """Pass over all images for each choice, distances by their differences; argmax takes the first of equals."""
    f_ND, quota_C = f_ND.astype(np.float64), quota_C.copy()
    chosen = [int(np.square(f_ND - f_ND.mean(axis=0)).sum(axis=1).argmin())]
    nearest_N = np.full(len(f_ND), np.inf)
    while True:
        quota_C[labels_N[chosen[-1]]] -= 1
        if not quota_C.any():
            return chosen
        nearest_N = np.minimum(nearest_N, np.square(f_ND - f_ND[chosen[-1]]).sum(axis=1))
        nearest_N[chosen[-1]] = -np.inf
        chosen.append(int(np.where(quota_C[labels_N] > 0, nearest_N, -np.inf).argmax()))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('pool_size', [1, 5, 4096])
def test_k_center_with_fewer_passes_takes_what_a_pass_for_each_choice_would(kind, pool_size, monkeypatch):
    generator = np.random.default_rng(2)
    for block, picks, ipc in ((4096, 512, 1), (7, 512, 4), (4096, 3, 9)):
        monkeypatch.setattr(k_center, '_BLOCK', block)
        monkeypatch.setattr(k_center, '_PICKS', picks)
        f_ND, labels_N = random_features(generator, kind, 90), generator.permutation(np.arange(90) % 5)
        quota_C = np.full(5, ipc)
        found = k_center.cover(f_ND, labels_N, quota_C=quota_C, pool_size=pool_size)
        assert found.tolist() == plain_cover(f_ND, labels_N, quota_C) and len(found) == 5 * ipc


def test_k_center_passes_over_all_images_a_few_times_only(monkeypatch):
    passes, bring_nearer = [], k_center._bring_nearer

    def noting(nearest_N, *arguments, **named):
        passes.append(len(named['rows']))
        bring_nearer(nearest_N, *arguments, **named)

    monkeypatch.setattr(k_center, '_bring_nearer', noting)
    f_ND, labels_N = np.random.default_rng(0).normal(size=(6000, 8)), np.arange(6000) % 40
    chosen = k_center.cover(f_ND, labels_N, quota_C=np.full(40, 3), pool_size=500)
    assert len(chosen) == 120 and len(passes) < 12 and passes == sorted(passes, reverse=True)


@pytest.mark.parametrize('name', ['herding', 'k_center'])
def test_features_that_are_not_finite_are_an_error(name):
    with pytest.raises(FloatingPointError, match='the features are not finite'):
        choose(name, task_of([[0, 0], [np.nan, 0], [2, 0], [3, 0]], [0, 0, 1, 1]))


def test_random_is_uniform_without_repeats_and_another_seed_draws_others():
    assert choose('random', random_task(3, seed=1)) == choose('random', random_task(3, seed=1))
    assert choose('random', random_task(3, seed=1)) != choose('random', random_task(3, seed=2))
    counts = np.zeros(60)
    for seed in range(400):
        counts[choose('random', random_task(5, seed=seed))] += 1
    # each image is drawn with chance 1/4: 100 of 400, standard deviation 8.7
    assert counts.sum() == 400 * 15 and counts.min() > 60 and counts.max() < 140


def test_full_takes_everything_in_order():
    distilled = find('method', 'full')[0].load()(random_task(0))
    assert distilled.indices_N.tolist() == list(range(60))
    np.testing.assert_array_equal(distilled.labels_N, random_task(0).train.labels_N)


@pytest.mark.parametrize('name', SELECTORS)
def test_a_class_with_too_few_images_is_named(name):
    with pytest.raises(InputError, match="ipc = 2: class 'b' has 1 training images; choose ipc <= 1"):
        choose(name, task_of([[0, 0], [1, 0], [2, 0]], [0, 0, 1], ipc=2))
