"""Linear Gradient Matching: exact against autograd, pyramid and augmentations against hand-worked values."""

import dataclasses
import inspect
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bench.distillation.task import Task
from bench.features.store import FeatureStore
from methods._synthesis.augment import Augmentation
from methods._synthesis.distil import synthesise
from methods._synthesis.gradient import gradient_distance, probe_gradient, random_probes
from methods._synthesis.match import Chunking, Schedule, _backward, _check_finite
from methods._synthesis.pyramid import Pyramid, colour_33, level_sizes
from methods._synthesis.real import RealFeatures
from methods.dm import dm
from methods.lgm import lgm, moment_distance

pytestmark = pytest.mark.numerical


def _autograd_gradient(f_ND, y_NC, w_CD, *, create_graph):
    """Return [G_W, G_b] of the mean cross-entropy, the way the release computes it."""
    w_CD, b_C = w_CD.clone().requires_grad_(), torch.zeros(len(w_CD), dtype=w_CD.dtype, requires_grad=True)
    loss = F.cross_entropy(f_ND @ w_CD.T + b_C, y_NC)
    g_CD, g_C = torch.autograd.grad(loss, [w_CD, b_C], create_graph=create_graph)
    return torch.cat([g_CD, g_C[:, None]], dim=1)


@pytest.mark.parametrize('soft', [False, True])
@pytest.mark.parametrize('sigma', [0.0, 0.01, 3.0])
def test_closed_form_gradient_and_meta_gradient_equal_double_backward(soft, sigma):
    generator = torch.Generator().manual_seed(0)
    n, c, d, p = 7, 4, 5, 3
    f_ND = torch.randn(n, d, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 3, 3, 3, 1])  # unbalanced, one class absent
    y_NC = F.one_hot(labels, c).double()
    if soft:
        y_NC = torch.softmax(torch.randn(n, c, generator=generator, dtype=torch.float64), dim=1)
    w_PCD = sigma * torch.randn(p, c, d, generator=generator, dtype=torch.float64)
    target_PCD = torch.randn(p, c, d + 1, generator=generator, dtype=torch.float64)

    ours = f_ND.clone().requires_grad_()
    g_PCD = probe_gradient(ours, y_NC, w_PCD)
    gradient_distance(g_PCD, target_PCD).backward()

    theirs = f_ND.clone().requires_grad_()
    expected = torch.stack([_autograd_gradient(theirs, y_NC, w_CD, create_graph=True) for w_CD in w_PCD])
    cosines = [F.cosine_similarity(g.flatten(), t.flatten(), dim=0) for g, t in zip(expected, target_PCD, strict=True)]
    (1 - sum(cosines) / p).backward()

    torch.testing.assert_close(g_PCD, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)


def test_weighted_gradient_is_the_mean_of_class_gradients():
    generator = torch.Generator().manual_seed(1)
    f_ND = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    y_NC = F.one_hot(torch.tensor([0, 0, 0, 0, 1, 1]), 2).double()
    w_PCD = torch.randn(1, 2, 3, generator=generator, dtype=torch.float64)
    weights_N = torch.tensor([1 / 8] * 4 + [1 / 4] * 2, dtype=torch.float64)
    each = [probe_gradient(f_ND[rows], y_NC[rows], w_PCD) for rows in (slice(0, 4), slice(4, 6))]
    torch.testing.assert_close(probe_gradient(f_ND, y_NC, w_PCD, weights_N=weights_N), (each[0] + each[1]) / 2)


def test_random_probes_have_the_spread_asked_for():
    w_PCD = random_probes(4, num_classes=50, dim=100, sigma=0.01, generator=torch.Generator().manual_seed(0))
    assert w_PCD.shape == (4, 50, 100)
    assert w_PCD.std().item() == pytest.approx(0.01, rel=0.02)


# --- the real side ------------------------------------------------------------------------------------------------------


class FeatureTask:
    """Stands in for a task whose features are known."""

    def __init__(self, f_VND, labels_N, num_classes):
        self.train = SimpleNamespace(labels_N=labels_N, num_classes=num_classes)
        self.encoder = SimpleNamespace(device=torch.device('cpu'), feature_dim=f_VND.shape[2], dtype=torch.float32)
        self.f_VND = f_VND

    def view_features(self, view, *, num_views):
        return self.f_VND[:num_views]

    def features(self):
        return self.f_VND[0]


def _real(f_VND=None, labels_N=None, num_classes=3):
    if f_VND is None:
        f_VND = np.random.default_rng(0).normal(size=(2, 10, 3)).astype(np.float32)
        labels_N = np.array([0] * 6 + [1] * 3 + [2])
    return RealFeatures(FeatureTask(f_VND, labels_N, num_classes), None, len(f_VND), torch.Generator().manual_seed(1))


