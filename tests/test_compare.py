"""Comparison of two methods, paired by test image, and comparison with published numbers, against values worked by hand."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy import stats
from test_leaderboard import put

from bench.core.errors import InputError
from bench.results import summary
from bench.results.comparison import compare, compare_to_published, narrow, published_text, text
from bench.results.record import MethodFacts
from bench.results.statistics import holm, scores_of
from bench.results.store import load_table


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
    return load_table(results)[0]


def test_differences_are_those_of_the_estimator(results):
    (row,) = compare(table(results), a='one', b='two')
    assert (row['sets'], row['dataset'], row['eval_backbone'], row['ipc']) == ((3, 3), 'toy', 'tiny_a', 1)
    assert (row['a'].mean, row['b'].mean) == (pytest.approx(0.45), pytest.approx(1.75 / 3))
    done = table(results)[lambda t: t.status == 'ok']
    one, two = (scores_of(list(done.scored[done.method == name])).accuracy() for name in ('one', 'two'))
    expected = two - one
    difference = row['difference']
    assert difference.mean == pytest.approx(0.4 / 3) and (difference.low, difference.high) == (expected.low, expected.high)
    assert row['p'] == row['adjusted'] == expected.p
    assert row['closed'].mean == pytest.approx((0.4 / 3) / 0.5)
    shown = text([row], a='one', b='two', reference='full')
    assert '45.0' in shown and f'+13.3 [{100 * expected.low:+.1f}, {100 * expected.high:+.1f}]' in shown and '27 %' in shown
    assert '3 x 2 / 3 x 2' in shown


def test_p_values_are_adjusted_over_all_that_was_asked(results):
    for seed, (a, b) in enumerate([(0.40, 0.80), (0.45, 0.85), (0.40, 0.85)]):
        put(results, 'one', [a, a], source='tiny_a', seed=seed, dataset='water')
        put(results, 'two', [b, b], source='tiny_a', seed=seed, dataset='water')
    rows = compare(table(results), a='one', b='two')
    assert [row['adjusted'] for row in rows] == holm([row['p'] for row in rows]) and len(rows) == 2
    assert rows[1]['adjusted'] > rows[1]['p']


def test_a_method_that_draws_nothing_is_compared_with_one_that_does(results):
    (row,) = compare(table(results), a='centroid', b='one')
    assert row['sets'] == (1, 3) and row['difference'].mean == pytest.approx(0.15) and 0 < row['p'] < 1


def test_what_draws_nothing_at_all_is_compared_by_mcnemar(tmp_path):
    put(tmp_path, 'centroid', [0.3], source='tiny_a', protocol='ridge-v1')
    put(tmp_path, 'herding', [0.6], source='tiny_a', protocol='ridge-v1')
    (row,) = compare(table(tmp_path), a='centroid', b='herding')
    assert row['p'] == pytest.approx(2 * 0.5**6)  # six images that herding alone gets right


def test_one_drawn_set_has_no_p_value_and_a_missing_reference_no_gap(results):
    put(results, 'three', [0.5], source='tiny_a')
    (row,) = compare(table(results), a='centroid', b='three', reference='nothing')
    assert row['sets'] == (1, 1) and np.isnan(row['p']) and np.isnan(row['adjusted']) and row['closed'] is None
    assert 'make another seed' in text([row], a='centroid', b='three', reference='nothing')


@pytest.mark.parametrize('needs_seed', [True, False])
def test_the_record_tells_whether_a_method_uses_its_seed(tmp_path, needs_seed):
    """Also of a stranger's method, and of one that starts from the images of another."""
    for seed, top1 in enumerate([0.4, 0.5, 0.45]):
        put(tmp_path, 'dm', [top1], source='tiny_a', seed=seed)
    facts = MethodFacts(real=True, needs_backbone=True, needs_seed=needs_seed, needs_ipc=True)
    put(tmp_path, 'stranger', [0.6], source='tiny_a', method_facts=facts)
    (row,) = compare(table(tmp_path), a='dm', b='stranger')
    assert row['difference'].one_set == np.isnan(row['p']) == needs_seed


