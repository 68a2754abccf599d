"""Paired comparison of two methods, and comparison with published numbers, against values worked by hand."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from scipy import stats
from test_leaderboard import put

from bench.core.errors import InputError
from bench.results import summary
from bench.results.comparison import compare, compare_to_published, narrow, published_text, text
from bench.results.record import MethodFacts
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


def test_a_method_with_one_random_seed_is_no_constant(tmp_path):
    for seed, top1 in enumerate([0.4, 0.5, 0.45]):
        put(tmp_path, 'lgm', [top1], source='tiny_a', seed=seed)
        put(tmp_path, 'neighbors', [top1 - 0.1], source='tiny_a', seed=seed, of='lgm')
    put(tmp_path, 'dm', [0.6], source='tiny_a', seed=1)
    put(tmp_path, 'herding', [0.3], source='tiny_a')
    for a, b in (('lgm', 'dm'), ('dm', 'lgm')):
        (row,) = compare(table(tmp_path), a=a, b=b)
        assert row['n'] == 1 and abs(row['difference']) == pytest.approx(0.1) and np.isnan(row['p'])
    put(tmp_path, 'lgm', [0.6], source='tiny_a', seed=7, on='tiny_b')
    put(tmp_path, 'dm', [0.6], source='tiny_a', seed=3, on='tiny_b')
    put(tmp_path, 'herding', [0.3], source='tiny_a', on='tiny_b')
    assert [row['eval_backbone'] for row in compare(table(tmp_path), a='lgm', b='dm')] == ['tiny_a']
    # what uses no seed stands against whatever seeds the other has, be it one
    assert [(row['eval_backbone'], row['n']) for row in compare(table(tmp_path), a='herding', b='lgm')] == [
        ('tiny_a', 3), ('tiny_b', 1),
    ]  # fmt: skip


@pytest.mark.parametrize(('needs_seed', 'n'), [(True, 1), (False, 3)])
def test_the_record_tells_whether_a_method_uses_its_seed(tmp_path, needs_seed, n):
    """Also of a stranger's method, and of one that starts from the images of another."""
    for seed, top1 in enumerate([0.4, 0.5, 0.45]):
        put(tmp_path, 'dm', [top1], source='tiny_a', seed=seed)
    facts = MethodFacts(real=True, needs_backbone=True, needs_seed=needs_seed, needs_ipc=True)
    put(tmp_path, 'stranger', [0.6], source='tiny_a', method_facts=facts)
    assert [row['n'] for row in compare(table(tmp_path), a='dm', b='stranger')] == [n]


def test_each_source_backbone_is_a_place_and_a_method_without_one_stands_against_each(tmp_path):
    for seed in range(2):
        put(tmp_path, 'random', [0.2 + 0.1 * seed], seed=seed)
        for source, top1 in (('tiny_a', 0.6), ('tiny_b', 0.4)):
            put(tmp_path, 'lgm', [top1], source=source, seed=seed)
            put(tmp_path, 'dm', [top1 + 0.1 * seed], source=source, seed=seed)
    put(tmp_path, 'herding', [0.8], source='tiny_a')
    put(tmp_path, 'herding', [0.9], source='tiny_b')
    rows = compare(table(tmp_path), a='lgm', b='dm', reference='herding')
    found = [(row['source_backbone'], row['n'], round(row['mean_a'], 6), round(row['mean_b'], 6)) for row in rows]
    assert found == [('tiny_a', 2, 0.6, 0.65), ('tiny_b', 2, 0.4, 0.45)]
    # the gap is to the reference of the same source: 0.05 of 0.2, and of 0.5
    assert [row['closed'] for row in rows] == pytest.approx([0.25, 0.1])
    rows = compare(table(tmp_path), a='random', b='lgm')
    assert [(row['source_backbone'], round(row['difference'], 6)) for row in rows] == [('tiny_a', 0.35), ('tiny_b', 0.15)]
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
    assert row['closed'] == pytest.approx(0.4 / 0.75)  # full data has no ipc and is kept
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
    put(results, 'one', [0.7], source='tiny_a', seed=0, data_print='other')
    with pytest.raises(InputError, match='one has records with seed 0 more than once for toy x tiny_a ipc 1'):
        compare(table(results), a='one', b='two')


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
    assert row['ipc'] is None and row['difference'] == pytest.approx(0.1) and np.isnan(row['closed'])
    assert 'toy x tiny_a ipc all release-v1' in text([row], a='full', b='whole', reference='lgm')


# --- to what was published ----------------------------------------------------------------------------------------------

PUBLISHED = (
    'dataset,method,source_backbone,eval_backbone,top1_mean,top1_std\n'
    'toy,lgm,tiny_a,tiny_a,70.0,2.0\ntoy,centroid,tiny_a,tiny_a,55.0,0.0\ntoy,random,tiny_a,tiny_a,50.0,1.0\n'
    'toy,full,tiny_a,tiny_a,90.0,\ntoy,lgm,tiny_a,tiny_b,40.0,1.0\ntoy,neighbors,tiny_a,tiny_a,66.0,1.0\n'
)


def with_published(tmp_path):
    (tmp_path / 'published.csv').write_text(PUBLISHED)
    return compare_to_published(summary.read(tmp_path).rows)


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
    assert (row['n'], row['unit'], row['top1_mean']) == (3, 'seeds', pytest.approx(215 / 3))
    assert row['difference'] == pytest.approx(215 / 3 - 70)
    ours = (215 / 3, np.std([65, 75, 75], ddof=1), 3)
    # the published 2.0 divides by 5; a sample's divides by 4
    assert (row['low'], row['high']) == pytest.approx(welch(ours, (70, 2 * np.sqrt(5 / 4), 5)))
    shown = published_text([row]).splitlines()[1]
    assert shown.startswith('toy x tiny_a: lgm, release-v1 ') and shown.endswith('  3 seeds')
    assert shown.split()[5:10] == ['71.7', '70.0', '±', '2.0', '+1.7']


def test_an_interval_worked_by_hand(tmp_path):
    # one seed: over its probes 55, 60, 65, so std 5 and variance of the mean 25 / 3; published 1.0: 1.25 / 5 = 1 / 4
    put(tmp_path, 'random', (0.55, 0.6, 0.65))
    (row,) = with_published(tmp_path)
    assert (row['n'], row['unit'], row['difference']) == (3, 'probes', pytest.approx(10))
    error = (25 / 3 + 1 / 4) ** 0.5
    freedom = (25 / 3 + 1 / 4) ** 2 / ((25 / 3) ** 2 / 2 + (1 / 4) ** 2 / 4)
    assert freedom == pytest.approx(2.12, abs=0.01)
    assert row['high'] - 10 == pytest.approx(stats.t.ppf(0.975, freedom) * error) == pytest.approx(10 - row['low'])


def test_without_a_spread_there_is_a_difference_and_no_interval(tmp_path):
    put(tmp_path, 'neighbors', (0.6,), source='tiny_a')  # one run of ours
    put(tmp_path, 'full', (0.9, 0.95), ipc=None)  # published without ±
    put(tmp_path, 'centroid', (0.5, 0.5), source='tiny_a')  # ± 0.0 on both sides
    rows = {row['method']: row for row in with_published(tmp_path)}
    differences = {name: round(row['difference'], 6) for name, row in rows.items()}
    assert differences == {'neighbors': -6.0, 'full': 2.5, 'centroid': -5.0}
    assert all(row['low'] is row['high'] is None for row in rows.values())
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
