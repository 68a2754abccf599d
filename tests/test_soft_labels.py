"""Soft labels: a teacher solved by hand, what its temperature does, and the way into a set, a probe and a record."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.distillation import soft_labels
from bench.distillation.distilled_set import DistilledSet
from bench.distillation.soft_labels import teacher_labels, teacher_scores
from bench.probes import adam
from bench.probes.task import score
from bench.results import summary
from bench.results.store import load

pytestmark = pytest.mark.numerical

# Class 0 at -3 and -1, class 1 at 2: balanced mean 0, class means -2 and 2, so the right class leads by 1 at f = -2 and 2
# and the scores are -f/2 and f/2, whatever the strength.
F_N1 = np.array([[-3.0], [-1.0], [2.0]])
LABELS_N = np.array([0, 0, 1])
PLUGIN = '''"""A user's file."""
import numpy as np
from bench.distillation.distilled_set import DistilledSet
from bench.config.registry import register_method
from bench.distillation.soft_labels import teacher_labels

@register_method
def mine(task, *, soft_labels: bool = False):
    """The first image of each class, labelled by its class or by a teacher."""
    indices = np.array([members[0] for members in task.members()])
    plain = DistilledSet(task.train.labels_N[indices], indices_N=indices)
    if not soft_labels:
        return plain
    f_MD = task.features_of(plain.split(task.train))
    soft = teacher_labels(task.features(), task.train.labels_N, f_MD, plain.labels_N, num_classes=6, temperature=1.0)
    return DistilledSet(plain.labels_N, indices_N=indices, soft_labels_NC=soft)
