"""LGM's rivals: their losses computed by hand, and their common ground with LGM."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_synthesis import SMALL, _real

from bench.distillation.task import Task
from bench.features.store import FeatureStore
from bench.machine.processes import ALONE
from methods._synthesis.distil import Synthetic
from methods._synthesis.gradient import gradient_distance, probe_gradient
from methods._synthesis.real import _k_means
from methods.clp import clp
from methods.dm import dm
from methods.frf import frf
from methods.lgm import lgm
from methods.lgm_plus import feature_targets, lgm_plus
from methods.sfm import residuals, sfm

pytestmark = pytest.mark.numerical


def features(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def synthetic(f_AND, *, ipc=1):
    count = f_AND.shape[1]
    labels_N = torch.arange(count // ipc).repeat_interleave(ipc)
    return Synthetic(f_AND, labels_N, 0, count, count // ipc, ALONE)


def loss_of(method, real, **settings):
    """Return the loss of a method on its own."""
    return method.__wrapped__(real, **settings)


@pytest.mark.parametrize('ipc', [1, 3])
def test_sfm_is_lgm_at_probes_of_weight_zero(ipc):
    """On class-balanced, un-augmented, full real data; probes of weight 0 have only the class means to tell."""
    real_ND, f_AND = features(20, 6), features(1, 5 * ipc, 6, seed=1).requires_grad_()
    labels_N = torch.arange(5).repeat(4)
    set_of = synthetic(f_AND, ipc=ipc)
    zero_PCD = torch.zeros(1, 5, 6, dtype=torch.float64)
    target_PCD = probe_gradient(real_ND, F.one_hot(labels_N, 5).double(), zero_PCD)
    g_PCD = probe_gradient(f_AND[0], set_of.y_NC, zero_PCD)
    # at W = 0 the bias' gradient is 1/C - 1/C = 0 for balanced classes, so the weights' is all there is
    assert target_PCD[..., -1].abs().max() < 1e-12
    lgm_loss = gradient_distance(g_PCD, target_PCD)

    real_CD = torch.stack([real_ND[labels_N == c].mean(dim=0) for c in range(5)])
    found, wanted = residuals(set_of.class_means()), residuals(real_CD)
    sfm_loss = 1 - F.cosine_similarity(found.flatten(), wanted.flatten(), dim=0)
    assert sfm_loss.item() == pytest.approx(lgm_loss.item(), rel=1e-9)
    (ours,) = torch.autograd.grad(sfm_loss, f_AND, retain_graph=True)
    (theirs,) = torch.autograd.grad(lgm_loss, f_AND)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_residuals_are_the_mean_of_the_other_classes_minus_ones_own():
    m_CD = torch.tensor([[1.0, 0.0], [3.0, 2.0], [5.0, 4.0]])
    torch.testing.assert_close(residuals(m_CD), torch.tensor([[3.0, 3.0], [0.0, 0.0], [-3.0, -3.0]]))


def test_class_means_average_views_and_images_of_a_class():
    f_AND = torch.tensor([[[0.0], [2.0], [10.0], [14.0]], [[4.0], [6.0], [10.0], [14.0]]])
    torch.testing.assert_close(synthetic(f_AND, ipc=2).class_means(), torch.tensor([[3.0], [12.0]]))


def matched(real, *, views=False):
    """Return a synthetic set whose features are the real class means."""
    return synthetic(real.class_means(views=views)[None])


@pytest.mark.parametrize(('method', 'views'), [(sfm, False), (frf, False), (dm, True)])
def test_means_that_are_matched_cost_nothing_and_others_do(method, views):
    real = _real()
    loss = loss_of(method, real)
    assert loss(matched(real, views=views)).item() == pytest.approx(0, abs=1e-5)
    assert loss(synthetic(features(2, 3, 3, seed=5).float())).item() > 0.1


def test_dm_is_the_squared_distance_in_units_of_the_classes_spread():
    real = _real()
    m_CD = real.class_means(views=True)
    spread = sum((row - m_CD.mean(dim=0)).square().sum() for row in m_CD) / 3
    moved = synthetic((m_CD + torch.tensor([0.0, 2.0, 0.0]))[None])
    assert loss_of(dm, real)(moved).item() == pytest.approx((4 / spread).item(), rel=1e-5)


def test_frf_weighs_images_alike_whatever_their_length():
    real = _real()
    m_CD = real.class_means()
    wanted = residuals(m_CD)
    f_CD = torch.randn(3, 3, generator=torch.Generator().manual_seed(1))
    expected = sum(1 - F.cosine_similarity(residuals(f_CD)[c], wanted[c], dim=0) for c in range(3)) / 3
    assert loss_of(frf, real)(synthetic(f_CD[None])).item() == pytest.approx(expected.item(), rel=1e-5)


def test_frf_gives_the_images_of_a_class_targets_of_their_own():
    real = _real()
    clusters_CKD = real.cluster_means(2)
    assert not torch.allclose(clusters_CKD[0, 0], clusters_CKD[0, 1])
    apart = synthetic(clusters_CKD.flatten(0, 1)[None], ipc=2)
    same = synthetic(real.class_means().repeat_interleave(2, dim=0)[None], ipc=2)
    assert loss_of(frf, real)(apart) < 0.05 < loss_of(frf, real)(same)


def test_clusters_are_found_and_do_not_depend_on_chance():
    f_ND = torch.tensor([[0.0, 0.1], [0.1, 0.0], [5.0, 5.1], [5.1, 5.0], [9.0, 0.0]])
    found = sorted(_k_means(f_ND, 3).tolist())
    np.testing.assert_allclose(found, [[0.05, 0.05], [5.05, 5.05], [9.0, 0.0]], atol=1e-6)
    torch.testing.assert_close(_k_means(f_ND, 1)[0], f_ND.mean(dim=0))
    assert _k_means(f_ND[:2], 4).shape == (4, 2) and _k_means(f_ND[:2], 4).isfinite().all()


def test_clp_is_the_cross_entropy_of_the_ridge_probe():
    f_VND = np.random.default_rng(0).normal(size=(1, 10, 3)).astype(np.float32)
    real = _real(f_VND, np.array([0] * 6 + [1] * 3 + [2]))
    f_AND = features(1, 3, 3, seed=2).float()
    loss = loss_of(clp, real, strength=0.5, temperature=0.2, batch_size=None)(synthetic(f_AND))
    z_ND, labels_N = f_AND[0], real.labels_N
    # the primal normal equations, where the method solves the dual ones
    ridge = 0.5 * z_ND.square().sum(dim=1).mean() * torch.eye(3)
    w_DC = torch.linalg.solve(z_ND.T @ z_ND + ridge, z_ND.T @ torch.eye(3))
    p_NC = torch.softmax(torch.from_numpy(f_VND[0]) @ w_DC / 0.2, dim=1)
    each_N = -p_NC[torch.arange(10), labels_N].log()
    expected = sum(each_N[labels_N == c].mean() for c in range(3)) / 3
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_loss_of_clp_falls_when_the_classes_come_apart():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 6)) * 3
    labels_N = np.repeat(np.arange(3), 5)
    f_VND = (centres[labels_N] + rng.normal(size=(1, 15, 6)) * 0.1).astype(np.float32)
    loss = loss_of(clp, _real(f_VND, labels_N))
    good = synthetic(torch.from_numpy(centres).float()[None])
    bad = synthetic(torch.from_numpy(centres[[1, 2, 0]]).float()[None])
    assert loss(good) < 0.05 < 1.0 < loss(bad)


def test_lgm_plus_aims_at_the_ridge_classifiers_directions_at_the_classes_distance():
    real = _real()
    target_CD, spread = feature_targets(real, strength=0.7)
    m_CD = real.class_means(views=True).double()
    mean_D = m_CD.mean(dim=0)
    z_MD = torch.cat([(view.double() - mean_D) for view in real.views_VND.f_VND])
    weights_M = (1 / (3 * real.counts_C[real.labels_N].double())).repeat(2) / 2
    covariance = (weights_M[:, None] * z_MD).T @ z_MD
    direction = (m_CD - mean_D) @ torch.linalg.inv(covariance + 0.7 * covariance.trace() / 3 * torch.eye(3))
    cosine = F.cosine_similarity((target_CD.double() - mean_D).flatten(), direction.flatten(), dim=0)
    assert cosine.item() == pytest.approx(1, abs=1e-5)
    assert (target_CD - target_CD.mean(dim=0)).square().sum(dim=1).mean().item() == pytest.approx(spread.item(), rel=0.2)
    assert (target_CD - mean_D.float()).square().sum(dim=1).mean().item() == pytest.approx(spread.item(), rel=1e-4)
    # a strong ridge leaves the class means
    torch.testing.assert_close(feature_targets(real, strength=1e9)[0], m_CD.float(), rtol=1e-4, atol=1e-4)


# --- on the toy task ----------------------------------------------------------------------------------------------------


@pytest.fixture
def task(toy, tmp_path):
    backbone = toy.toy_net(None, torch.device('cpu'))
    return Task(train=toy.toy_data(None).train, ipc=1, seed=0, backbone=backbone, store=FeatureStore(tmp_path))


@pytest.mark.parametrize('method', [sfm, frf, dm, clp, lgm_plus], ids=lambda method: method.__name__)
def test_each_loss_falls_and_the_images_differ_from_lgms(task, method):
    settings = {**SMALL, 'num_updates': 60, 'level_every': 5, 'learning_rate': 0.1, 'log_every': 1}
    made = method(task, **settings)
    losses = [loss for _, loss in made.curves['distill/meta_loss']]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5]) and math.isfinite(losses[-1])
    assert made.hash != lgm(task, **settings).hash


def test_soft_labels_keep_the_class_on_top_and_leave_the_images_alone(task):
    hard, soft = lgm(task, **SMALL), lgm(task, **SMALL, soft_labels=True, label_temperature=0.5)
    assert (hard.label_kind, soft.label_kind) == ('hard', 'soft')
    np.testing.assert_array_equal(hard.images_NHWC, soft.images_NHWC)
    np.testing.assert_array_equal(soft.soft_labels_NC.argmax(axis=1), hard.labels_N)
    assert soft.soft_labels_NC.max(axis=1).mean() < 0.99


def test_a_compiled_backbone_is_the_same_backbone(task, monkeypatch):
    """With the compiler left out: it takes longer than all other tests of this file."""
    compiled = []
    monkeypatch.setattr(torch, 'compile', lambda network: compiled.append(network) or network)
    assert lgm(task, **SMALL, compile_backbone=True).hash == lgm(task, **SMALL).hash
    assert compiled == [task.backbone.network]