def test_each_source_backbone_is_a_place_and_a_method_without_one_stands_against_each(tmp_path):
    for seed in range(2):
        put(tmp_path, 'random', [0.2 + 0.1 * seed], seed=seed)
        for source, top1 in (('tiny_a', 0.6), ('tiny_b', 0.4)):
            put(tmp_path, 'lgm', [top1], source=source, seed=seed)
            put(tmp_path, 'dm', [top1 + 0.1 * seed], source=source, seed=seed)
    put(tmp_path, 'herding', [0.8], source='tiny_a')
    put(tmp_path, 'herding', [0.9], source='tiny_b')
    rows = compare(table(tmp_path), a='lgm', b='dm', reference='herding')
    found = [(row['source_backbone'], row['sets'], round(row['a'].mean, 6), round(row['b'].mean, 6)) for row in rows]
    assert found == [('tiny_a', (2, 2), 0.6, 0.65), ('tiny_b', (2, 2), 0.4, 0.45)]
    # the gap is to the reference of the same source: 0.05 of 0.2, and of 0.5
    assert [row['closed'].mean for row in rows] == pytest.approx([0.25, 0.1])
    rows = compare(table(tmp_path), a='random', b='lgm')
    found = [(row['source_backbone'], round(row['difference'].mean, 6)) for row in rows]
    assert found == [('tiny_a', 0.35), ('tiny_b', 0.15)]
    shown = text(rows, a='random', b='lgm', reference='full').splitlines()
    assert shown[1].startswith('toy x tiny_a ipc 1 release-v1 ')
    assert shown[2].startswith('toy x tiny_a from tiny_b ipc 1 release-v1 ') and len(shown[1]) == len(shown[2])
    assert [row['source_backbone'] for row in compare(table(tmp_path), a='random', b='random')] == ['any']


def test_flags_narrow_the_places(tmp_path):
    for dataset in ('toy', 'water'):
        put(tmp_path, 'full', [0.95], ipc=None, dataset=dataset)
        for source in ('tiny_a', 'tiny_b'):
            for on in ('tiny_a', 'tiny_b'):
                for ipc in (1, 10):
                    put(tmp_path, 'random', [0.2], ipc=ipc, on=on, dataset=dataset)
                    put(tmp_path, 'lgm', [0.6], source=source, on=on, ipc=ipc, dataset=dataset)
    whole = table(tmp_path)
    assert len(compare(whole, a='random', b='lgm')) == 16 and len(narrow(whole, dataset=[], ipc=[])) == len(whole)
    for flag, column, value, count in [
        ('dataset', 'dataset', 'water', 8), ('source', 'source_backbone', 'tiny_b', 8),
        ('eval', 'eval_backbone', 'tiny_a', 8), ('ipc', 'ipc', '10', 8),
    ]:  # fmt: skip
        rows = compare(narrow(whole, **{flag: [value]}), a='random', b='lgm')
        assert len(rows) == count and {str(row[column]) for row in rows} == {value}
    (row,) = compare(narrow(whole, dataset=['toy'], source=['tiny_a'], eval=['tiny_a'], ipc=['1']), a='random', b='lgm')
    assert row['closed'].mean == pytest.approx(0.4 / 0.75)  # full data has no ipc and is kept
    assert len(compare(narrow(whole, ipc=['1', '10']), a='random', b='lgm')) == 16


def test_the_command_narrows_and_compares_across_sources(tmp_path):
    for source in ('tiny_a', 'tiny_b'):
        put(tmp_path, 'lgm', [0.6], source=source)
        put(tmp_path, 'dm', [0.7], source=source)
    arguments = ('--a=lgm', '--b=dm', f'--results_dir={tmp_path}')
    done = command(*arguments)
    assert (done.returncode, done.stderr, done.stdout.count('toy x tiny_a')) == (0, '', 2)
    done = command(*arguments, '--source=tiny_b', '--ipc=1', '--dataset=toy', '--eval=tiny_a')
    assert (done.returncode, done.stderr, done.stdout.count('toy x tiny_a')) == (0, '', 1) and 'from tiny_b' in done.stdout


def test_what_cannot_be_compared_is_named(results):
    with pytest.raises(InputError, match="method 'four'; methods with finished records: centroid, full, one, two"):
        compare(table(results), a='one', b='four')
    whole = table(results)
    twice = pd.concat([whole, whole[(whole.method == 'one') & (whole.seed == 0)]])
    with pytest.raises(InputError, match='one has records with seed 0 more than once for toy x tiny_a ipc 1'):
        compare(twice, a='one', b='two')


@pytest.mark.parametrize('seed', [0, 7])
def test_records_of_other_settings_are_never_taken_for_one_method(results, seed):
    put(results, 'one', [0.7], source='tiny_a', seed=seed, settings={'rate': 2})
    for a, b, reference in (('one', 'two', 'full'), ('two', 'one', 'full'), ('centroid', 'two', 'one')):
        with pytest.raises(InputError) as raised:
            compare(table(results), a=a, b=b, reference=reference)
        said = str(raised.value)
        assert said.startswith('one has records with different settings (no rate | rate=2) for toy x tiny_a ipc 1')
        assert '\n' not in said and 'exclude these cells with --dataset, --source, --eval or --ipc' in said


