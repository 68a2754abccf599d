"""Probe protocols against autograd, closed forms and answers known beforehand."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import Pictures

from bench.core.hashing import derive_seed
from bench.core.types import Split
from bench.features.encode import release
from bench.features.store import FeatureStore
from bench.features.views import RandomView
from bench.probes import adam, nearest, ridge
from bench.probes.adam import adam_probe
from bench.probes.nearest import nearest_probe
from bench.probes.ridge import ridge_probe
from bench.probes.task import ProbeTask, score

pytestmark = pytest.mark.numerical

D = 7
CPU = torch.device('cpu')


class GivenFeatures:
    """Stands in for the feature store: hands out given arrays and notes what was asked for."""

    def __init__(self, **f_VND):
        self.f_VND, self.asked = f_VND, []

    def features(self, split, backbone, view, *, num_views=1):
        self.asked.append((split.name, num_views))
        f_VND = self.f_VND[split.name]
        return f_VND[:num_views] if len(f_VND) >= num_views else np.repeat(f_VND, num_views, axis=0)


def task_of(f_VND, y_NC, f_test_ND=None, labels_test=None, *, is_full=False, precision='float32'):
    y_NC = np.asarray(y_NC, dtype=np.float32)
    f_VND = np.asarray(f_VND, dtype=precision)
    f_test_ND = f_VND[0] if f_test_ND is None else np.asarray(f_test_ND, dtype=precision)
    labels_test = y_NC.argmax(axis=1) if labels_test is None else np.asarray(labels_test)
    names = tuple(map(str, range(y_NC.shape[1])))
    return ProbeTask(
        train=Split('distilled', range(len(y_NC)), y_NC.argmax(axis=1), names, 'd'), targets_NC=y_NC, is_full=is_full,
        test=Split('test', range(len(labels_test)), labels_test, names, 't'),
        backbone=SimpleNamespace(
            input_side=8, interpolation='bilinear', device=CPU, feature_dim=f_VND.shape[2], dtype=getattr(torch, precision)
        ),
        store=GivenFeatures(distilled=f_VND, test=f_test_ND[None]),
    )  # fmt: skip


def random_task(count=9, classes=3, views=4, soft=False, seed=0, **changes):
    generator = np.random.default_rng(seed)
    y_NC = np.eye(classes)[np.arange(count) % classes]
    if soft:
        y_NC = generator.multinomial(64, generator.dirichlet(np.ones(classes), size=count)) / 64  # float32 holds them
    return task_of(generator.normal(size=(views, count, D)), y_NC, **changes)


@pytest.fixture
def weights(monkeypatch):
    """The weights and biases of every probe that is scored, in order."""
    found = []

    def noting(task, w_RCD, b_RC, **named):
        found.append((w_RCD.clone(), b_RC.clone()))
        return score(task, w_RCD, b_RC, **named)

    for module in (adam, ridge):
        monkeypatch.setattr(module, 'score', noting)
    return found


# --- adam -------------------------------------------------------------------------------------------------------------


def reference(task, *, repeat, epochs, batch_size, rate_per_256, init_sigma):
    """Train one probe as a textbook would: autograd, torch's cross entropy, Adam and cosine schedule, in float64."""
    generator = torch.Generator().manual_seed(derive_seed('probe', repeat))
    f_VND, y_NC = torch.from_numpy(task.store.f_VND['distilled']).double(), torch.from_numpy(task.targets_NC).double()
    count, classes = y_NC.shape
    linear = torch.nn.Linear(f_VND.shape[2], classes).double()
    with torch.no_grad():
        linear.weight.copy_(init_sigma * torch.randn(classes, f_VND.shape[2], generator=generator))
        linear.bias.zero_()
    batch_size = min(batch_size, count)
    optimizer = torch.optim.Adam(linear.parameters(), lr=rate_per_256 * batch_size / 256)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * math.ceil(count / batch_size))
    for _ in range(epochs):
        for rows in torch.randperm(count, generator=generator).split(batch_size):
            views = torch.randint(len(f_VND), rows.shape, generator=generator)
            optimizer.zero_grad()
            F.cross_entropy(linear(f_VND[views, rows]), y_NC[rows]).backward()
            optimizer.step()
            scheduler.step()
    return linear.weight.detach(), linear.bias.detach()


