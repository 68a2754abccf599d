"""Paired comparison of two methods, against values worked by hand."""

import numpy as np
import pytest
from test_leaderboard import put

from bench import records
from bench.compare import compare, text
from bench.errors import InputError


@pytest.fixture
def results(tmp_path):
    for seed, (a, b) in enumerate([(0.40, 0.50), (0.50, 0.65), (0.45, 0.60)]):
        put(tmp_path, 'one', [a, a], source='tiny_a', seed=seed)
        put(tmp_path, 'two', [b, b], source='tiny_a', seed=seed)
    put(tmp_path, 'centroid', [0.3], source='tiny_a')
    put(tmp_path, 'full', [0.95], ipc=None)
    put(tmp_path, 'two', None, source='tiny_a', seed=3)  # failed
    return tmp_path


def table(results):
    return records.load_table(results)[0]


def test_differences_are_paired_by_seed(results):
    (row,) = compare(table(results), a='one', b='two')
    assert (row['n'], row['dataset'], row['eval_backbone'], row['ipc']) == (3, 'toy', 'tiny_a', 1)
    assert (row['mean_a'], row['mean_b']) == (pytest.approx(0.45), pytest.approx(1.75 / 3))
    # t = mean / (std / sqrt 3) of 0.10, 0.15, 0.15 is 8; two-sided p of t = 8 with 2 degrees of freedom
    assert row['difference'] == pytest.approx(0.4 / 3) and row['p'] == pytest.approx(0.01527, abs=1e-4)
    assert row['closed'] == pytest.approx((0.4 / 3) / 0.5)
    shown = text([row], a='one', b='two', reference='full')
    assert '45.0' in shown and '+13.3' in shown and '0.015' in shown and '27 %' in shown


def test_a_method_without_seeds_stands_against_each_seed(results):
    (row,) = compare(table(results), a='centroid', b='one')
    assert row['n'] == 3 and row['difference'] == pytest.approx(0.15)


def test_one_pair_has_no_p_value_and_a_missing_reference_no_gap(results):
    put(results, 'three', [0.5], source='tiny_a')
    (row,) = compare(table(results), a='centroid', b='three', reference='nothing')
    assert row['n'] == 1 and np.isnan(row['p']) and np.isnan(row['closed'])


def test_what_cannot_be_compared_is_named(results):
    with pytest.raises(InputError, match="method 'four'; there are centroid, full, one, two"):
        compare(table(results), a='one', b='four')
    put(results, 'one', [0.7], source='tiny_a', seed=0, settings={'rate': 2})
    with pytest.raises(InputError, match='one has several records of seed 0'):
        compare(table(results), a='one', b='two')
