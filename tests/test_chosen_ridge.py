"""ridge-v2: ridge regression with the strength that is best on training images, against least squares and known answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import all_records
from test_probe import GivenFeatures, task_of

from bench.core.types import Split
from bench.probes import chosen_ridge
from bench.probes.chosen_ridge import STRENGTHS, chosen_ridge_probe, folds, sample, solve, sums, total

pytestmark = pytest.mark.numerical

D, C = 7, 3


def known_task(f_ND, labels, f_real_ND, labels_real, f_test_ND, labels_test, *, own_N=None, is_full=False):
    """A task whose training split has given features."""
    task = task_of(np.asarray(f_ND)[None], np.eye(C)[labels], f_test_ND, labels_test, is_full=is_full, precision='float64')
    arrays = {**task.store.f_VND, 'real': np.asarray(f_real_ND)[None]}
    real = Split('real', range(len(labels_real)), np.asarray(labels_real), task.train.class_names, 'r')
    return replace(task, store=GivenFeatures(**arrays), real=real, own_N=own_N)


def drawn(generator, count, *, noise, gap=4.0):
    """Classes differ in the first two features; the third is noise of standard deviation `noise`, the rest of 1."""
    labels = generator.integers(C, size=count)
    f_ND = generator.normal(size=(count, D))
    f_ND[:, 2] *= noise
    f_ND[:, :2] += gap * np.array([[0, 0], [1, 0], [0, 1]])[labels]
    return f_ND, labels


def sums_of(f_ND, labels, fold_N=None, count=1):
    fold_N = np.zeros(len(f_ND), np.int64) if fold_N is None else fold_N
    return sums(f_ND, lambda rows: torch.from_numpy(np.eye(C)[labels])[rows], fold_N, count, num_classes=C)


# --- ridge regression at many strengths -------------------------------------------------------------------------------


@pytest.mark.parametrize('count', [4, D, 40])
def test_every_strength_is_penalised_least_squares(count):
    f_ND, labels = drawn(np.random.default_rng(0), count, noise=3)
    f_ND += 100
    z_ND, y_NC = f_ND - f_ND.mean(axis=0), np.eye(C)[labels]
    strengths = np.array([1e-4, 0.1, 1])
    w_SCD, b_SC = solve(*sums_of(f_ND, labels), strengths)
    for strength, w_CD, b_C in zip(strengths, w_SCD.numpy(), b_SC.numpy(), strict=True):
        penalty = np.sqrt(strength * np.square(z_ND).sum()) * np.eye(D)
        rows, wanted = np.concatenate([z_ND, penalty]), np.concatenate([y_NC - y_NC.mean(axis=0), np.zeros((D, C))])
        np.testing.assert_allclose(w_CD, np.linalg.lstsq(rows, wanted, rcond=None)[0].T, atol=1e-9)
        np.testing.assert_allclose(w_CD @ f_ND.mean(axis=0) + b_C, y_NC.mean(axis=0), atol=1e-9)


def test_the_smallest_strength_is_least_squares_on_whitened_features():
    f_ND, labels = drawn(np.random.default_rng(1), 200, noise=50)
    z_ND = f_ND - f_ND.mean(axis=0)
    value_D, vector_DD = np.linalg.eigh(np.cov(z_ND.T))
    white_ND = z_ND @ vector_DD / np.sqrt(value_D)
    expected_NC = white_ND @ np.linalg.lstsq(white_ND, np.eye(C)[labels], rcond=None)[0] + np.eye(C)[labels].mean(axis=0)
    w_SCD, b_SC = solve(*sums_of(f_ND, labels), STRENGTHS)
    np.testing.assert_allclose(f_ND @ w_SCD[0].numpy().T + b_SC[0].numpy(), expected_NC, atol=1e-4)


@pytest.mark.parametrize('block', [7, 1000])
def test_sums_without_a_fold_are_those_of_the_other_images(monkeypatch, block):
    monkeypatch.setattr(chosen_ridge, '_BLOCK', block)
    f_ND, labels = drawn(np.random.default_rng(2), 60, noise=3)
    f_ND += 1000
    fold_N = np.arange(60) % 3
    parts = sums_of(f_ND, labels, fold_N, 3)
    whole, others = total(parts), fold_N != 1
    for found, mine in ((whole, f_ND), (whole.without(parts[1]), f_ND[others])):
        np.testing.assert_allclose(found.covariance_DD, np.cov(mine.T, ddof=0), atol=1e-8)
    (direct,) = sums_of(f_ND[others], labels[others])
    torch.testing.assert_close(solve(whole.without(parts[1]), STRENGTHS), solve(direct, STRENGTHS), rtol=1e-5, atol=1e-6)
    means = [f_ND[labels == c].mean(axis=0) for c in range(C)]
    np.testing.assert_allclose(whole.class_means_CD, means)


def test_features_without_variance_have_no_weights():
    w_SCD, b_SC = solve(*sums_of(np.full((1, D), 5.0), np.array([1])), STRENGTHS)
    assert (w_SCD == 0).all() and b_SC[:, 1].tolist() == [1.0] * len(STRENGTHS)


def test_a_feature_that_is_not_finite_has_no_ridge_regression():
    f_ND, labels = drawn(np.random.default_rng(0), 9, noise=1)
    f_ND[3, 2] = np.nan
    with pytest.raises(FloatingPointError, match='not finite'):
        solve(*sums_of(f_ND, labels), STRENGTHS)


# --- the choice -------------------------------------------------------------------------------------------------------


def accuracy_of(strength, f_ND, labels, on_ND, labels_on):
    w_SCD, b_SC = solve(*sums_of(f_ND, labels), np.array([strength]))
    return ((on_ND @ w_SCD[0].numpy().T + b_SC[0].numpy()).argmax(axis=1) == labels_on).mean()


@pytest.mark.parametrize('noise', [0.1, 30])
def test_a_distilled_set_gets_the_strength_that_is_best_on_the_training_split(noise):
    generator = np.random.default_rng(3)
    made, real, test = (drawn(generator, count, noise=noise) for count in (12, 300, 400))
    found = chosen_ridge_probe(known_task(*made, *real, *test))
    each = [accuracy_of(s, *made, *real) for s in STRENGTHS]
    assert found.facts['strength'] == max(s for s, value in zip(STRENGTHS, each, strict=True) if value == max(each))
    assert found.facts['strength_top1'] == pytest.approx(max(each)) and min(each) < max(each)
    assert found.facts['strength_images'] == 300 and found.facts['num_train'] == 12
    assert found.correct_RN.mean() == pytest.approx(accuracy_of(found.facts['strength'], *made, *test))


def test_the_test_split_does_not_choose():
    generator = np.random.default_rng(4)
    made, real, test = (drawn(generator, count, noise=10) for count in (12, 300, 400))
    chosen = [chosen_ridge_probe(known_task(*made, *real, test[0], wrong)).facts for wrong in (test[1], 2 - test[1])]
    assert chosen[0] == chosen[1]


def test_images_of_the_set_do_not_judge_it():
    generator = np.random.default_rng(5)
    real, test = drawn(generator, 100, noise=10), drawn(generator, 50, noise=10)
    own_N = np.arange(0, 100, 4)
    found = chosen_ridge_probe(known_task(real[0][own_N], real[1][own_N], *real, *test, own_N=own_N)).facts
    others = np.setdiff1d(np.arange(100), own_N)
    each = [accuracy_of(s, real[0][own_N], real[1][own_N], real[0][others], real[1][others]) for s in STRENGTHS]
    assert (found['strength_images'], found['strength_top1']) == (75, pytest.approx(max(each)))


def test_the_whole_split_is_judged_by_probes_that_have_not_seen_the_image():
    """Labels are drawn at random: seen images would be classified by least squares far better than by chance."""
    generator = np.random.default_rng(6)
    f_ND, labels = generator.normal(size=(30, 20)), generator.integers(C, size=30)
    found = chosen_ridge_probe(known_task(f_ND, labels, f_ND, labels, f_ND, labels, own_N=np.arange(30), is_full=True))
    assert found.facts['strength_images'] == 30 and found.facts['strength_top1'] < 0.6
    assert accuracy_of(STRENGTHS[0], f_ND, labels, f_ND, labels) > 0.8


def test_of_equal_strengths_the_largest_is_taken():
    made = (np.eye(C, D) * 9, np.arange(C))
    assert chosen_ridge_probe(known_task(*made, *made, *made)).facts['strength'] == STRENGTHS[-1]


def test_judges_are_limited_and_always_the_same(monkeypatch):
    monkeypatch.setattr(chosen_ridge, 'MOST_JUDGES', 40)
    generator = np.random.default_rng(7)
    made, real, test = (drawn(generator, count, noise=3) for count in (12, 300, 20))
    assert chosen_ridge_probe(known_task(*made, *real, *test)).facts['strength_images'] == 40
    rows_N = sample(np.arange(300), 40)
    assert len(set(rows_N)) == 40 and rows_N.tolist() == sorted(sample(np.arange(300), 40))
    whole = chosen_ridge_probe(known_task(*real, *real, *test, own_N=np.arange(300), is_full=True))
    assert whole.facts['strength_images'] == 40


def test_folds_share_every_class():
    labels = np.random.default_rng(8).permutation(np.repeat(np.arange(4), [1, 2, 10, 13]))
    fold_N = folds(labels, 5, 'here')
    counts = [np.bincount(fold_N[labels == c], minlength=5).tolist() for c in range(4)]
    assert counts == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [2] * 5, [3, 3, 3, 2, 2]]
    assert (folds(labels, 5, 'here') == fold_N).all() and (folds(labels, 5, 'there') != fold_N).any()


# --- in a run ---------------------------------------------------------------------------------------------------------


def test_records_keep_the_strength_and_full_data_its_training_accuracy(run_bench, tmp_path):
    outcome = run_bench(bind=[
        "run.methods = ['random', 'full']", "run.protocol = ['ridge-v2', 'paper-v1']", 'paper_v1.full_epochs = 2',
        'paper_v1.full_views = 1',
    ])  # fmt: skip
    assert outcome.status == 0, outcome
    facts = {(r.cell.method, r.protocol.name.partition('+')[0]): r.probe_facts for r in all_records(tmp_path / 'results')}
    # 39 training images, of which six are the random set
    assert [facts[method, 'ridge-v2']['strength_images'] for method in ('random', 'full')] == [33, 39]
    assert all(facts[method, 'ridge-v2']['strength'] in STRENGTHS for method in ('random', 'full'))
    assert 0 < facts['full', 'paper-v1']['train_top1'] <= 1 and 'train_top1' not in facts['random', 'paper-v1']