@pytest.mark.parametrize('soft', [False, True])
@pytest.mark.parametrize('precision, rtol, atol', [('float32', 1e-3, 1e-4), ('float64', 1e-9, 1e-12)])
def test_the_adam_probe_is_what_autograd_and_adam_would_make(weights, soft, precision, rtol, atol):
    task = random_task(soft=soft, precision=precision)
    rules = {'epochs': 30, 'batch_size': 4, 'rate_per_256': 1.0, 'init_sigma': 0.1}
    adam_probe(task, repeats=3, num_views=4, **rules)
    w_RCD, b_RC = weights[0]
    for repeat in range(3):
        w_CD, b_C = reference(task, repeat=repeat, **rules)
        torch.testing.assert_close(w_RCD[repeat].double(), w_CD, rtol=rtol, atol=atol)
        torch.testing.assert_close(b_RC[repeat].double(), b_C, rtol=rtol, atol=atol)


@pytest.mark.parametrize(
    'is_full, count, epochs, batches, peak',
    [
        (False, 101, 1000, [100, 1], 1e-3 * 100 / 256),
        (False, 20, 1000, [20], 1e-3 * 20 / 256),
        (True, 300, 100, [128, 128, 44], 5e-4),
    ],
)
def test_learning_rate_and_batches_are_those_of_the_paper(monkeypatch, is_full, count, epochs, batches, peak):
    steps = []

    def noting(w_RCD, b_RC, optimizer, f_RBD, y_RBC):
        (group,) = optimizer.param_groups
        steps.append((f_RBD.shape[1], group['lr'], group['weight_decay']))
        return torch.zeros(())

    monkeypatch.setattr(adam, '_adam_step', noting)
    task = random_task(count=count, views=1, is_full=is_full)
    adam_probe(task, repeats=1)
    sizes, rates, decays = zip(*steps, strict=True)
    assert list(sizes) == batches * epochs and set(decays) == {0}
    total = len(steps)
    np.testing.assert_allclose(rates, [peak / 2 * (1 + math.cos(math.pi * i / total)) for i in range(total)], rtol=1e-9)
    assert task.store.asked[0] == ('distilled', 8 if is_full else 64)


def test_repeats_are_independent_and_a_run_is_deterministic(weights):
    rules = {'epochs': 4, 'batch_size': 4, 'num_views': 4, 'rate_per_256': 0.1}
    first, second = adam_probe(random_task(), repeats=2, **rules), adam_probe(random_task(), repeats=2, **rules)
    adam_probe(random_task(), repeats=5, **rules)
    two, same, five = (w_RCD for w_RCD, _ in weights)
    torch.testing.assert_close(two, same, rtol=0, atol=0)
    torch.testing.assert_close(two, five[:2])
    assert len({w_CD.numpy().tobytes() for w_CD in five}) == 5
    assert first.curves == second.curves and (first.correct_RN == second.correct_RN).all()


def test_each_repeat_has_a_pool_of_its_own_but_on_the_whole_split(toy, tmp_path, weights, monkeypatch):
    pools, features = [], FeatureStore.features

    def noting(store, split, backbone, view, **named):
        found = features(store, split, backbone, view, **named)
        if isinstance(view, RandomView):
            pools.append(np.array(found))
        return found

    monkeypatch.setattr(FeatureStore, 'features', noting)
    data, store = toy.toy_data(None), FeatureStore(tmp_path)
    rules = {'epochs': 3, 'full_epochs': 3, 'num_views': 2, 'full_views': 2}
    for is_full, count in ((False, 3), (True, 1)):
        task = ProbeTask(data.train, None, is_full, data.test, toy.toy_net(None, CPU), store)
        pools.clear()
        adam_probe(task, repeats=3, **rules)
        assert len(pools) == len({pool.tobytes() for pool in pools}) == count
        encoded = store.images_encoded
        adam_probe(task, repeats=2, **rules)
        assert store.images_encoded == encoded  # the first repeats have the pools that they had before
        torch.testing.assert_close(weights[-1][0], weights[-2][0][:2])


