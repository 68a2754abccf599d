"""Relative scores and their distance from the published pattern."""

import pytest

from bench.analysis import pattern
from bench.core.paths import ROOT


def test_numbers_of_a_cell_known_answers():
    found = pattern.numbers_of({'lgm': 80, 'random': 40, 'centroid': 60, 'neighbors': 50, 'full': 100})
    assert found == pytest.approx(
        {'lgm_share': 0.8, 'random_share': 0.4, 'lgm_gap': 2 / 3, 'centroid_gap': 1 / 3, 'neighbors_gap': 1 / 6}
    )


def test_the_distance_is_a_root_mean_square():
    zero = dict.fromkeys(pattern.NUMBERS, 0.0)
    assert pattern.distance(zero, zero) == 0
    assert pattern.distance({**zero, 'lgm_gap': 0.5}, zero) == pytest.approx((0.25 / 5) ** 0.5)


def test_the_published_pattern():
    """Four data sets x four backbones of results/published.csv."""
    cells = pattern.published_cells(ROOT / 'results')
    target = pattern.mean_pattern(cells)
    assert len(cells) == 16
    assert [round(target[name], 2) for name in pattern.NUMBERS] == [0.89, 0.55, 0.77, 0.51, 0.39]
    distances = [pattern.distance(numbers, target) for numbers in cells.values()]
    assert min(distances) > 0.04 and max(distances) < 0.22


def test_committed_records_of_aviary_are_as_near_as_a_published_cell():
    from bench.analysis.evidence import Evidence

    names = ['wild_clip', 'wild_dino', 'wild_moco']
    table = pattern.pattern(Evidence(ROOT / 'results'), dataset='aviary', backbones=names, method='lgm_fast').tables['Cells']
    assert table.set_index('cell').distance['mean of these'] < 0.15


def test_committed_records_of_the_hard_set_are_far_and_those_of_families_near():
    from bench.analysis.evidence import Evidence

    evidence = Evidence(ROOT / 'results')
    tables = {
        name: pattern.pattern(evidence, dataset=name, backbones=['tiny_moco', 'tiny_mim'], method='lgm_fast').tables['Cells']
        for name in ('plumage', 'plumage_families')
    }
    found = {name: table.set_index('cell').distance.to_dict() for name, table in tables.items()}
    assert found['plumage_families']['tiny_moco'] == pytest.approx(0.084, abs=0.03)
    assert found['plumage']['tiny_moco'] == pytest.approx(0.387, abs=0.03)
    assert found['plumage']['tiny_mim'] == pytest.approx(0.567, abs=0.03)