def test_a_shuffled_pass_sees_every_image_once_before_any_twice():
    real = _real()
    seen = torch.cat([real.draw(4), real.draw(5), real.draw(11)])
    assert sorted(seen[:10].tolist()) == sorted(seen[10:].tolist()) == list(range(10))


def test_the_rest_of_a_pass_that_does_not_fill_a_batch_is_dropped_or_drawn():
    def passes(drop_last, size, count):
        real = dataclasses.replace(_real(), drop_last=drop_last)
        return [real.draw(size).tolist() for _ in range(count)]

    for drop_last in (True, False):
        first, second, third = passes(drop_last, 4, 3)
        assert not set(first) & set(second)
        left = set(range(10)) - {*first, *second}
        assert (set(third[:2]) == left) == (not drop_last)
        assert len(set(third)) == 4 or not drop_last, 'a batch of one pass has no image twice'
    halves = passes(True, 5, 4)
    assert [sorted(halves[i] + halves[i + 1]) for i in (0, 2)] == [list(range(10))] * 2, 'such a pass has no rest'
    # the release would have no batch at all
    assert passes(True, 14, 3) == passes(False, 14, 3)


def test_balanced_real_gradient_weighs_classes_alike_and_released_weighs_images():
    w_PCD = torch.zeros(1, 3, 3)
    for balanced, share in ((True, [1 / 3] * 3), (False, [0.6, 0.3, 0.1])):
        # at W = 0 the bias gradient is 1/C minus the weight of each class
        g_PCD = _real().gradient(w_PCD, batch_size=None, balanced=balanced)
        torch.testing.assert_close(g_PCD[0, :, -1], 1 / 3 - torch.tensor(share))


# --- mean and scale -----------------------------------------------------------------------------------------------------


def test_moment_distance_sees_a_shift_and_a_scale_of_all_classes_and_nothing_else():
    m_CD = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean_D, spread_2 = m_CD.mean(dim=0), (m_CD - m_CD.mean(dim=0)).square().sum(dim=1).mean()
    shift_D = torch.tensor([3.0, 0, 0, 4.0], dtype=torch.float64)
    assert moment_distance(m_CD[[1, 2, 3, 4, 0]], m_CD).item() == pytest.approx(0, abs=1e-12), 'classes are not told apart'
    assert moment_distance(m_CD + shift_D, m_CD).item() == pytest.approx(25 / spread_2.item())
    assert moment_distance(mean_D + 3 * (m_CD - mean_D), m_CD).item() == pytest.approx(4.0)
    # in units of the target: the scale of both does not matter
    assert moment_distance(7 * (m_CD + shift_D), 7 * m_CD).item() == pytest.approx(25 / spread_2.item())


def test_moments_draw_the_mean_and_the_spread_of_the_images_to_the_real_ones(task):
    def left_over(moments):
        found = []

        def watched(real):
            loss = matching(real, real_gradient='full', class_balanced=True, moments=moments)
            target_CD = real.class_means(views=True)

            def watching(synthetic):
                found.append(moment_distance(synthetic.class_means(), target_CD).item())
                return loss(synthetic)

            return watching

        synthesise(task, watched, num_updates=60, level_every=5, learning_rate=0.1, num_augmentations=2, num_views=2)
        return sum(found[-10:])

    matching = inspect.unwrap(lgm)
    assert left_over(0.3) < 0.5 * left_over(0.0)


def test_images_that_are_all_the_same_have_a_finite_gradient():
    m_CD = torch.zeros(3, 2, requires_grad=True)
    moment_distance(m_CD, torch.eye(3)[:, :2]).backward()
    assert torch.isfinite(m_CD.grad).all()


# --- pyramid ------------------------------------------------------------------------------------------------------------


def test_level_sizes_double_and_end_at_the_image_size():
    assert level_sizes(256) == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert level_sizes(72) == [1, 2, 4, 8, 16, 32, 64, 72]
    assert level_sizes(1) == [1]


def test_growing_scales_old_levels_and_adds_noise_of_one_over_the_count():
    pyramid = Pyramid(50, image_size=4, start_size=1, decorrelate=False, seed=0)
    first = pyramid.levels[0].detach().clone()
    assert first.shape == (50, 3, 1, 1) and not pyramid.complete
    pyramid.grow()
    torch.testing.assert_close(pyramid.levels[0].detach(), first / 2)
    pyramid.grow()
    torch.testing.assert_close(pyramid.levels[0].detach(), first / 3)  # 1/2 then 2/3
    assert pyramid.levels[2].std().item() == pytest.approx(1 / 3, rel=0.05)
    assert [level.shape[-1] for level in pyramid.levels] == [1, 2, 4] and pyramid.complete
    assert all(level.is_leaf and level.requires_grad for level in pyramid.levels)