'''


def random_world(count=40, classes=4, dim=7, seed=0):
    """Return f_ND, labels_N (classes of unlike sizes), f_MD and labels_M without any order to them."""
    generator = np.random.default_rng(seed)
    labels_N = np.concatenate([np.arange(classes), generator.integers(classes, size=count - classes) ** 2 // classes])
    f_ND = generator.normal(size=(count, dim)) + 2 * np.eye(classes, dim)[labels_N] + 5
    return f_ND, labels_N, generator.normal(size=(60, dim)) + 5, generator.integers(classes, size=60)


# --- the teacher --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('strength', [1e-3, 0.1, 100.0])
def test_two_classes_solved_by_hand(strength):
    f_M1 = np.array([[-2.0], [0.0], [1.0], [3.0]])
    scores_MC = teacher_scores(F_N1, LABELS_N, f_M1, num_classes=2, strength=strength)
    np.testing.assert_allclose(scores_MC, np.concatenate([-f_M1, f_M1], axis=1) / 2, rtol=1e-12, atol=1e-14)
    soft_MC = teacher_labels(F_N1, LABELS_N, f_M1, [0, 0, 1, 1], num_classes=2, temperature=0.5, strength=strength)
    assert soft_MC.dtype == np.float32
    np.testing.assert_allclose(soft_MC[:, 1], 1 / (1 + np.exp(-f_M1[:, 0] / 0.5)), atol=1e-6)


def test_the_teacher_is_balanced_ridge_regression_up_to_its_unit():
    """The same problem as ordinary least squares with rows for the penalty and a weight for each image."""
    f_ND, labels_N, f_MD, _ = random_world()
    weight_N = 1 / (4 * np.bincount(labels_N)[labels_N])
    assert len(set(weight_N)) > 2 and weight_N.sum() == pytest.approx(1)
    centred_ND = f_ND - weight_N @ f_ND
    scale = np.sqrt(weight_N @ np.square(centred_ND).sum(axis=1))
    root_N1 = np.sqrt(weight_N)[:, None]
    rows = np.concatenate([root_N1 * centred_ND / scale, np.sqrt(0.3) * np.eye(7)])
    targets = np.concatenate([root_N1 * (np.eye(4)[labels_N] - 1 / 4), np.zeros((7, 4))])
    w_DC = np.linalg.lstsq(rows, targets, rcond=None)[0] / scale
    lead = weight_N @ (centred_ND @ w_DC)[np.arange(len(f_ND)), labels_N]
    scores_MC = teacher_scores(f_ND, labels_N, f_MD, num_classes=4, strength=0.3)
    np.testing.assert_allclose(scores_MC, (f_MD - weight_N @ f_ND) @ w_DC / lead, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(scores_MC.sum(axis=1), 0, atol=1e-10)


def test_the_teacher_does_not_care_about_units_class_sizes_or_blocks(monkeypatch):
    f_ND, labels_N, f_MD, _ = random_world()
    expected_MC = teacher_scores(f_ND, labels_N, f_MD, num_classes=4)
    moved_MC = teacher_scores(50 * f_ND - 3, labels_N, 50 * f_MD - 3, num_classes=4)
    twice = np.concatenate([np.arange(len(f_ND)), np.flatnonzero(labels_N == 2)])
    doubled_MC = teacher_scores(f_ND[twice], labels_N[twice], f_MD, num_classes=4)
    monkeypatch.setattr(soft_labels, '_BLOCK', 7)
    blocks_MC = teacher_scores(f_ND, labels_N, f_MD, num_classes=4)
    for scores_MC in (moved_MC, doubled_MC, blocks_MC):
        np.testing.assert_allclose(scores_MC, expected_MC, rtol=1e-9, atol=1e-10)


def test_classes_that_look_alike_teach_nothing():
    f_ND = np.ones((4, 3))
    soft_MC = teacher_labels(f_ND, np.array([0, 0, 1, 1]), f_ND[:2], [0, 1], num_classes=2, temperature=0.1)
    np.testing.assert_allclose(soft_MC, 0.5, atol=1e-6)


def test_a_class_without_images_and_a_temperature_of_nought_are_refused():
    with pytest.raises(ValueError, match=r'all 3 classes, got \[2, 1, 0\]'):
        teacher_scores(F_N1, LABELS_N, F_N1, num_classes=3)
    with pytest.raises(ValueError, match='must be positive, got 0'):
        teacher_labels(F_N1, LABELS_N, F_N1, LABELS_N, num_classes=2, temperature=0)


# --- temperature and class ----------------------------------------------------------------------------------------------


def test_the_limits_of_temperature():
    f_ND, labels_N, f_MD, _ = random_world()
    agreed_M = teacher_scores(f_ND, labels_N, f_MD, num_classes=4).argmax(axis=1)

    def labelled(labels_M, temperature):
        return teacher_labels(f_ND, labels_N, f_MD, labels_M, num_classes=4, temperature=temperature)

    np.testing.assert_allclose(labelled(agreed_M, 1e-6), np.eye(4)[agreed_M], atol=1e-6)
    np.testing.assert_allclose(labelled(agreed_M, 1e9), 1 / 4, atol=2e-6)
    # against the teacher: half for the class, half for what the teacher says
    other_M = (agreed_M + 1) % 4
    np.testing.assert_allclose(labelled(other_M, 1e-6), (np.eye(4)[agreed_M] + np.eye(4)[other_M]) / 2, atol=2e-6)


@pytest.mark.parametrize('temperature', [1e-3, 0.1, 1.0, 1e6])
def test_an_image_keeps_its_class_and_all_else_that_the_teacher_says(temperature):
    f_ND, labels_N, f_MD, labels_M = random_world()
    soft_MC = teacher_labels(f_ND, labels_N, f_MD, labels_M, num_classes=4, temperature=temperature)
    np.testing.assert_array_equal(soft_MC.argmax(axis=1), labels_M)
    np.testing.assert_allclose(soft_MC.sum(axis=1), 1, atol=1e-6)
    scores_MC = teacher_scores(f_ND, labels_N, f_MD, num_classes=4) / temperature
    p_MC = np.exp(scores_MC - scores_MC.max(axis=1, keepdims=True))
    p_MC /= p_MC.sum(axis=1, keepdims=True)
    agrees_M = p_MC.argmax(axis=1) == labels_M
    assert 0 < agrees_M.sum() < 60
    np.testing.assert_allclose(soft_MC[agrees_M], p_MC[agrees_M], atol=2e-6)
    # elsewhere the class ties with the teacher's choice, and the others keep their proportions
    for i in np.flatnonzero(~agrees_M):
        assert soft_MC[i, labels_M[i]] == pytest.approx(soft_MC[i, p_MC[i].argmax()], abs=2e-6)
        rest = np.arange(4) != labels_M[i]
        np.testing.assert_allclose(soft_MC[i, rest] / soft_MC[i, rest].sum(), p_MC[i, rest] / p_MC[i, rest].sum(), atol=1e-5)


# --- the set ------------------------------------------------------------------------------------------------------------


def soft_set(**changes):
    soft_NC = np.array([[0.75, 0.25], [0.25, 0.75]], dtype=np.float32)
    parts = {'soft_labels_NC': soft_NC, **changes}
    return DistilledSet.synthetic(np.zeros((2, 3, 5, 5)), np.array([0, 1]), **parts)


def test_a_set_with_soft_labels_is_another_set_of_more_bytes(tmp_path):
    soft, hard = soft_set(), soft_set(soft_labels_NC=None)
    assert (soft.label_kind, hard.label_kind) == ('soft', 'hard') and soft.hash != hard.hash
    assert (soft.num_bytes, hard.num_bytes) == (2 * 3 * 5 * 5 + 2 * 2 * 4, 2 * 3 * 5 * 5)
    chosen = DistilledSet(np.array([0, 1]), indices_N=np.array([4, 2]))
    assert (chosen.num_bytes, replace(chosen, soft_labels_NC=soft.soft_labels_NC).num_bytes) == (0, 16)
    soft.save(tmp_path / 'set')
    loaded = DistilledSet.load(tmp_path / 'set')
    assert loaded.hash == soft.hash and loaded.label_kind == 'soft'
    np.testing.assert_array_equal(loaded.soft_labels_NC, soft.soft_labels_NC)


BAD = {
    'double': (np.array([[0.75, 0.25], [0.25, 0.75]]), 'float32'),
    'one row': (np.array([[0.75, 0.25]], dtype=np.float32), r'one row per image \(2\)'),
    'no distribution': (np.array([[0.75, 0.5], [0.25, 0.75]], dtype=np.float32), 'sum to 1'),
    'negative': (np.array([[1.5, -0.5], [0.25, 0.75]], dtype=np.float32), 'sum to 1'),
    'NaN': (np.array([[np.nan, 0.5], [0.25, 0.75]], dtype=np.float32), 'sum to 1'),
    'another class': (np.array([[0.75, 0.25], [0.75, 0.25]], dtype=np.float32), 'image 1 has label 1, .* peaks at 0'),
}


@pytest.mark.parametrize('kind', BAD)
def test_what_is_no_soft_label_is_refused(kind):
    soft_NC, reason = BAD[kind]
    with pytest.raises(ValueError, match=reason):
        soft_set(soft_labels_NC=soft_NC)


# --- the whole way ------------------------------------------------------------------------------------------------------


def test_soft_labels_reach_the_probe_the_record_and_a_table_of_their_own(run_bench, tmp_path, monkeypatch):
    (tmp_path / 'mine.py').write_text(PLUGIN)
    trained = []

    def noting(task, w_RCD, b_RC, **named):
        trained.append((task.targets_of(slice(None), dtype=torch.float32, device=b_RC.device).numpy(), b_RC.clone()))
        return score(task, w_RCD, b_RC, **named)

    monkeypatch.setattr(adam, 'score', noting)
    outcome = run_bench(
        f'--plugin={tmp_path / "mine.py"}', bind=["run.methods = ['mine', 'taught=mine']", 'taught/mine.soft_labels = True']
    )
    assert outcome.status == 0, outcome.err
    (hard_NC, hard_RC), (soft_NC, soft_RC) = trained
    np.testing.assert_array_equal(hard_NC, np.eye(6))
    assert soft_NC.max() < 0.9 and (soft_NC.argmax(axis=1) == np.arange(6)).all()
    # same images, start and order: only the targets can make another probe
    assert (hard_RC - soft_RC).abs().max() > 1e-6

    paths = (tmp_path / 'results' / 'records').rglob('*.json')
    found = {path.parent.name: load(path) for path in paths}
    assert [(found[name].distilled.labels, found[name].distilled.bytes) for name in ('mine', 'taught')] == [
        ('hard', 0), ('soft', 6 * 6 * 4),
    ]  # fmt: skip
    board = summary.read(tmp_path / 'results')
    assert [(row['method'], row['labels']) for row in board.rows] == [('mine', 'hard'), ('taught', 'soft')]
