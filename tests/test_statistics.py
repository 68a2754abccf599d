"""The statistics of every mark: worked by hand, and checked on data drawn with known components of variance."""

import math

import numpy as np
import pytest
from scipy import stats

from bench.results.statistics import (
    Estimate,
    Scores,
    holm,
    mean_of,
    mean_over_tasks,
    rank_intervals,
    recovered_gap,
    worst_group,
)


def scores(correct_SPN, name='a', *, images='test', drawn=True):
    correct_SPN = np.asarray(correct_SPN, dtype=float)
    return Scores(correct_SPN, tuple(f'{name}{i}' for i in range(len(correct_SPN))), name, images, drawn)


def drawn(rng, *, sets, probes=5, images=300, spread=0.01, quality_N=None):
    """Draw correctness: images of unlike difficulty, sets of unlike quality, and probes and images that interact."""
    easy_N = rng.beta(2, 1.5, images) if quality_N is None else quality_N
    p_SPN = easy_N + rng.normal(0, spread, (sets, 1, 1)) + rng.normal(0, 0.1, (sets, 1, len(easy_N)))
    return rng.random((sets, probes, len(easy_N))) < np.clip(np.broadcast_to(p_SPN, (sets, probes, len(easy_N))), 0, 1)


# --- by hand --------------------------------------------------------------------------------------------------------------


def test_the_variance_is_that_of_units_and_images_without_what_they_share():
    x_UN = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    accuracy = scores(x_UN[:, None]).accuracy()
    # means of units 2/3 and 1, of images 1, 1/2, 1; residuals ±1/6, ±1/3, ±1/6 with two degrees of freedom
    units = ((1 - 2 / 3) ** 2 / 2) / 2
    rest = 2 * (1 / 36 + 1 / 9 + 1 / 36) / 2 / 6
    images = ((1 / 6) ** 2 * 2 + (1 / 3) ** 2) / 2 / 3
    assert accuracy.mean == pytest.approx(5 / 6) and accuracy.n == 2 and not accuracy.one_set
    assert accuracy.error_of_units**2 == pytest.approx(units)
    assert accuracy.error_of_images**2 == pytest.approx(max(0, images - rest))
    assert accuracy.variance == pytest.approx(units + max(0, images - rest))
    assert accuracy.freedom == pytest.approx(accuracy.variance**2 / (units**2 / 1 + (images - rest) ** 2 / 2))
    assert accuracy.half == pytest.approx(stats.t.ppf(0.975, accuracy.freedom) * accuracy.variance**0.5)
    assert (accuracy.low, accuracy.high) == (accuracy.mean - accuracy.half, accuracy.mean + accuracy.half)
    t = accuracy.mean / accuracy.variance**0.5
    assert accuracy.p_above_0 == pytest.approx(stats.t.sf(t, accuracy.freedom))
    assert accuracy.p == pytest.approx(2 * stats.t.sf(t, accuracy.freedom))


def test_without_images_in_common_it_is_welchs_interval():
    rng = np.random.default_rng(0)
    x, y = rng.normal(0.6, 0.1, 4), rng.normal(0.5, 0.3, 7)
    a, b = (scores(np.repeat(v[:, None, None], 9, axis=2), name).accuracy() for v, name in ((x, 'a'), (y, 'b')))
    found = stats.ttest_ind(x, y, equal_var=False)
    difference = a - b
    assert difference.p == pytest.approx(found.pvalue)
    assert (difference.low, difference.high) == pytest.approx(tuple(found.confidence_interval()))


def test_one_repeat_has_the_interval_of_its_images():
    x_N = np.array([1, 0, 1, 1, 0, 1, 1, 1.0])
    accuracy = scores(x_N[None, None], drawn=False).accuracy()
    assert accuracy.half == pytest.approx(stats.t.ppf(0.975, 7) * x_N.std(ddof=1) / 8**0.5)


def test_a_drawn_set_alone_is_marked_and_a_fixed_one_is_not():
    x_PN = np.random.default_rng(0).random((1, 5, 40)) < 0.5
    assert scores(x_PN).accuracy().one_set and not scores(x_PN, drawn=False).accuracy().one_set
    assert (scores(x_PN, drawn=False).accuracy() - scores(x_PN).accuracy()).one_set


def test_what_is_shared_cancels():
    rng = np.random.default_rng(1)
    a = scores(drawn(rng, sets=3)).accuracy()
    gap = a - a
    assert (gap.mean, gap.low, gap.high, gap.p, gap.p_above_0, gap.n) == (0, 0, 0, 1, 0.5, 3)
    assert ((a / a).mean, (a / a).half) == (1, pytest.approx(0, abs=1e-12))
    # the same sets through another eval backbone share the sets: what differs is the same for every set
    names = ('a0', 'a1', 'a2')
    plus = Scores((a.parts[('sets', names), 'test'] - 0.1)[:, None], names, 'b', 'test')
    assert (a - plus.accuracy()).half == pytest.approx(0, abs=1e-12)
    # other images are not shared
    apart = scores(np.random.default_rng(2).random((3, 5, 300)) < 0.5, 'c', images='others').accuracy()
    assert (a - apart).variance == pytest.approx(a.variance + apart.variance)


