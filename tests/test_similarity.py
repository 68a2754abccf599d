"""Diversity within classes: known answers, and where a run records it."""

import numpy as np
import pytest

from bench.features.similarity import diversity
from bench.results.store import load

pytestmark = pytest.mark.numerical


def test_known_answers_in_the_plane():
    right, up, left = [1, 0], [0, 1], [-1, 0]
    assert diversity(np.array([right, up, right, left]), np.array([0, 0, 1, 1])) == pytest.approx((1 + 2) / 2)
    # three pairs: right-right 0, right-up 1 twice; length does not matter, nor the class with one image
    f_ND = np.array([right, [5, 0], up, left], dtype=np.float32)
    assert diversity(f_ND, np.array([0, 0, 0, 1])) == pytest.approx(2 / 3)
    assert diversity(np.array([[3, 4], [6, 8]]), np.array([2, 2])) == pytest.approx(0, abs=1e-6)


def test_it_is_the_mean_over_all_pairs_of_each_class():
    generator = np.random.default_rng(0)
    f_ND, labels_N = generator.normal(size=(40, 6)) + 0.5, generator.permutation(np.arange(40) % 3)
    means = []
    for label in range(3):
        rows = f_ND[labels_N == label]
        pairs = [
            1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b) for i, a in enumerate(rows) for b in rows[:i]
        ]  # fmt: skip
        means.append(np.mean(pairs))
    assert diversity(f_ND, labels_N) == pytest.approx(np.mean(means), abs=1e-6)


def test_one_image_a_class_has_none():
    assert diversity(np.ones((3, 2)), np.arange(3)) is None


def test_a_run_records_it_where_a_class_has_several_images_and_a_backbone_made_the_set(run_bench, tmp_path):
    outcome = run_bench(bind=["run.methods = ['random', 'herding', 'full']", 'run.ipc = [1, 2]', 'paper_v1.full_epochs = 1'])
    assert outcome.status == 0, outcome.err
    found = {}
    for path in (tmp_path / 'results' / 'records').rglob('*.json'):
        record = load(path)
        found[record.cell.method, record.cell.ipc] = record.distilled.facts.get('diversity')
    assert 0 < found.pop(('herding', 2)) < 1 and len(found) == 4 and set(found.values()) == {None}