def test_the_curve_starts_at_the_loss_of_a_blank_probe():
    found = adam_probe(random_task(classes=4), repeats=2, epochs=250, init_sigma=0.0, num_views=4, rate_per_256=1.0)
    curve = found.curves['probe/train_loss']
    assert curve[0] == (1, pytest.approx(math.log(4), rel=1e-5))
    assert [epoch for epoch, _ in curve] == list(range(1, 251, 2)) and curve[-1][1] < 0.7 * curve[0][1]


def test_cached_views_and_fresh_views_agree_where_all_views_are_alike(toy, tmp_path, weights, monkeypatch):
    """Plain pictures look the same in every crop and mirror, so only how views are supplied can differ."""
    colours = np.random.default_rng(0).integers(0, 256, (6, 1, 1, 3))
    images = Pictures(np.broadcast_to(colours, (6, 12, 12, 3)).copy())
    split = Split('train', images, np.arange(6), tuple('abcdef'), 'plain')
    for is_full in (False, True):
        task = ProbeTask(
            split, np.eye(6, dtype=np.float32), is_full, split, toy.toy_net(None, CPU), FeatureStore(tmp_path)
        )
        for views, at_once in ((3, 1), (None, 1 << 26), (None, 1)):
            monkeypatch.setattr(adam, '_FRESH_FLOATS', at_once)
            rules = {'full_views' if is_full else 'num_views': views, 'full_epochs' if is_full else 'epochs': 5}
            encoded = task.store.images_encoded
            adam_probe(task, repeats=2, rate_per_256=1.0, **rules)
            if views is None:
                assert task.store.images_encoded - encoded == 5 * 6 * (1 if is_full else 2)
        (pooled, _), (fresh, _), (one_by_one, _) = weights[-3:]
        torch.testing.assert_close(fresh, pooled, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(one_by_one, fresh, rtol=1e-4, atol=1e-5)


def test_a_probe_learns_what_can_be_told_apart():
    generator = np.random.default_rng(0)
    centres = 5 * np.eye(3, D)
    labels = np.arange(60) % 3
    test = centres[labels] + generator.normal(size=(60, D)) * 0.5
    task = task_of(centres[None], np.eye(3), test, labels)
    for found in (adam_probe(task, repeats=2, epochs=50, num_views=1, rate_per_256=10.0), ridge_probe(task)):
        assert found.correct_RN.all() and found.facts == {'num_train': 3}
    wrong = task_of(centres[None], np.eye(3), test, (labels + 1) % 3)
    assert not ridge_probe(wrong).correct_RN.any()


def test_weights_that_are_not_finite_are_an_error():
    task = random_task()
    task.store.f_VND['distilled'][:, 0, 0] = np.nan
    with pytest.raises(FloatingPointError, match='probe weights are not finite'):
        adam_probe(task, repeats=1, epochs=2, num_views=4)


@pytest.mark.parametrize('is_full', [False, True])
def test_labels_are_spelled_out_a_batch_at_a_time_and_make_the_same_probe(weights, monkeypatch, is_full):
    asked, targets_of = [], ProbeTask.targets_of

    def noting(task, rows, **named):
        found = targets_of(task, rows, **named)
        asked.append(found.shape[:-1].numel())
        return found

    monkeypatch.setattr(ProbeTask, 'targets_of', noting)
    monkeypatch.setattr(ridge, '_BLOCK', 16)
    spelled = random_task(count=40, classes=8, is_full=is_full)
    hard = replace(spelled, targets_NC=None)
    rules = {'repeats': 2, 'batch_size': 10, 'full_batch_size': 10, 'num_views': 4, 'full_views': 4, 'epochs': 3}
    for train in (lambda task: adam_probe(task, full_epochs=3, rate_per_256=1.0, **rules), ridge_probe):
        weights.clear()
        scores = [train(task) for task in (spelled, hard)]
        for one, other in zip(*weights, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)
        assert scores[0].curves == scores[1].curves and (scores[0].correct_RN == scores[1].correct_RN).all()
    assert max(asked) == 20  # two repeats of ten; ridge takes blocks of 16


def test_a_pool_that_is_let_go_now_and_then_makes_the_same_probe(toy, tmp_path, weights, monkeypatch):
    released = []
    monkeypatch.setattr(adam, 'release', lambda f_VND: released.append(f_VND.shape) or release(f_VND))
    data, backbone = toy.toy_data(None), toy.toy_net(None, CPU)
    task = ProbeTask(data.train, None, False, data.test, backbone, FeatureStore(tmp_path))
    for pool_bytes in (1 << 30, 0):
        monkeypatch.setattr(adam, '_POOL_BYTES', pool_bytes)
        monkeypatch.setattr(adam, '_POOL_ROWS', 100)
        adam_probe(task, repeats=2, epochs=6, num_views=3)
        assert bool(released) == (pool_bytes == 0)
    torch.testing.assert_close(*(w_RCD for w_RCD, _ in weights), rtol=0, atol=0)
    # 39 images x 2 repeats a step: both pools at every second one
    assert released == [(3, len(data.train), 8)] * 2 * 3


# --- scores -----------------------------------------------------------------------------------------------------------


def test_top5_is_counted_from_six_classes_on(monkeypatch):
    assert ridge_probe(random_task(count=10, classes=5)).top5_R is None
    # logits are the features: the label is the r-th best of 7 for test image r
    order = np.stack([np.roll(np.arange(7, 0, -1), r) for r in range(7)])
    task = task_of(np.zeros((1, 7, 7)), np.eye(7), order, [0] * 7)
    found = score(task, torch.eye(7)[None], torch.zeros(1, 7), curves={})
    # rolled by r, class 0 has 7, 1, 2, 3, 4, 5, 6: in the first five unless it has 1 or 2
    assert found.correct_RN.tolist() == [[True] + [False] * 6]
    assert found.top5_R == pytest.approx([5 / 7])


def test_test_images_are_scored_in_blocks_without_losing_any():
    labels = np.arange(9001) % 3
    found = ridge_probe(task_of(np.eye(3)[None], np.eye(3), np.eye(3)[labels], labels))
    assert found.correct_RN.shape == (1, 9001) and found.correct_RN.all()


@pytest.mark.parametrize('precision', ['float32', 'float64'])
def test_ridge_probes_features_in_their_own_precision(toy, tmp_path, weights, precision):
    data = toy.toy_data(None)
    backbone = toy.toy_net(None, CPU, precision=precision)
    task = ProbeTask(data.train, None, False, data.test, backbone, FeatureStore(tmp_path))
    assert ridge_probe(task).correct_RN.mean() > 0.5
    assert [each.dtype for each in weights[0]] == [getattr(torch, precision)] * 2


# --- ridge ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('count', [4, D, 30])
@pytest.mark.parametrize('strength', [0.01, 10.0])
def test_ridge_is_penalised_least_squares_in_its_primal_and_its_dual_form(weights, count, strength):
    """The same problem as ordinary least squares with rows for the penalty, in scaled and centred features."""
    task = random_task(count=count, views=1, soft=True)
    ridge_probe(task, strength=strength)
    w_CD, b_C = (value[0].double().numpy() for value in weights[0])
    f_ND, y_NC = task.store.f_VND['distilled'][0].astype(float), task.targets_NC.astype(float)
    scale = np.sqrt(np.square(f_ND - f_ND.mean(axis=0)).sum(axis=1).mean())
    z_ND = (f_ND - f_ND.mean(axis=0)) / scale
    rows = np.concatenate([z_ND, np.sqrt(strength * count) * np.eye(D)])
    expected_DC = np.linalg.lstsq(rows, np.concatenate([y_NC - y_NC.mean(axis=0), np.zeros((D, 3))]), rcond=None)[0]
    np.testing.assert_allclose(w_CD * scale, expected_DC.T, atol=1e-5)
    np.testing.assert_allclose(f_ND.mean(axis=0) @ w_CD.T + b_C, y_NC.mean(axis=0), atol=1e-5)


@pytest.mark.parametrize('soft', [False, True])
def test_ridge_in_blocks_is_ridge_at_once(weights, monkeypatch, soft):
    task = random_task(count=40, views=1, soft=soft)
    for block in (100, 7):
        monkeypatch.setattr(ridge, '_BLOCK', block)
        ridge_probe(task)
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-6, atol=1e-7)