def test_decode_is_the_sigmoid_of_twice_the_colour_matrix_times_the_summed_levels():
    pyramid = Pyramid(1, image_size=2, start_size=1, decorrelate=True, seed=0)
    pyramid.grow()
    with torch.no_grad():
        pyramid.levels[0].copy_(torch.tensor([1.0, 0.5, -1.0]).view(1, 3, 1, 1))
        pyramid.levels[1].zero_()
    norm = math.sqrt(0.26**2 + 0.27**2 + 0.27**2)  # the largest column
    matrix = [[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]]
    expected = [1 / (1 + math.exp(-2 * (row[0] + 0.5 * row[1] - row[2]) / norm)) for row in matrix]
    torch.testing.assert_close(pyramid.decode()[0, :, 1, 0], torch.tensor(expected))
    torch.testing.assert_close(colour_33(torch.float32).norm(dim=0).max(), torch.tensor(1.0))


@pytest.mark.parametrize('decorrelate', [True, False])
def test_starting_from_pictures_decodes_to_them(decorrelate):
    x_NCHW = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    pyramid = Pyramid(2, image_size=8, start_size=1, decorrelate=decorrelate, seed=0)
    pyramid.start_from(x_NCHW)
    torch.testing.assert_close(pyramid.decode(), x_NCHW, rtol=0, atol=1e-5)
    assert pyramid.complete and len(pyramid.levels) == 4


def test_schedule_divides_by_levels_and_falls_along_a_half_cosine():
    schedule = Schedule(num_updates=100, learning_rate=0.4, lr_over_levels=True, decay_start=0.5, level_every=10)
    assert schedule.rate(0, 1) == schedule.rate(50, 1) == pytest.approx(0.4)
    assert schedule.rate(0, 4) == pytest.approx(0.1)
    assert schedule.rate(75, 1) == pytest.approx(0.2)
    assert schedule.rate(99, 1) < 0.001
    assert Schedule(100, 0.4, False, 1.0, 10).rate(99, 5) == 0.4


def test_float64_images_start_from_the_draws_of_float32():
    dtypes = (torch.float32, torch.float64)
    single, double = (Pyramid(2, image_size=8, start_size=4, decorrelate=True, seed=0, dtype=dtype) for dtype in dtypes)
    for pyramid in (single, double):
        pyramid.grow()
    for ours, theirs in zip(single.levels, double.levels, strict=True):
        assert theirs.dtype is torch.float64
        torch.testing.assert_close(theirs.float(), ours)
    assert double.decode().dtype is torch.float64
    torch.testing.assert_close(double.decode().float(), single.decode())
    image_NCHW = torch.full((2, 3, 8, 8), 0.3, dtype=torch.float64)
    double.start_from(image_NCHW)
    torch.testing.assert_close(double.decode(), image_NCHW, rtol=1e-12, atol=0)


# --- augmentations ------------------------------------------------------------------------------------------------------


def test_crops_never_leave_the_image_and_have_the_area_and_aspect_asked_for():
    side = 40
    views = Augmentation().sample(1000, 4, side=side, generator=torch.Generator().manual_seed(0))
    top, left, height, width = (views.boxes_NA4 * side).round().flatten(0, 1).unbind(1)
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + height <= side).all() and (left + width <= side).all()
    area = (height * width) / side**2
    assert area.min() > 0.06 and area.mean().item() == pytest.approx(0.54, abs=0.05)
    assert (width / height).max() < 1.5 and (height / width).max() < 1.5
    assert views.flip_NA.float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_a_crop_and_flip_has_torchvisions_geometry():
    from torchvision.transforms.v2 import functional as TF

    x_NCHW = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    augmentation = Augmentation(noise_prob=0.0)
    views = augmentation.sample(1, 1, side=32, generator=torch.Generator().manual_seed(3))
    top, left, height, width = (views.boxes_NA4[0, 0] * 32).round().int().tolist()
    for flip in (False, True):
        views.flip_NA[:] = flip
        ours = augmentation.apply(x_NCHW, views, side=48)  # enlarging, where antialiasing plays no part
        theirs = TF.resized_crop(x_NCHW, top, left, height, width, [48, 48], antialias=False)
        # beyond the crop's edge ours sees its neighbours, torchvision repeats the edge: compare the inside
        inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))
        torch.testing.assert_close(ours[inside], (theirs.flip(-1) if flip else theirs)[inside], rtol=0, atol=1e-5)


