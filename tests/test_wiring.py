"""Settings and data arrive where they are meant to: both sides of a match, the views of a probe, the seeds, the stored set.

The formulas have tests of their own; here stands what a formula is given. `make mutants` shows that these tests can fail.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import all_records
from test_probe import GivenFeatures, random_task
from test_rivals import synthetic
from test_synthesis import SMALL, _autograd_gradient, _real

from bench.config import registry
from bench.distillation.distilled_set import DistilledSet
from bench.distillation.task import Task
from bench.features import crops
from bench.features.store import FeatureStore
from bench.features.views import CenterView, RandomView, central_box, resize_side
from bench.pipeline import probe as second_stage
from bench.probes import adam
from methods import lgm as lgm_module
from methods._synthesis import distil
from methods._synthesis.gradient import random_probes
from methods._synthesis.pyramid import Pyramid
from methods.lgm import lgm

pytestmark = pytest.mark.numerical


@pytest.fixture
def task(toy, tmp_path):
    backbone = toy.toy_net(None, torch.device('cpu'))
    return Task(train=toy.toy_data(None).train, ipc=2, seed=0, backbone=backbone, store=FeatureStore(tmp_path))


@pytest.fixture
def given(task, monkeypatch):
    """Return what lgm gives to `match` under some settings; no update is made."""
    calls = []

    def match(pyramid, loss_of, **named):
        calls.append(SimpleNamespace(pyramid=pyramid, **named))
        return pyramid.decode().detach(), []

    def call(*, seed=0, **settings):
        made = lgm(Task(**{**vars(task), 'seed': seed}), **{**SMALL, **settings})
        return SimpleNamespace(**vars(calls[-1]), made=made)

    monkeypatch.setattr(distil, 'match', match)
    return call


# --- synthesis: what is bound -------------------------------------------------------------------------------------------


@pytest.mark.parametrize('switch', [True, False])
def test_real_and_synthetic_views_are_made_as_bound(given, switch):
    bound = {'crop': switch, 'overhang': switch, 'flip_prob': 0.25, 'noise_std': 0.1, 'noise_mean': 0.4, 'noise_prob': 0.75}
    real = {'frame': 'random' if switch else 'whole', 'interpolation': 'bicubic' if switch else None}
    got = given(crop_min_area=0.3, num_views=3, drop_last=switch, **bound, **real)
    for side in (got.augmentation, got.real.view):
        assert {name: getattr(side, name) for name in bound} == bound
        assert (side.scale, side.ratio) == ((0.3, 1.0), (3 / 4, 4 / 3))
    assert got.augmentation.centre == central_box(8)
    view = got.real.view
    assert (view.side, view.frame, view.interpolation) == (8, real['frame'], real['interpolation'] or 'bilinear')
    assert (got.real.num_views, got.real.drop_last) == (3, switch)


def test_schedule_and_number_of_views_are_as_bound(given):
    bound = {
        'num_updates': 40, 'learning_rate': 0.3, 'lr_over_levels': True, 'decay_start': 0.6, 'level_every': 3,
        'level_delay': 2,
    }  # fmt: skip
    got = given(num_augmentations=7, chunk_size=5, **bound)
    assert {name: getattr(got.schedule, name) for name in bound} == bound
    assert (got.chunking.views, got.chunking.size, got.total) == (7, 5, 12)


def test_images_start_from_one_pixel_of_noise_each_from_its_own(given):
    (level,) = given().pyramid.levels
    (other,) = given(seed=1).pyramid.levels
    assert level.shape == (12, 3, 1, 1)
    assert len(torch.cat([level, other]).flatten(1).unique(dim=0)) == 24
    (pixels,) = given(parameterization='pixels').pyramid.levels
    assert pixels.shape == (12, 3, 9, 9) and pixels.std().item() == pytest.approx(1, abs=0.05)


def test_a_method_seed_moves_views_and_real_batches(given):
    first, again, other = given(), given(), given(seed=1)
    seeds = [(got.generator.initial_seed(), got.real.generator.initial_seed()) for got in (first, again, other)]
    assert seeds[0] == seeds[1] and len({*seeds[0], *seeds[2]}) == 4


def test_soft_labels_come_from_the_training_images_at_the_temperature_bound(given, task, monkeypatch):
    asked = []

    def teacher(f_ND, labels_N, f_MD, labels_M, *, num_classes, temperature):
        asked.append((f_ND, f_MD, temperature))
        np.testing.assert_array_equal(labels_N, task.train.labels_N)
        return np.eye(num_classes, dtype=np.float32)[labels_M]

    monkeypatch.setattr(distil, 'teacher_labels', teacher)
    made = given(soft_labels=True, label_temperature=0.7).made
    ((f_ND, f_MD, temperature),) = asked
    assert temperature == 0.7 and made.label_kind == 'soft'
    np.testing.assert_array_equal(f_ND, task.features())
    np.testing.assert_array_equal(f_MD, task.features_of(made.split(task.train)))


# --- synthesis: the two gradients ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('real_gradient, size', [('batch', 2 * 6), ('full', None)])
@pytest.mark.parametrize('balanced', [True, False])
def test_lgm_compares_all_views_with_a_real_batch_of_as_many_under_new_probes(monkeypatch, real_gradient, size, balanced):
    real, probes, asked = _real(), [], []
    target_PCD = torch.randn(3, 3, 4, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(
        real, 'gradient', lambda w_PCD, *, batch_size, balanced: asked.append((batch_size, balanced)) or target_PCD
    )

    def noting(count, **named):
        probes.append(random_probes(count, **named))
        return probes[-1]

    monkeypatch.setattr(lgm_module, 'random_probes', noting)
    loss_of = lgm.__wrapped__(
        real, num_probes=3, probe_sigma=2.0, real_gradient=real_gradient, class_balanced=balanced
    )
    f_AND = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(2))
    found = [loss_of(synthetic(f_AND, ipc=2)) for _ in range(2)]
    assert asked == [(size, balanced)] * 2
    assert [len(w_PCD) for w_PCD in probes] == [3, 3] and not torch.equal(*probes)
    assert torch.cat(probes).std().item() == pytest.approx(2, rel=0.3)
    y_MC = torch.eye(3).repeat_interleave(2, dim=0).repeat(2, 1)
    for loss, w_PCD in zip(found, probes, strict=True):
        each = [_autograd_gradient(f_AND.flatten(0, 1), y_MC, w_CD, create_graph=False) for w_CD in w_PCD]
        cosines = [torch.cosine_similarity(g.flatten(), t.flatten(), dim=0) for g, t in zip(each, target_PCD, strict=True)]
        assert len(each) == 3 and loss.item() == pytest.approx(1 - sum(cosines).item() / 3, abs=1e-5)


def test_a_real_batch_takes_every_cached_view_and_each_image_its_own():
    f_VND = np.arange(4, dtype=np.float32)[:, None, None].repeat(500, axis=1)
    real = _real(f_VND, np.arange(500) % 3)
    first, second = (real.batch(None)[0].flatten() for _ in range(2))
    assert torch.bincount(first.long(), minlength=4).min() > 80 and (first != second).float().mean() > 0.6


def test_class_means_over_views_are_those_of_all_cached_views():
    real = _real()
    each = [np.stack([f_ND[real.labels_N == c].mean(axis=0) for c in range(3)]) for f_ND in real.task.f_VND]
    np.testing.assert_allclose(real.class_means(views=True), np.mean(each, axis=0), atol=1e-6)
    np.testing.assert_allclose(real.class_means(), each[0], atol=1e-6)


def test_fresh_real_views_are_of_their_images_and_new_for_each_use_and_seed(given, toy, monkeypatch):
    asked = []
    monkeypatch.setattr(
        FeatureStore, 'fresh', lambda self, split, backbone, view, *, views: asked.append((split, view.seed, list(views)))
        or torch.zeros(1, len(split), 8)
    )  # fmt: skip
    for seed in (0, 1):
        real = given(seed=seed, num_views=None).real
        for _ in range(3):
            _, labels_B = real.batch(7)
            np.testing.assert_array_equal(asked[-1][0].labels_N, labels_B)
    shown = [(seed, number) for _, seed, numbers in asked for number in numbers]
    assert len(set(shown)) == len(shown) == 6 and len({seed for seed, _ in shown}) == 2
    # plain pictures tell their class by their colour
    split, colours_C3 = asked[0][0], toy._COLOURS
    for place, label in enumerate(split.labels_N):
        mean_3 = np.asarray(split.images[place]).mean(axis=(0, 1))
        assert np.square(colours_C3 - mean_3).sum(axis=1).argmin() == label


# --- synthesis: known answers -------------------------------------------------------------------------------------------


def test_levels_are_upsampled_bilinearly_about_the_centres_of_pixels():
    pyramid = Pyramid(1, image_size=4, start_size=2, decorrelate=False, seed=0)
    with torch.no_grad():
        pyramid.levels[0].zero_()
        pyramid.levels[1].copy_(torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
    x_HW = torch.logit(pyramid.decode()[0, 0]) / 2
    torch.testing.assert_close(x_HW, torch.tensor([[0.0, 0.25, 0.75, 1.0]] * 4), rtol=0, atol=1e-6)


def test_a_synthetic_view_without_a_crop_is_the_test_view():
    assert central_box(224) == (16 / 256, 16 / 256, 224 / 256, 224 / 256)
    x_1CHW = torch.rand(1, 3, 16, 16)
    assert resize_side(14) == 16
    box_1A4 = torch.tensor(central_box(14)).view(1, 1, 4)
    view = crops.sample(x_1CHW, box_1A4, torch.zeros(1, 1, dtype=torch.bool), side=14, overhang=False)
    torch.testing.assert_close(view, x_1CHW[:, :, 1:15, 1:15], rtol=0, atol=1e-5)


def test_stored_images_are_rounded_and_keep_their_pixels_and_colours():
    x_CHW = torch.tensor([[[254.6, 0.4]], [[10.0, 20.0]], [[300.0, 7.0]]]) / 255
    stored = DistilledSet.synthetic(x_CHW[None], np.array([0]))
    assert stored.images_NHWC.tolist() == [[[[255, 10, 255], [0, 20, 7]]]]


def test_chosen_photographs_are_the_ones_that_are_seen(toy):
    train = toy.toy_data(None).train
    seen = DistilledSet(train.labels_N[[9, 3]], indices_N=np.array([9, 3])).split(train)
    for place, index in enumerate((9, 3)):
        np.testing.assert_array_equal(np.asarray(seen.images[place]), np.asarray(train.images[index]))


# --- probes -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def views_of(monkeypatch):
    """Return the views in which a protocol sees its training and its test images, with the numbers of the view."""

    def call(name, *, is_full=False):
        seen = {'distilled': [], 'test': [], 'real': []}

        def features(self, split, backbone, view, *, num_views=1):
            return noted(split, view, range(num_views))

        def fresh(self, split, backbone, view, *, views):
            return torch.from_numpy(noted(split, view, views))

        def noted(split, view, numbers):
            seen[split.name].append((view, list(numbers)))
            return np.repeat(task.store.f_VND[split.name][:1], len(numbers), axis=0)

        monkeypatch.setattr(GivenFeatures, 'features', features)
        monkeypatch.setattr(GivenFeatures, 'fresh', fresh, raising=False)
        monkeypatch.setattr(adam, '_FRESH_FLOATS', 1)
        task = random_task(is_full=is_full)
        task = replace(task, real=replace(task.train, name='real'))
        task.store.f_VND['real'] = task.store.f_VND['distilled']
        task.backbone.interpolation = 'bicubic'
        row = registry.rows('protocol')[name]
        small = {'epochs': 3, 'full_epochs': 3, 'repeats': 2, 'num_views': 2, 'full_views': 2}
        defaults = row.defaults()
        row.load()(task, **{**defaults, **{k: v for k, v in small.items() if defaults.get(k) is not None}})
        return seen['distilled'], seen['test']

    return call


@pytest.mark.parametrize('name', registry.rows('protocol'))
@pytest.mark.parametrize('is_full', [True, False])
def test_a_protocol_sees_test_images_in_the_test_view_and_trains_in_its_own(name, is_full, views_of):
    trained, tested = views_of(name, is_full=is_full)
    test_view = CenterView(8, 'bilinear' if name == 'release-v1' else 'bicubic')
    assert {view for view, _ in tested} == {test_view}
    if 'epochs' not in registry.rows('protocol')[name].defaults():
        assert {view for view, _ in trained} == {test_view}
        return
    released = {'frame': 'random' if is_full else 'center', 'overhang': True, 'interpolation': 'bilinear'}
    changed = released if name == 'release-v1' else {'interpolation': 'bicubic'}
    if is_full:
        assert trained.pop() == (test_view, [0]), 'the training accuracy, at the end'
    for view, _ in trained:
        assert view == RandomView(**{'side': 8, 'seed': view.seed, **changed})


@pytest.mark.parametrize('name', ['paper-v1', 'paper-v1-exact', 'release-v1'])
def test_each_repeat_of_a_probe_has_views_of_its_own_and_exact_rules_use_none_twice(name, views_of):
    trained, _ = views_of(name)
    assert len({view.seed for view, _ in trained}) == 2
    shown = [(view.seed, number) for view, numbers in trained for number in numbers]
    # two repeats of three epochs, or two pools of two views
    assert len(set(shown)) == len(shown) == (4 if name == 'paper-v1' else 6)


def test_full_data_is_told_apart_from_a_distilled_set(toy):
    dataset, cell = toy.toy_data(None), SimpleNamespace(method=SimpleNamespace(label='m'), eval=SimpleNamespace(label='e'))
    count = len(dataset.train)

    def is_full(**parts):
        labels_N = parts.pop('labels_N', dataset.train.labels_N)
        return second_stage._task(cell, DistilledSet(labels_N, **parts), dataset, None, None).is_full

    assert is_full(indices_N=np.arange(count))
    order_N = np.random.default_rng(0).permutation(count)
    assert is_full(indices_N=order_N, labels_N=dataset.train.labels_N[order_N])
    assert not is_full(indices_N=np.arange(count - 1), labels_N=dataset.train.labels_N[:-1])
    assert not is_full(images_NHWC=np.zeros((count, 5, 5, 3), dtype=np.uint8))


def test_a_probe_knows_which_training_images_it_is_trained_on(toy):
    dataset, cell = toy.toy_data(None), SimpleNamespace(method=SimpleNamespace(label='m'), eval=SimpleNamespace(label='e'))
    chosen = DistilledSet(dataset.train.labels_N[[9, 3]], indices_N=np.array([9, 3]))
    made = DistilledSet(np.array([0]), images_NHWC=np.zeros((1, 5, 5, 3), dtype=np.uint8))
    tasks = [second_stage._task(cell, each, dataset, None, None) for each in (chosen, made)]
    assert all(task.real is dataset.train for task in tasks)
    assert tasks[0].own_N.tolist() == [9, 3] and tasks[1].own_N is None


def test_a_method_gets_its_seed(run_bench, tmp_path):
    outcome = run_bench(bind=["run.methods = ['random']", 'run.seeds = [0, 1]'])
    assert outcome.status == 0, outcome.err
    made = {record.cell.seed: record.distilled.hash for record in all_records(tmp_path / 'results')}
    assert made.keys() == {0, 1} and made[0] != made[1]