def test_the_whole_training_split_shares_the_features_that_methods_read(run_bench, tmp_path):
    lines = ("datasets = ['toy_data']", "backbones = ['toy_net']", "methods = ['herding', 'full']", "protocol = 'ridge-v1'")
    assert run_bench(*[f'--gin_bindings=run.{line}' for line in lines]).status == 0
    # the training and the test split, herding's choice
    assert len(list((tmp_path / 'cache' / 'features').iterdir())) == 3


def test_ridge_does_not_care_about_the_scale_or_the_origin_of_features():
    task = random_task(count=12, views=1)
    generator = np.random.default_rng(3)
    test, labels = generator.normal(size=(200, D)), generator.integers(3, size=200)
    plain = ridge_probe(task_of(task.store.f_VND['distilled'], task.targets_NC, test, labels))
    moved = ridge_probe(task_of(50 * task.store.f_VND['distilled'] + 3, task.targets_NC, 50 * test + 3, labels))
    assert (plain.correct_RN == moved.correct_RN).all() and 0 < plain.correct_RN.mean() < 1


# --- nearest neighbour ------------------------------------------------------------------------------------------------


def nearest_by_hand(f_TD, labels_T, f_ND, metric):
    """Return the classes of the distilled images from the nearest to the farthest, for each test image."""
    if metric == 'cosine':
        f_TD, f_ND = (f / np.linalg.norm(f, axis=1, keepdims=True) for f in (f_TD, f_ND))
    distance_NT = np.linalg.norm(f_ND[:, None].astype(float) - f_TD[None].astype(float), axis=2)
    return labels_T[distance_NT.argsort(axis=1)]