def test_noise_is_added_to_the_chosen_views_and_is_the_same_in_any_chunk():
    augmentation = Augmentation(crop=False, flip_prob=0.0, noise_std=0.1, noise_mean=0.5, noise_prob=0.5)
    views = augmentation.sample(16, 4, side=16, generator=torch.Generator().manual_seed(0))
    x_NCHW = torch.zeros(16, 3, 16, 16)
    whole = augmentation.apply(x_NCHW, views, side=16).unflatten(0, (16, 4))
    noisy = whole[views.noisy_NA]
    assert 20 < len(noisy) < 44 and (whole[~views.noisy_NA] == 0).all()
    assert noisy.mean().item() == pytest.approx(0.5, abs=0.01) and noisy.std().item() == pytest.approx(0.1, abs=0.01)
    part = augmentation.apply(x_NCHW[3:5], views, images=slice(3, 5), copies=slice(1, 3), side=16)
    torch.testing.assert_close(part, whole[3:5, 1:3].flatten(0, 1))


# --- the whole method ---------------------------------------------------------------------------------------------------


@pytest.fixture
def toy_backbone(toy):
    return toy.toy_net(None, torch.device('cpu'))


@pytest.fixture
def task(toy, toy_backbone, tmp_path):
    return Task(train=toy.toy_data(None).train, ipc=2, seed=0, backbone=toy_backbone, store=FeatureStore(tmp_path))


SMALL = {'num_updates': 10, 'level_every': 2, 'num_augmentations': 2, 'num_views': 2, 'log_every': 4}


@pytest.mark.parametrize('chunk_size', [1, 2, 6, 100])
def test_chunks_give_the_same_gradient_as_one_pass(toy_backbone, chunk_size):
    generator = torch.Generator().manual_seed(0)
    pyramid = Pyramid(5, image_size=9, start_size=4, decorrelate=True, seed=0)
    augmentation = Augmentation()
    views = augmentation.sample(5, 3, side=9, generator=generator)

    def gradients(size):
        for level in pyramid.levels:
            level.grad = None
        loss = _backward(pyramid, lambda f: f.square().mean(), views, augmentation, toy_backbone, Chunking(3, size))
        return [loss, *(level.grad.clone() for level in pyramid.levels)]

    for whole, chunked in zip(gradients(None), gradients(chunk_size), strict=True):
        assert (chunked - whole).norm() <= 1e-5 * whole.norm()


def test_distilled_images_match_the_real_gradient_better_than_noise(task):
    changed = {'num_updates': 60, 'level_every': 5, 'learning_rate': 0.1, 'log_every': 1}
    end = lgm(task, **{**SMALL, **changed})
    curve = [loss for _, loss in end.curves['distill/meta_loss']]
    first, last = curve[0], curve[-1]
    assert last < 0.5 * first
    assert end.images_NHWC.shape == (12, 9, 9, 3) and end.images_NHWC.dtype == np.uint8
    assert end.labels_N.tolist() == [c for c in range(6) for _ in range(2)]


def test_equal_seeds_give_equal_images_and_other_seeds_others(task):
    again = dataclasses.replace(task, seed=1)
    assert lgm(task, **SMALL).hash == lgm(task, **SMALL).hash != lgm(again, **SMALL).hash


@pytest.mark.parametrize(
    'settings',
    [
        {'parameterization': 'pixels'}, {'decorrelate': False}, {'crop': False, 'flip_prob': 0.0, 'noise_prob': 0.0},
        {'real_gradient': 'full', 'num_probes': 3}, {'init': 'real'}, {'chunk_size': 3}, {'class_balanced': True},
        {'num_views': None}, {'drop_last': False}, {'frame': 'whole'}, {'interpolation': 'bicubic'}, {'overhang': False},
        {'level_delay': 0}, {'moments': 0.1},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_every_part_can_be_switched_and_changes_the_images(task, settings):
    changed = lgm(task, **{**SMALL, **settings})
    assert len(changed) == 12
    if 'chunk_size' not in settings:
        assert changed.hash != lgm(task, **SMALL).hash


def test_statistics_of_all_views_are_those_of_ten_cached_views_where_updates_take_fresh_ones(task):
    fresh, ten, two = (dm(task, **{**SMALL, 'num_views': number}).hash for number in (None, 10, 2))
    assert fresh == ten != two


def test_a_loss_that_is_not_finite_names_its_update():
    losses = [torch.tensor(value) for value in (0.5, 0.4, float('nan'), float('nan'))]
    with pytest.raises(FloatingPointError, match='nan at update 7;'):
        _check_finite(losses, last_step=7)  # updates 5 to 8, counted from 1