def test_methods_without_images_per_class_meet_in_a_place_of_their_own(tmp_path):
    put(tmp_path, 'full', [0.8], ipc=None)
    put(tmp_path, 'whole', [0.9], ipc=None)
    put(tmp_path, 'lgm', [0.95], source='tiny_a')
    (row,) = compare(table(tmp_path), a='full', b='whole', reference='lgm')
    assert row['ipc'] is None and row['difference'].mean == pytest.approx(0.1) and row['closed'] is None
    assert 'toy x tiny_a ipc all release-v1' in text([row], a='full', b='whole', reference='lgm')


# --- to what was published ----------------------------------------------------------------------------------------------

PUBLISHED = (
    'dataset,method,source_backbone,eval_backbone,top1_mean,top1_std\n'
    'toy,lgm,tiny_a,tiny_a,70.0,2.0\ntoy,centroid,tiny_a,tiny_a,55.0,0.0\ntoy,random,tiny_a,tiny_a,50.0,1.0\n'
    'toy,full,tiny_a,tiny_a,90.0,\ntoy,lgm,tiny_a,tiny_b,40.0,1.0\ntoy,neighbors,tiny_a,tiny_a,66.0,1.0\n'
)


def with_published(tmp_path, **margin):
    (tmp_path / 'published.csv').write_text(PUBLISHED)
    return compare_to_published(summary.read(tmp_path).rows, **margin)


def welch(a, b):
    """Return the ends of scipy's 95 % interval, from (mean, std, n) of two samples."""
    (mean_a, std_a, n_a), (mean_b, std_b, n_b) = a, b
    found = stats.ttest_ind_from_stats(mean_a, std_a, n_a, mean_b, std_b, n_b, equal_var=False)
    half = (mean_a - mean_b) / found.statistic * stats.t.ppf(0.975, welch_freedom(std_a, n_a, std_b, n_b))
    assert found.pvalue == pytest.approx(2 * stats.t.sf(abs(found.statistic), welch_freedom(std_a, n_a, std_b, n_b)))
    return mean_a - mean_b - half, mean_a - mean_b + half


def welch_freedom(std_a, n_a, std_b, n_b):
    a, b = std_a**2 / n_a, std_b**2 / n_b
    return (a + b) ** 2 / (a**2 / (n_a - 1) + b**2 / (n_b - 1))


def test_a_row_is_compared_over_its_seeds_with_an_interval_like_scipys(tmp_path):
    for seed, top1 in enumerate([(0.6, 0.7), (0.75, 0.75), (0.8, 0.7)]):  # means 65, 75, 75
        put(tmp_path, 'lgm', top1, source='tiny_a', seed=seed)
    (row,) = with_published(tmp_path)
    assert (row['n_sets'], row['verdict'], row['top1_mean']) == (3, 'open', pytest.approx(215 / 3))
    assert row['difference'] == pytest.approx(215 / 3 - 70)
    ours = (215 / 3, np.std([65, 75, 75], ddof=1), 3)
    # the published 2.0 divides by 5; a sample's divides by 4
    assert (row['low'], row['high']) == pytest.approx(welch(ours, (70, 2 * np.sqrt(5 / 4), 5)))
    shown = published_text([row]).splitlines()[1]
    assert shown.startswith('toy x tiny_a: lgm, release-v1 ') and shown.split()[-4:] == ['3', 'x', '2', 'open']
    assert shown.split()[5:10] == ['71.7', '70.0', '±', '2.0', '+1.7']


def test_an_interval_worked_by_hand(tmp_path):
    # no sets are drawn: over the probes 55, 60, 65, so std 5 and variance of the mean 25 / 3; published 0.0
    put(tmp_path, 'centroid', (0.55, 0.6, 0.65), source='tiny_a')
    (row,) = with_published(tmp_path)
    assert (row['n_sets'], row['difference']) == (1, pytest.approx(5))
    half = stats.t.ppf(0.975, 2) * (25 / 3) ** 0.5
    assert row['high'] - 5 == pytest.approx(half) == pytest.approx(5 - row['low']) and row['verdict'] == 'open'