def test_means_and_ratios():
    rng = np.random.default_rng(3)
    quality_N = rng.beta(2, 1.5, 300)
    a, b = (scores(drawn(rng, sets=3, quality_N=quality_N), name).accuracy() for name in 'ab')
    assert mean_of([a, b]).mean == pytest.approx((a.mean + b.mean) / 2)
    assert mean_of([a, b]).variance == pytest.approx(((a + b) * 0.5).variance)
    ratio = a / b
    assert ratio.mean == pytest.approx(a.mean / b.mean)
    assert ratio.variance == pytest.approx((a - b * ratio.mean).variance / b.mean**2)
    assert str(Estimate(0.5, {})) == '50.0 [50.0, 50.0]'


def test_the_mean_over_tasks_says_how_tasks_differ():
    gaps = [Estimate(mean, {('u', i): np.zeros((2, 4))}, n=2) for i, mean in enumerate([0.2, 0.4, 0.9])]
    assert mean_of(gaps).half == 0
    over = mean_over_tasks(gaps)
    assert over.mean == pytest.approx(0.5)
    assert (over.low, over.high) == pytest.approx(stats.t.interval(0.95, 2, 0.5, stats.sem([0.2, 0.4, 0.9])))
    assert mean_over_tasks([Estimate(0.3, {('u', 0): np.zeros((2, 4))})] * 3).half == 0


def test_a_recovered_gap_needs_a_gap():
    at = {level: scores(np.full((3, 1, 10), level), str(level)).accuracy() for level in (0.2, 0.36, 0.49, 0.52)}
    assert recovered_gap(at[0.36], random=at[0.2], full=at[0.52]).mean == pytest.approx(0.5)
    assert recovered_gap(at[0.36], random=at[0.2], full=at[0.49]) is None


def test_the_worst_group_is_that_of_the_mean():
    assert worst_group([{'a': 0.2, 'b': 0.6}, {'a': 0.8, 'b': 0.4}]) == pytest.approx(0.5)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


# --- on drawn data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('sets', 'spread'), [(2, 0.005), (3, 0.01), (5, 0.01)])
def test_intervals_cover_the_truth(sets, spread):
    """The choice of images has a standard error of 1.3 points; two sets that differ by far more would cover 90 % only."""
    rng, runs = np.random.default_rng(sets), 3000
    truth, covered, paired = 2 / 3.5, 0, 0
    for _ in range(runs):
        easy_N = rng.beta(2, 1.5, 300)
        a = scores(_linear(rng, sets, easy_N, spread), 'a').accuracy()
        b = scores(_linear(rng, sets, easy_N - 0.05, spread), 'b').accuracy()
        covered += a.low <= truth <= a.high
        paired += (a - b).low <= 0.05 <= (a - b).high
    assert 0.93 <= covered / runs <= 0.97
    assert 0.93 <= paired / runs <= 0.97


def _linear(rng, sets, easy_N, spread=0.01, probes=3):
    """Draw figures around each image's mean, without the clipping of probabilities, so that the truth is known exactly."""
    noise = rng.normal(0, spread, (sets, 1, 1)) + rng.normal(0, 0.2, (sets, 1, len(easy_N)))
    return easy_N + noise + rng.normal(0, 0.3, (sets, probes, len(easy_N)))


def test_identical_methods_tie_and_a_planted_difference_is_found():
    rng, found, false = np.random.default_rng(7), 0, 0
    runs, equal = 200, [f'm{i}' for i in range(5)]
    for _ in range(runs):
        easy_N = rng.beta(2, 1.5, 200)
        at = {name: scores(_linear(rng, 3, easy_N), name).accuracy() for name in equal}
        ranks = rank_intervals(at)
        false += any(ends != (1, 5) for ends in ranks.values())
        ranks = rank_intervals({**at, 'better': scores(_linear(rng, 3, easy_N + 0.4), 'better').accuracy()})
        found += ranks['better'] == (1, 1) and all(ranks[name][0] == 2 for name in equal)
    # any false finding among the ten pairs, at 5 %: three standard errors of 200 runs are 4.6 %
    assert false / runs <= 0.05 + 0.046
    assert found / runs > 0.9


def test_a_single_drawn_set_has_no_rank():
    at = {name: scores(np.full((n, 2, 9), 0.5), name).accuracy() for name, n in (('a', 2), ('b', 1), ('c', 3))}
    assert rank_intervals(at) == {'a': (1, 2), 'c': (1, 2)}
    assert math.isinf(at['a'].freedom)