@pytest.mark.parametrize('metric', ['cosine', 'euclidean'])
@pytest.mark.parametrize('block', [7, 8192])
def test_nearest_finds_what_all_distances_say(monkeypatch, metric, block):
    monkeypatch.setattr(nearest, '_BLOCK', block)
    monkeypatch.setattr(nearest, '_TEST_BLOCK', 2 * block)
    generator = np.random.default_rng(2)
    f_TD, f_ND = generator.normal(size=(40, D)) + 5, generator.normal(size=(100, D)) + 5  # norms differ, angles are small
    labels = generator.integers(8, size=100)
    task = task_of(f_TD[None], np.eye(8)[np.arange(40) % 8], f_ND, labels)
    found = nearest_probe(task, metric=metric)
    classes_NT = nearest_by_hand(task.store.f_VND['distilled'][0], np.arange(40) % 8, task.store.f_VND['test'][0], metric)
    assert found.correct_RN.tolist() == [(classes_NT[:, 0] == labels).tolist()]
    assert found.top5_R == pytest.approx([(classes_NT[:, :5] == labels[:, None]).any(axis=1).mean()])
    assert 0 < found.correct_RN.mean() < found.top5_R[0] < 1


def test_the_nearest_by_angle_is_not_the_nearest_by_distance():
    # the test image lies beside the first direction, and close to the short second image
    task = task_of([[[9.0, 0.0], [1.0, 1.0]]], np.eye(2), [[2.0, 0.5]], [0])
    assert nearest_probe(task).correct_RN.tolist() == [[True]]
    assert nearest_probe(task, metric='euclidean').correct_RN.tolist() == [[False]]


def test_nearest_takes_the_most_probable_class_and_any_number_of_images():
    soft = np.array([[0.2, 0.8, 0, 0, 0, 0], [0.6, 0.4, 0, 0, 0, 0]])  # two images for six classes
    found = nearest_probe(task_of([[[1.0, 0.0], [0.0, 1.0]]], soft, [[1.0, 0.1], [0.1, 1.0], [1.0, 0.0]], [1, 0, 2]))
    assert found.correct_RN.tolist() == [[True, True, False]] and found.top5_R == pytest.approx([2 / 3])
    hard = replace(random_task(classes=3), targets_NC=None)
    found = nearest_probe(replace(hard, test=replace(hard.train, name='test')))
    assert found.correct_RN.all() and found.top5_R is None, 'each image is nearest to itself'


def test_a_feature_that_is_not_finite_is_nobodys_neighbour():
    task = random_task()
    task.store.f_VND['test'][0, 0, 0] = np.nan
    with pytest.raises(FloatingPointError, match='not finite'):
        nearest_probe(task)