def test_equal_needs_a_margin_and_two_one_sided_tests(tmp_path):
    for seed, top1 in enumerate([0.7, 0.7, 0.7, 0.75, 0.65]):
        put(tmp_path, 'lgm', (top1, top1), source='tiny_a', seed=seed)
    rows = {margin: with_published(tmp_path, margin=margin)[0] for margin in (3.0, 4.5)}
    # 0 points apart; standard error of ours (5 / 2 ** .5) / 5 ** .5, of theirs 1
    error = (12.5 / 5 + 1) ** 0.5
    freedom = welch_freedom(12.5**0.5, 5, 5**0.5, 5)
    assert 3.0 < stats.t.ppf(0.95, freedom) * error < 4.5
    assert {margin: row['verdict'] for margin, row in rows.items()} == {3.0: 'open', 4.5: 'equal'}
    put(tmp_path, 'random', (0.9, 0.9), seed=0)
    assert with_published(tmp_path)[1]['verdict'] == 'needs 3 sets, has 1'
    for seed in (1, 2):
        put(tmp_path, 'random', (0.9, 0.9), seed=seed)
    assert with_published(tmp_path)[1]['verdict'] == 'higher'


def test_what_cannot_be_judged_says_why(tmp_path):
    put(tmp_path, 'neighbors', (0.6,), source='tiny_a')
    put(tmp_path, 'full', (0.9, 0.95), ipc=None)  # published without ±
    put(tmp_path, 'centroid', (0.5,), source='tiny_a')  # one repeat of ours
    rows = {row['method']: row for row in with_published(tmp_path)}
    differences = {name: round(row['difference'], 6) for name, row in rows.items()}
    assert differences == {'neighbors': -6.0, 'full': 2.5, 'centroid': -5.0}
    assert all(row['low'] is row['high'] is None for row in rows.values())
    verdicts = {name: row['verdict'] for name, row in rows.items()}
    assert verdicts == {'neighbors': 'needs 3 sets, has 1', 'full': 'no published ±', 'centroid': 'one repeat'}
    assert all(' - ' in line for line in published_text(list(rows.values())).splitlines()[1:4])


def test_what_has_no_published_number_is_left_out(tmp_path):
    put(tmp_path, 'lgm', (0.7, 0.8), source='tiny_a', on='tiny_b')
    put(tmp_path, 'lgm', (0.7, 0.8), source='tiny_b', on='tiny_b')
    put(tmp_path, 'lgm', None, source='tiny_a')  # failed
    put(tmp_path, 'random', (0.7, 0.8), ipc=10)
    put(tmp_path, 'random', (0.7, 0.8), protocol='ridge-v1')
    put(tmp_path, 'random', (0.7, 0.8), dataset='other')
    (row,) = with_published(tmp_path)
    assert (row['source_backbone'], row['eval_backbone'], row['difference']) == ('tiny_a', 'tiny_b', pytest.approx(35))
    assert 'toy x tiny_b: lgm from tiny_a, release-v1' in published_text([row])


def command(*arguments):
    return subprocess.run(
        [sys.executable, '-m', 'bench.compare', *arguments], cwd=ROOT, capture_output=True, text=True
    )  # fmt: skip


def test_the_command_compares_with_what_was_published(tmp_path):
    put(tmp_path, 'lgm', (0.6, 0.7, 0.8), source='dinov2_vitb14', on='dinov2_vitb14', dataset='cub200')
    done = command('--to=published', f'--results_dir={tmp_path}')
    assert (done.returncode, done.stderr) == (0, '')
    for shown in ('cub200 x dinov2_vitb14: lgm, release-v1', '86.0 ± 0.1', '-16.0'):
        assert shown in done.stdout


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--to=published'], 'found records of toy on tiny_a under release-v1'),
        (['--to=lgm'], '--to=lgm: expected --to=published'),
        (['--to=published', '--a=lgm'], 'expected either --to=published or --a=METHOD --b=METHOD, got both'),
        (['--a=one', '--b=two', '--dataset=toys'], '--dataset=toys: expected a value of a finished record'),
        (['--a=one', '--b=two', '--source=tiny_a,x'], '--source=x: expected a value of a finished record; found'),
        (['--a=one', '--b=two', '--eval=x'], '--eval=x: expected a value of a finished record; found tiny_a'),
        (['--to=published', '--ipc=2'], '--ipc=2: expected a value of a finished record; found all, 1'),
        (['--a=lgm'], 'expected --a=METHOD --b=METHOD, such as --a=lgm_fast --b=lgm_plus, or --to=published'),
    ],
)
def test_what_the_command_cannot_compare_is_one_line(results, arguments, said):
    done = command(*arguments, f'--results_dir={results}')
    assert done.returncode == 2 and done.stdout == '' and said in done.stderr, done
    assert done.stderr.startswith('bench.compare: ') and done.stderr.count('\n') == 1
